"""Where tasks go, and what they say when they can go nowhere."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from common.model import TaskState, TaskStatus
from common.model.node import PlainContainers
from common.model.service import PortConfig
from manager.schedule import scheduler
from manager.schedule.load import ClusterLoad
from manager.schedule.scheduler import REASON_SECONDS, schedule
from tests.fakes.volumes import copy, service, spec
from tests.fakes.volumes import task as waiting_task
from tests.unit.manager.schedule.worlds import (
    NOW,
    World,
    count,
    failed,
    node,
    placed_by,
    reserving,
    running,
    task,
    tasks,
    thing,
)


def test_a_placed_task_has_its_node_state_and_message():
    world = World(node("a"), task("t", status=TaskStatus(state=TaskState.PENDING, err="no suitable node")))
    world.decide()
    got = world.view.tasks.get("t")
    assert got.node_id == "a"
    assert got.status == TaskStatus(
        state=TaskState.ASSIGNED, message="scheduler assigned task to node", timestamp=NOW, err=""
    )


def test_the_services_tasks_are_evened_out_before_all_tasks():
    world = World(node("a"), node("b"), *tasks(2))
    world.put(*(running(f"old{i}", "b") for i in range(5)))
    world.decide()
    assert world.nodes_of() == ["a", "b"]


def test_of_equals_the_node_with_fewest_tasks_in_all_wins():
    world = World(node("a"), node("b"), node("c"), running("x", "a"), running("y", "b"), task("t"))
    world.decide()
    assert world.nodes_of() == ["c"]


def test_plain_containers_count_as_tasks_do_when_nodes_are_equal():
    world = World(node("a", plain=PlainContainers(count=2)), node("b"), running("y", "b"), *tasks(2))
    world.decide()
    assert world.nodes_of() == ["a", "b"]  # the service's own tasks are evened out all the same
    world.put(task("one more", "db"))
    world.decide()
    assert world.nodes_of("db") == ["b"]
    world.put(node("a"), task("another", "cache"))  # they have ended
    world.decide()
    assert world.nodes_of("cache") == ["a"]


def test_what_plain_containers_reserve_is_not_free():
    held = PlainContainers(count=1, nano_cpus=3, memory_bytes=6)
    world = World(node("a", cpus=4, memory=8, plain=held), task("t", spec=reserving(memory=4)))
    world.put(task("u", "db", spec=reserving(cpus=2)))
    world.decide()
    assert world.error_of("t") == "no suitable node (insufficient resources on 1 node: 4B of memory)"
    assert world.error_of("u") == "no suitable node (insufficient resources on 1 node: 2e-09 CPUs)"
    world.put(node("a", cpus=4, memory=8))
    world.decide()
    assert world.nodes_of() == world.nodes_of("db") == ["a"]


def test_tasks_told_to_stop_do_not_count():
    world = World(node("a"), node("b"), running("x", "a", desired_state=TaskState.SHUTDOWN), task("t"))
    world.put(running("y", "b"))
    world.decide()
    assert world.nodes_of() == ["a"]


def test_a_node_where_the_service_keeps_failing_goes_last():
    world = World(node("a"), node("b"), *(failed(f"f{i}", "a") for i in range(5)), *tasks(3))
    world.decide()
    assert world.nodes_of() == ["b", "b", "b"]


@pytest.mark.parametrize(
    "failures",
    [
        [failed(f"f{i}", "a") for i in range(4)],
        [failed(f"f{i}", "a", at=NOW - 301) for i in range(5)],
        [failed(f"f{i}", "a", service="other") for i in range(5)],
    ],
)
def test_few_old_or_others_failures_do_not_matter(failures: list):
    world = World(node("a"), node("b"), *failures, *tasks(2))
    world.decide()
    assert world.nodes_of() == ["a", "b"]


def test_a_failing_node_is_better_than_none():
    world = World(node("a"), *(failed(f"f{i}", "a") for i in range(5)), task("t"))
    world.decide()
    assert world.nodes_of() == ["a"]


def test_reservations_are_never_exceeded_and_the_rest_waits():
    world = World(node("a", cpus=4), node("b", cpus=3), *tasks(5, spec=reserving(cpus=2)))
    world.decide()
    assert world.nodes_of() == ["a", "a", "b"]
    assert world.error_of("web004") == "no suitable node (insufficient resources on 2 nodes: 2e-09 CPUs)"


def test_a_stopping_task_holds_its_resources_until_stopped():
    spec = reserving(memory=10)
    old = running("old", "a", spec=spec, desired_state=TaskState.SHUTDOWN)
    world = World(node("a", memory=10), old, task("t", spec=spec))
    world.decide()
    assert world.nodes_of() == []
    world.put(replace(old, status=TaskStatus(state=TaskState.SHUTDOWN)))
    world.decide()
    assert world.nodes_of() == ["a"]


def test_named_resources_are_chosen_and_written_down():
    gpus = (thing("gpu", "uuid1"), thing("gpu", "uuid2"), thing("gpu", "uuid3"), count("disk", 4))
    world = World(node("a", generic=gpus), *tasks(2, spec=reserving(generic=(count("gpu", 1), count("disk", 2)))))
    world.decide()
    given = [t.generic_resources for t in world.view.tasks]
    assert given == [(thing("gpu", "uuid1"), count("disk", 2)), (thing("gpu", "uuid2"), count("disk", 2))]
    world.put(task("more", "other", reserving(generic=(count("gpu", 2),))))
    world.decide()
    assert world.error_of("more") == "no suitable node (insufficient resources on 1 node: gpu)"


def test_host_ports_never_meet_on_one_node():
    port = PortConfig(target_port=80, published_port=80, publish_mode="host")
    world = World(node("a"), node("b"), *tasks(3, ports=(port,)))
    world.decide()
    assert world.nodes_of() == ["a", "b"]
    assert world.error_of("web002") == "no suitable node (host-mode port already in use on 2 nodes)"


def test_host_ports_on_different_addresses_do_not_meet():
    def on(address: str) -> tuple[PortConfig, ...]:
        return (PortConfig(target_port=80, published_port=80, publish_mode="host", host_ip=address),)

    world = World(node("a"), task("one", "s1", ports=on("127.0.0.1")), task("two", "s2", ports=on("192.0.2.1")))
    world.decide()
    assert world.nodes_of("s1") == world.nodes_of("s2") == ["a"]
    world.put(task("all", "s3", ports=on("0.0.0.0")))
    world.decide()
    assert world.nodes_of("s3") == []


def test_no_more_than_max_replicas_on_a_node():
    world = World(node("a"), node("b"), *tasks(5, spec=placed_by(most=2)))
    world.decide()
    assert world.nodes_of() == ["a", "a", "b", "b"]
    assert "max replicas per node limit exceeded on 2 nodes" in world.error_of("web004")


def test_an_unplaceable_task_names_each_filter_and_its_refusals():
    world = World(
        node("a", cpus=1, labels={"zone": "east"}),
        node("b", cpus=9),
        node("c", cpus=9),
        node("paused", availability="pause"),
        node("down", state="down"),
        node("manager", agent=False),
        task("t", spec=replace(placed_by("node.labels.zone==east"), resources=reserving(cpus=5).resources)),
    )
    world.decide()
    assert world.error_of("t") == (
        "no suitable node (2 nodes not available for new tasks; scheduling constraints not satisfied on 2 nodes: "
        "node.labels.zone==east; no worker agent on 1 node; insufficient resources on 1 node: 5e-09 CPUs)"
    )


def test_without_any_node_it_says_only_that():
    world = World(task("t"))
    world.decide()
    assert world.error_of("t") == "no suitable node"


def test_a_constraint_that_cannot_be_read_is_said_not_raised():
    world = World(node("a"), task("t", spec=placed_by("node.colour==red")))
    world.decide()
    assert "invalid constraint 'node.colour==red'" in world.error_of("t")


def test_a_message_is_not_repeated_and_a_new_one_is_delayed():
    world = World(task("t"))
    world.decide()
    assert not world.decide(now=NOW + 100).decision
    world.put(node("a", availability="drain"))
    early = world.decide(now=NOW + 1)
    assert not early.decision
    assert early.again == (("web", 0),)
    world.decide(now=NOW + REASON_SECONDS)
    assert world.error_of("t") == "no suitable node (1 node not available for new tasks)"


def test_a_global_services_task_goes_to_its_node_or_says_why_not():
    spec = reserving(cpus=2)
    world = World(node("a", cpus=2), node("b", cpus=1), node("c", cpus=9, availability="pause"))
    world.put(*(task(f"on-{each}", spec=spec, node_id=each, slot=0) for each in ("a", "b", "c", "gone")))
    world.decide()
    assert world.view.tasks.get("on-a").status.state == TaskState.ASSIGNED
    assert world.error_of("on-b") == "no suitable node (insufficient resources on 1 node: 2e-09 CPUs)"
    assert world.error_of("on-c") == "no suitable node (1 node not available for new tasks)"
    assert world.error_of("on-gone") == "no suitable node"


@pytest.mark.parametrize("state", [TaskState.SHUTDOWN, TaskState.REMOVE])
def test_a_task_no_longer_wanted_is_not_placed(state: TaskState):
    world = World(node("a"), task("t", desired_state=state))
    assert not world.decide().decision


def test_a_replacement_that_is_only_to_get_ready_is_placed():
    world = World(node("a"), task("t", desired_state=TaskState.READY))
    world.decide()
    assert world.nodes_of() == ["a"]


def test_a_decision_is_bounded_and_every_group_has_its_share():
    world = World(node("a"), *tasks(300, "big"), *tasks(2, "small"))
    result = world.decide(limit=100)
    assert len(world.nodes_of("small")) == 2
    assert len(result.decision.put) <= 102
    assert result.more == (("big", 0),)


def test_reasons_are_bounded_and_every_group_has_its_share():
    world = World(*tasks(300, "big"), *tasks(2, "small"))
    result = world.decide(limit=100)
    assert len(result.decision.put) == 52
    assert world.error_of("small001") == "no suitable node"
    assert result.more == (("big", 0),)


def test_a_decision_that_has_asked_enough_nodes_leaves_the_rest(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scheduler, "VISITS_A_DECISION", 1)
    world = World(node("a"), task("t1", "s1"), task("t2", "s2"))
    assert world.decide().more == (("s2", 0),)
    assert (world.nodes_of("s1"), world.nodes_of("s2")) == (["a"], [])


def test_what_is_placed_first_says_where_the_next_finds_the_data():
    first, second = service("db", "data"), service("app", "data")
    world = World(node("a"), node("b"), first, second, waiting_task(first), waiting_task(second))
    world.decide()
    assert world.nodes_of("app") == world.nodes_of("db") != []


def test_a_decision_leaves_the_load_as_it_was():
    world = World(node("a", cpus=4), *tasks(3, spec=reserving(cpus=2)))
    assert schedule(world.view, world.load, list(world.load.pending), NOW).decision
    assert world.load == ClusterLoad.of(world.view)


def test_a_group_too_many_is_the_next_decisions():
    world = World(node("a"), *(task(f"t{i}", f"s{i}") for i in range(5)))
    result = world.decide(limit=3)
    assert len(result.decision.put) == 3
    assert set(result.more) == {("s3", 0), ("s4", 0)}


def test_a_decision_is_full_with_preferences_on_many_nodes():
    nodes = (node(f"n{i:03}", labels={"zone": f"z{i % 3}"}) for i in range(400))
    world = World(*nodes, *(task(f"t{i}", f"s{i}", placed_by(spread=("node.labels.zone",))) for i in range(1000)))
    assert len(world.decide(limit=1000).decision.put) == 1000


def test_no_task_goes_beside_an_unfinished_copy():
    partial = copy("a", "data", generation=0)
    waiting = task("t", spec=spec("data"))
    world = World(node("a"), node("b"), partial, waiting)
    world.decide()
    assert world.nodes_of() == ["b"]
    alone = World(node("a"), partial, waiting)
    alone.decide()
    assert alone.error_of("t") == (
        "no suitable node (an old or unfinished copy of volume data (see 'volume ls') on 1 node)"
    )
