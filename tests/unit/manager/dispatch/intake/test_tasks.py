"""What is believed of what a worker says of its tasks."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from msgspec.structs import replace

from common.model import TaskState, TaskStatus
from common.model.attachment import AttachmentStatus
from common.model.service import PortConfig
from common.model.task import ContainerStatus
from common.wire.messages import MESH, MESH6, StatusReport, TaskReport
from common.wire.usage_messages import TaskUsage, Usage
from tests.fakes.validation import (
    CONTAINER,
    FOREIGN,
    IN_OTHER,
    IN_OWN,
    MESH_OTHER,
    MESH_OWN,
    NET,
    NOW,
    OTHER,
    OWN,
    attachment,
    mesh6,
    network,
    node,
    task,
    validated,
)

HONEST = TaskStatus(
    timestamp=NOW - 1,
    state=TaskState.RUNNING,
    message="started",
    container_status=ContainerStatus(container_id=CONTAINER, pid=77),
    ports=(
        PortConfig(target_port=80, published_port=8080, publish_mode="host"),
        PortConfig(target_port=53, published_port=32768, protocol="udp", publish_mode="host", host_ip="192.0.2.1"),
    ),
    addresses={NET: IN_OWN, MESH: MESH_OWN, MESH6: mesh6(MESH_OWN)},
    hostname=CONTAINER[:12],
    renewed=5,
)


def said(status: TaskStatus, *more: Any, task_id: str = "t1") -> tuple[TaskStatus | None, dict[str, str]]:
    report, refused = validated(StatusReport(tasks=(TaskReport(task_id=task_id, status=status),)), *more)
    assert report is not None
    return (report.tasks[0].status if report.tasks else None), refused


def change(**fields: Any) -> tuple[TaskStatus, str]:
    """Say one thing else than an honest worker; return what is believed, and why it is not."""
    found, refused = said(replace(HONEST, **fields))
    assert found is not None
    assert len(refused) <= 1
    return found, "; ".join(f"{field}: {reason}" for field, reason in refused.items())


def test_an_honest_worker_is_believed_in_all() -> None:
    found, refused = said(HONEST)
    assert found is HONEST
    assert not refused


@pytest.mark.parametrize("state", [TaskState.NEW, TaskState.ASSIGNED, TaskState.REMOVE, TaskState.ORPHANED])
def test_of_a_state_that_is_the_managers_word_nothing_is_used(state: TaskState) -> None:
    found, refused = said(replace(HONEST, state=state))
    assert found is None
    assert refused == {"TaskStatus.state": f"a worker does not say that a task is {state.name.lower()}"}


def test_nothing_of_another_nodes_or_a_missing_task_is_used() -> None:
    assert said(HONEST, task_id="t2") == (None, {"TaskReport.task_id": "task web.1.t2 is on another node"})
    assert said(HONEST, task_id="gone") == (None, {})


@pytest.mark.parametrize("timestamp", [math.nan, math.inf, -math.inf, 1e300, -1e300, NOW + 3601, NOW - 3701, 1e9])
def test_a_time_that_cannot_be_is_now(timestamp: float) -> None:
    found, why = change(timestamp=timestamp)
    assert found.timestamp == NOW
    assert why.startswith("TaskStatus.timestamp: its clock says")


@pytest.mark.parametrize(
    ("timestamp", "expected"), [(0.0, NOW), (NOW + 3599, NOW), (NOW - 100.5, NOW - 100), (NOW - 50, NOW - 50)]
)
def test_clock_skew_puts_nothing_before_its_task_or_after_now(timestamp: float, expected: float) -> None:
    found, why = change(timestamp=timestamp)
    assert found.timestamp == expected
    assert not why


def test_texts_are_bounded_lines_harmless_to_a_terminal() -> None:
    found, why = change(message="a\nb\x1b[2J\x07c\u202ed", err="x" * 5000)
    assert found.message == "a b�[2J�c�d"
    assert found.err == "x" * 3999 + "…"
    assert not why


@pytest.mark.parametrize(
    ("addresses", "left", "words"),
    [
        (
            {NET: IN_OTHER},
            {},
            rf"task web\.1\.t1: {re.escape(IN_OTHER)} is not an address of its part of network netwo",
        ),
        ({NET: "10.1.0.5"}, {}, "its part of network network"),  # a virtual address
        ({NET: "10.1.16.0"}, {}, "its part"),
        ({NET: "10.1.16.1"}, {}, "its part"),  # its bridge's
        ({NET: "garbage"}, {}, "'garbage' is not an IPv4 address"),
        ({NET: "fd00:1::a01:1009"}, {}, "is not an IPv4 address"),
        ({NET: f"{IN_OWN}/24"}, {}, "is not an IPv4 address"),
        ({NET: IN_OWN, FOREIGN: "10.2.16.9"}, {NET: IN_OWN}, "task web.1.t1 is not in network 'foreign'"),
        ({"no such": "10.9.9.9"}, {}, "is not in network 'no such'"),
        ({MESH: MESH_OTHER}, {}, "is not an address of its gateway's range"),
        ({MESH: "10.240.1.1"}, {}, "is not an address of its gateway's range"),  # the gateway itself
        ({MESH: MESH_OTHER, MESH6: mesh6(MESH_OTHER)}, {}, "is not an address of its gateway's range"),
        ({MESH: MESH_OWN, MESH6: mesh6(MESH_OTHER)}, {MESH: MESH_OWN}, "is not the IPv6 address that goes with"),
        ({MESH: MESH_OWN, MESH6: "::1"}, {MESH: MESH_OWN}, "is not the IPv6 address that goes with"),
        ({MESH: MESH_OWN, MESH6: "}; nft"}, {MESH: MESH_OWN}, "is not the IPv6 address that goes with"),
    ],
)
def test_addresses_are_of_this_nodes_part_of_the_tasks_networks(
    addresses: dict[str, str], left: dict[str, str], words: str
) -> None:
    found, why = change(addresses=addresses)
    assert found.addresses == left
    assert re.match(f"TaskStatus.addresses: .*{words}", why)


def test_a_task_keeps_its_address_while_its_nodes_lease_is_taken() -> None:
    before = replace(task("t1"), status=TaskStatus(state=TaskState.RUNNING, addresses={NET: IN_OWN}))
    without = network(NET, "10.1.0.0/16", n2="10.1.17.0/24")
    status = TaskStatus(timestamp=NOW, state=TaskState.SHUTDOWN, addresses={NET: IN_OWN})
    assert said(status, before, without) == (status, {})
    other = replace(status, addresses={NET: "10.1.16.10"})
    found, refused = said(other, before, without)
    assert found is not None
    assert found.addresses == {}
    assert refused


def test_a_node_without_a_number_of_this_pool_has_no_gateway() -> None:
    for number in (0, 5000):
        found, refused = said(replace(HONEST, addresses={MESH: MESH_OWN}), node(OWN, number))
        assert found is not None
        assert found.addresses == {}
        assert list(refused) == ["TaskStatus.addresses"]


@pytest.mark.parametrize(
    ("port", "field"),
    [
        ({"target_port": 81, "published_port": 8080}, "target_port"),
        ({"target_port": 80, "published_port": 22}, "published_port"),
        ({"target_port": 53, "protocol": "udp", "published_port": 0}, "published_port"),
        ({"target_port": 53, "protocol": "udp", "published_port": 65536}, "published_port"),
        ({"target_port": 443, "published_port": 8443}, "target_port"),
        ({"target_port": 80, "published_port": 8080, "publish_mode": "ingress"}, "publish_mode"),
        ({"target_port": 80, "published_port": 8080, "protocol": "evil"}, "protocol"),
        ({"target_port": 80, "published_port": 8080, "host_ip": "nowhere"}, "host_ip"),
        ({"target_port": 80, "published_port": 8080, "name": "x"}, "name"),
    ],
)
def test_ports_are_the_tasks_own(port: dict[str, Any], field: str) -> None:
    found, why = change(ports=(PortConfig(**{"publish_mode": "host", **port}),))
    assert found.ports == ()
    assert why.startswith(f"PortConfig.{field}: ")


@pytest.mark.parametrize(
    ("hostname", "container"),
    [
        ("own", {"hostname": "own"}),
        ("web-host-1-t1", {"hostname": "{{.Service.Name}}-{{.Node.Hostname}}-{{.Task.ID}}"}),
        (CONTAINER[:12], {}),
        ("host-1", {}),
    ],
)
def test_a_container_is_named_by_its_specification_or_id(hostname: str, container: Any) -> None:
    status = replace(HONEST, hostname=hostname)
    assert said(status, task("t1", **container)) == (status, {})


@pytest.mark.parametrize("container", [{}, {"hostname": "own"}, {"hostname": "{{.Node.Hostname}}"}, {"hostname": "{{"}])
def test_and_not_as_its_worker_likes(container: Any) -> None:
    found, refused = said(replace(HONEST, hostname="registry.example.com"), task("t1", **container))
    assert found is not None
    assert found.hostname == ""
    assert refused == {"TaskStatus.hostname": "task web.1.t1 is not called 'registry.example.com' by its specification"}


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"container_status": ContainerStatus(container_id="../x", pid=1)}, "ContainerStatus.container_id"),
        ({"container_status": ContainerStatus(container_id=CONTAINER[:12])}, "ContainerStatus.container_id"),
        ({"container_status": ContainerStatus(container_id=CONTAINER, pid=-1)}, "ContainerStatus.pid"),
        ({"container_status": ContainerStatus(container_id=CONTAINER, exit_code=2**60)}, "ContainerStatus.exit_code"),
        ({"renewed": 6}, "TaskStatus.renewed"),
        ({"refused": -1}, "TaskStatus.refused"),
    ],
)
def test_numbers_and_ids_are_what_they_can_be(fields: Any, at: str) -> None:
    status = TaskStatus(timestamp=NOW, state=TaskState.RUNNING)
    found, refused = said(replace(status, **fields))
    assert found is not None
    assert (found.renewed, found.refused) == (0, 0)
    assert list(refused) == [at]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0, 1e300])
def test_what_tasks_use_is_finite_and_not_less_than_nothing(value: float) -> None:
    usage = TaskUsage(task_id="t1", cpu=value, memory=value, metric=2.0, error="why\n")
    taken, refused = validated(Usage(tasks=(usage, TaskUsage(task_id="t2", cpu=1.0), TaskUsage(task_id="gone"))))
    assert taken == Usage(tasks=(TaskUsage(task_id="t1", metric=2.0, error="why "),))
    assert set(refused) == {"TaskUsage.cpu", "TaskUsage.memory", "TaskUsage.task_id"}


def test_a_metric_may_be_negative_but_not_no_number() -> None:
    for value, expected in ((-3.0, -3.0), (math.nan, None), (math.inf, None)):
        taken, _ = validated(Usage(tasks=(TaskUsage(task_id="t1", metric=value),)))
        assert taken is not None
        assert taken.tasks[0].metric == expected


@pytest.mark.parametrize("digits", [12, 64])
def test_a_container_and_its_name_belong_to_the_first_reporter(digits: int) -> None:
    theirs = "d" * digits + "e" * (64 - digits)
    running = TaskStatus(state=TaskState.RUNNING, container_status=ContainerStatus(container_id="d" * 64))
    status = replace(HONEST, container_status=ContainerStatus(container_id=theirs, pid=7), hostname="d" * 12)
    for other in (
        replace(task("t2", OTHER), status=running),
        replace(task("t3"), status=running),
        attachment("a2", OTHER, name="web.1.t2", container_id="d" * 64),
        attachment("a2", OTHER, name="web.1.t2", status=AttachmentStatus(container_id="d" * 64)),
    ):
        found, refused = said(status, other)
        assert found is not None
        assert (found.container_status, found.hostname) == (ContainerStatus(pid=7), "")
        assert set(refused) == {"ContainerStatus.container_id", "TaskStatus.hostname"}
        assert refused["ContainerStatus.container_id"] == f"container {'d' * 12} is that of {other.name}"


def test_a_task_may_say_again_what_container_it_has() -> None:
    known = replace(task("t1"), status=replace(HONEST, state=TaskState.STARTING))
    assert said(HONEST, known) == (HONEST, {})
