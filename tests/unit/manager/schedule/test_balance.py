"""Which moves even out the load, and which services are left alone."""

from __future__ import annotations

import msgspec
import pytest

from common.model import Network, Node, Service, Task, TaskState, TaskStatus
from common.model.container import ContainerSpec, DriverConfig, Mount, VolumeOptions
from common.model.network import IpamConfig
from common.model.node import NodeDescription, NodeResources, NodeSpec, NodeStatus
from common.model.service import (
    Global,
    NetworkAttachmentConfig,
    Placement,
    PlacementPreference,
    Replicated,
    ReplicatedJob,
    Reservations,
    Resources,
    RestartPolicy,
    ServiceMode,
    ServiceSpec,
    SpreadOver,
    TaskSpec,
)
from common.model.update import UpdateState, UpdateStatus
from manager.schedule.balance import Balancer, plan_moves, reason_to_stay
from manager.schedule.load import ClusterLoad
from manager.store.tables import Tables

NOW = 1000.0
REPLICATED = ServiceMode(replicated=Replicated(replicas=1))
replace = msgspec.structs.replace


def world(placed: dict[str, str], spec: TaskSpec | None = None, zones: str = "", cpus: int = 0) -> Tables:
    """Make a node for each letter of "abc…" up to the last used or zoned, and services as `{"web": "aab"}` has them."""
    view = Tables()
    for number, letter in enumerate("abcd"):
        labels = {"zone": zones[number]} if number < len(zones) else {}
        node = Node(
            id=letter,
            agent=True,
            spec=NodeSpec(labels=labels),
            status=NodeStatus(state="ready"),
            description=NodeDescription(hostname=letter, resources=NodeResources(nano_cpus=cpus)),
        )
        view.of(Node).put(node)
    for name, nodes in placed.items():
        service = Service(id=name, spec=ServiceSpec(name=name, task_template=spec or TaskSpec(), mode=REPLICATED))
        view.of(Service).put(service)
        for slot, node_id in enumerate(nodes, 1):
            view.of(Task).put(task(name, slot, node_id, spec or TaskSpec()))
    return view


def task(service: str, slot: int, node_id: str, spec: TaskSpec) -> Task:
    return Task(
        id=f"{service}{slot}",
        service_id=service,
        service_name=service,
        slot=slot,
        node_id=node_id,
        spec=spec,
        status=TaskStatus(state=TaskState.RUNNING),
        desired_state=TaskState.RUNNING,
    )


def moves(view: Tables) -> list[str]:
    return [f"{move.task.id}>{move.node_id}" for move in plan_moves(view, ClusterLoad.of(view), view.services, NOW)]


def test_no_task_moves_to_a_node_without_a_part_of_its_network() -> None:
    view = world({"web": "aaa"}, TaskSpec(networks=(NetworkAttachmentConfig(target="tiny"),)))
    assert len(moves(view)) == 2
    parts = {"a": "10.1.0.16/29", "b": "10.1.0.24/29"}
    view.of(Network).put(Network(id="tiny", subnets=(IpamConfig(subnet="10.1.0.0/27"),), vni=1, leases=parts))
    assert moves(view) == ["web3>b"]


def test_what_is_even_stays() -> None:
    assert moves(world({"web": "abcd"})) == []
    assert moves(world({"web": "ab", "db": "cd"})) == []
    assert moves(world({"web": "aabbc"})) == ["web4>d"]
    assert moves(world({"web": "abc"})) == []


def test_a_services_tasks_are_spread_first_then_all_tasks() -> None:
    assert moves(world({"web": "aaaa"})) == ["web4>b", "web3>c", "web2>d"]
    assert moves(world({"a": "a", "b": "a", "c": "a"})) == ["a1>b", "b1>c"]


def test_spread_preferences_come_before_nodes() -> None:
    placement = Placement(preferences=(PlacementPreference(spread=SpreadOver(spread_descriptor="node.labels.zone")),))
    spec = TaskSpec(placement=placement)
    (move,) = moves(world({"web": "ab"}, spec, zones="xxxy"))
    assert move.endswith(">d")
    assert moves(world({"web": "abcddd"}, spec, zones="xxxy")) == [], "three of them in each zone"


def test_a_node_that_has_no_room_gets_nothing() -> None:
    spec = TaskSpec(resources=Resources(reservations=Reservations(nano_cpus=3)))
    full = world({"web": "aa", "db": "bcd"}, spec, cpus=5)
    assert moves(full) == []


def test_what_is_in_motion_stays() -> None:
    for change in ({"moving_to": "d"}, {"status": TaskStatus(state=TaskState.STARTING)}):
        view = world({"web": "aaa"})
        view.of(Task).put(replace(task("web", 1, "a", TaskSpec()), **change))
        assert moves(view) == []
    view = world({"web": "aaa"})
    service = view.services.get("web")
    view.of(Service).put(replace(service, update_status=UpdateStatus(state=UpdateState.UPDATING)))
    assert moves(view) == []


def test_excluded_nodes_and_moves_that_were_tried_are_left_out() -> None:
    view = world({"web": "aaa"})
    service = view.services.get("web")
    assert service is not None
    load = ClusterLoad.of(view)
    first = Balancer(view, load, NOW).best_move(service)
    assert first is not None
    assert (first.task.id, first.node_id) == ("web3", "b")
    other = Balancer(view, load, NOW, excluded=["b"]).best_move(service)
    assert other is not None
    assert other.node_id == "c"
    tried = Balancer(view, load, NOW, tried={("web", 3, "b"), ("web", 3, "c")}).best_move(service)
    assert tried is not None
    assert tried.node_id == "d"


def test_a_node_where_the_service_failed_lately_is_not_a_target() -> None:
    view = world({"web": "aa"})
    for number, letter in enumerate("bc"):
        failed = replace(task("web", 1, letter, TaskSpec()), id=f"old{number}")
        view.of(Task).put(replace(failed, status=TaskStatus(state=TaskState.FAILED), updated_at=NOW - 10))
    assert moves(view) == ["web2>d"]


@pytest.mark.parametrize(
    ("mode", "spec", "words"),
    [
        (ServiceMode(global_=Global()), TaskSpec(), "only replicated services"),
        (ServiceMode(replicated_job=ReplicatedJob()), TaskSpec(), "only replicated services"),
        (REPLICATED, TaskSpec(restart_policy=RestartPolicy(condition="none")), "run once"),
        (REPLICATED, TaskSpec(container_spec=ContainerSpec(mounts=(Mount(target="/d"),))), "its data at /d"),
        (REPLICATED, TaskSpec(container_spec=ContainerSpec(mounts=(Mount(type="bind", target="/d"),))), "its data"),
        (REPLICATED, TaskSpec(container_spec=ContainerSpec(mounts=(Mount(type="tmpfs", target="/d"),))), ""),
        (
            REPLICATED,
            TaskSpec(
                container_spec=ContainerSpec(
                    mounts=(Mount(target="/d", volume_options=VolumeOptions(driver_config=DriverConfig(name="nfs"))),)
                )
            ),
            "",
        ),
    ],
)
def test_what_is_never_moved(mode: ServiceMode, spec: TaskSpec, words: str) -> None:
    reason = reason_to_stay(Service(spec=ServiceSpec(mode=mode, task_template=spec)))
    assert words in reason
    assert bool(words) == bool(reason)


def test_the_services_current_placement_counts_for_older_tasks() -> None:
    """A change of placement alone leaves the tasks as they are: what it allows now is where they may go."""
    kept_off = TaskSpec(placement=Placement(constraints=("node.hostname!=a",)))
    view = world({"web": "bbcc"}, kept_off)
    assert not any(move.endswith(">a") for move in moves(view))
    (service,) = view.services
    view.of(Service).put(replace(service, spec=replace(service.spec, task_template=TaskSpec())))
    assert any(move.endswith(">a") for move in moves(view))
