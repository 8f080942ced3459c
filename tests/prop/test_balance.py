"""Evening out: every planned move improves, the plan leaves nothing to plan, and no filter is broken on the way."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from common.model import Node, Service, Task, TaskState, TaskStatus
from common.model.service import Replicated, ServiceMode, ServiceSpec
from manager.schedule.balance import Balancer, Move, next_moves, plan_moves
from manager.schedule.filters import pipeline
from manager.schedule.load import ClusterLoad
from manager.schedule.regions import label_value, levels_of
from manager.store.tables import Tables
from tests.prop.scheduling_worlds import NOW, nodes, specs

replace = msgspec.structs.replace


@st.composite
def settled_worlds(draw: st.DrawFn) -> Tables:
    """Make nodes and services whose tasks all run, placed by no rule but that they fit."""
    view = Tables()
    for number in range(draw(st.integers(2, 6))):
        view.of(Node).put(draw(nodes(number)))
    load = ClusterLoad.of(view)
    for number in range(draw(st.integers(1, 4))):
        spec = draw(specs())
        service = Service(
            id=f"s{number}",
            spec=ServiceSpec(
                name=f"s{number}", task_template=spec, mode=ServiceMode(replicated=Replicated(replicas=1))
            ),
        )
        view.of(Service).put(service)
        for slot in range(1, draw(st.integers(1, 7)) + 1):
            task = Task(
                id=f"t{number}{slot}",
                service_id=service.id,
                slot=slot,
                spec=replace(spec, resources=_without_generic(spec.resources)),
                status=TaskStatus(state=TaskState.RUNNING),
                desired_state=TaskState.RUNNING,
            )
            rules = pipeline(task, view, load)
            homes = [node for node in load.nodes.values() if node.open and rules.suits(node) and rules.accepts(node)]
            if homes:
                placed = replace(task, node_id=draw(st.sampled_from(homes)).id)
                view.of(Task).put(placed)
                load.add(placed)
    return view


def _without_generic(resources):
    if resources is None or resources.reservations is None:
        return resources
    return replace(resources, reservations=replace(resources.reservations, generic_resources=()))


def measure(view: Tables, service: Service) -> tuple[int, ...]:
    """Return the sums of squares that a move must lower: a level after the other, then by node, then all tasks."""
    levels = levels_of(service.spec.task_template.placement)
    tasks = list(view.tasks.of_service(service.id))
    found = [
        _squares([tuple(_label(view, task, level) for level in levels[:depth]) for task in tasks])
        for depth in range(1, len(levels) + 1)
    ]
    found.append(_squares([task.node_id for task in tasks]))
    found.append(_squares([task.node_id for task in view.tasks]))
    return tuple(found)


def _label(view: Tables, task: Task, level: str) -> str:
    node = view.nodes.get(task.node_id)
    return label_value(node, level) if node is not None else ""


def _squares(keys: list) -> int:
    return sum(keys.count(key) ** 2 for key in set(keys))


def carry_out(view: Tables, move: Move) -> None:
    task = view.tasks.get(move.task.id)
    assert task is not None
    view.of(Task).put(replace(task, node_id=move.node_id))


@settings(max_examples=150, deadline=None)
@given(settled_worlds())
def test_every_move_improves_fits_and_the_plan_leaves_nothing(view: Tables) -> None:
    load = ClusterLoad.of(view)
    for move in plan_moves(view, load, view.services, NOW):
        task = view.tasks.get(move.task.id)
        service = view.services.get(move.task.service_id)
        assert task is not None
        assert service is not None
        before = measure(view, service)
        rules = pipeline(task, view, now := ClusterLoad.of(view))
        node = now.nodes[move.node_id]
        assert node.open
        assert rules.suits(node)
        assert rules.accepts(node), "its replacement has no room beside it"
        carry_out(view, move)
        assert measure(view, service) < before
    assert plan_moves(view, ClusterLoad.of(view), view.services, NOW) == []


@settings(max_examples=100, deadline=None)
@given(settled_worlds())
def test_planning_leaves_the_load_as_it_was(view: Tables) -> None:
    load = ClusterLoad.of(view)
    plan_moves(view, load, view.services, NOW)
    next_moves(Balancer(view, load, NOW), view.services, 10, lambda: True)
    assert load == ClusterLoad.of(view)


@settings(max_examples=100, deadline=None)
@given(settled_worlds(), st.integers(1, 3))
def test_rounds_come_to_rest_where_the_plan_does(view: Tables, most: int) -> None:
    for _ in range(200):
        moves = next_moves(Balancer(view, ClusterLoad.of(view), NOW), view.services, most, lambda: True)
        assert len({move.task.service_id for move in moves}) == len(moves) <= most
        if not moves:
            break
        for move in moves:
            carry_out(view, move)
    assert plan_moves(view, ClusterLoad.of(view), view.services, NOW) == []
