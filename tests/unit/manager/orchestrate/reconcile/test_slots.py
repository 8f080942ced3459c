"""A service's tasks by their slots."""

from common.model import Task, TaskState, TaskStatus
from manager.orchestrate.reconcile.slots import Slot, by_node, by_number, free_numbers


def task(
    task_id: str,
    slot: int = 1,
    *,
    at: float = 0.0,
    state: TaskState = TaskState.RUNNING,
    desired: TaskState = TaskState.RUNNING,
    node: str = "n1",
) -> Task:
    return Task(
        id=task_id, slot=slot, node_id=node, created_at=at, status=TaskStatus(state=state), desired_state=desired
    )


def test_a_slot_tells_what_holds_it_from_what_held_it() -> None:
    old = task("old", at=1.0, state=TaskState.FAILED)
    gone = task("gone", at=0.0, desired=TaskState.REMOVE)
    new = task("new", at=2.0, node="n2")
    slot = Slot([new, gone, old])
    assert [each.id for each in slot.tasks] == ["old", "new"]
    assert [each.id for each in slot.leaving] == ["gone"]
    assert slot.live == [new]
    assert (slot.number, slot.home, slot.node_id, slot.running, slot.newest) == (1, "", "n2", True, new)


def test_a_slot_that_nothing_holds_is_on_no_node() -> None:
    slot = Slot([task("a", state=TaskState.FAILED)])
    assert (slot.node_id, slot.running) == ("", False)


def test_the_home_of_a_global_slot_is_its_node() -> None:
    slots = by_node([task("a", 0), task("b", 0, node="n2"), task("c", 0)])
    assert {home: [each.id for each in slot.tasks] for home, slot in slots.items()} == {"n1": ["a", "c"], "n2": ["b"]}
    assert slots["n2"].home == "n2"


def test_numbers_come_in_order() -> None:
    assert list(by_number([task("a", 3), task("b", 1), task("c", 3)])) == [1, 3]


def test_the_lowest_free_numbers_are_taken() -> None:
    assert free_numbers([1, 2, 4], 3) == [3, 5, 6]
    assert free_numbers([], 0) == []
