"""Arithmetic of reserved resources."""

from __future__ import annotations

from common.model import Node, Task, TaskState, TaskStatus
from common.model.node import NodeDescription, NodeResources
from common.model.service import (
    DiscreteResourceSpec,
    GenericResource,
    NamedResourceSpec,
    Reservations,
    Resources,
    TaskSpec,
)
from manager.domain.reservations import Available, reservations_of


def count(kind: str, value: int) -> GenericResource:
    return GenericResource(discrete_resource_spec=DiscreteResourceSpec(kind=kind, value=value))


def named(kind: str, value: str) -> GenericResource:
    return GenericResource(named_resource_spec=NamedResourceSpec(kind=kind, value=value))


NODE = Node(
    id="n1",
    description=NodeDescription(
        resources=NodeResources(
            nano_cpus=4_000_000_000,
            memory_bytes=1000,
            generic_resources=(named("gpu", "a"), named("gpu", "b"), count("disk", 3)),
        )
    ),
)


def task(state: TaskState = TaskState.RUNNING, given: tuple[GenericResource, ...] = (), **wanted: object) -> Task:
    return Task(
        node_id="n1",
        spec=TaskSpec(resources=Resources(reservations=Reservations(**wanted))),  # type: ignore[arg-type]
        status=TaskStatus(state=state),
        generic_resources=given,
    )


def test_a_task_without_resources_reserves_nothing() -> None:
    assert reservations_of(Task()) == Reservations()


def test_tasks_that_ended_or_are_not_placed_hold_nothing() -> None:
    tasks = [task(state, memory_bytes=600) for state in (TaskState.RUNNING, TaskState.FAILED, TaskState.PENDING)]
    assert Available.of(NODE, tasks).memory_bytes == 400


def test_lacking_names_the_resource() -> None:
    available = Available.of(NODE)
    assert available.lacking(Reservations(nano_cpus=5_000_000_000)) == "CPU"
    assert available.lacking(Reservations(memory_bytes=1001)) == "memory"
    assert available.lacking(Reservations(generic_resources=(count("gpu", 3),))) == "gpu"
    assert available.lacking(Reservations(generic_resources=(count("fpga", 1),))) == "fpga"
    assert available.fits(Reservations(memory_bytes=1000, generic_resources=(count("gpu", 2), count("disk", 3))))


def test_an_overcommitted_node_takes_what_reserves_nothing() -> None:
    available = Available.of(NODE, [task(memory_bytes=5000)])
    assert available.memory_bytes < 0
    assert available.fits(Reservations())
    assert not available.fits(Reservations(memory_bytes=1))


def test_a_thing_that_is_asked_for_by_name_is_that_one() -> None:
    available = Available.of(NODE)
    wanted = Reservations(generic_resources=(count("gpu", 1), named("gpu", "b")))
    assert available.choose(wanted) == (named("gpu", "b"), named("gpu", "a"))
    assert available.lacking(Reservations(generic_resources=(named("gpu", "c"),))) == "gpu"
    assert available.lacking(Reservations(generic_resources=(named("disk", "x"),))) == "disk", "these have no names"
    one = Reservations(generic_resources=(named("gpu", "b"),))
    available.take(task(given=available.choose(one), generic_resources=one.generic_resources))
    assert available.lacking(one) == "gpu"
    assert available.fits(Reservations(generic_resources=(named("gpu", "a"),)))


def test_named_things_are_given_out_once_and_come_back() -> None:
    available = Available.of(NODE)
    wanted = Reservations(generic_resources=(count("gpu", 1), count("disk", 2)))
    given = available.choose(wanted)
    assert given == (named("gpu", "a"), count("disk", 2))
    taken = task(given=given, generic_resources=wanted.generic_resources)
    available.take(taken)
    assert available.choose(Reservations(generic_resources=(count("gpu", 1),))) == (named("gpu", "b"),)
    assert available.lacking(wanted) == "disk"
    available.give_back(taken)
    assert available.fits(Reservations(generic_resources=(count("gpu", 2), count("disk", 3))))
