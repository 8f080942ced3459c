"""What a task's record says of it, state by state."""

import pytest

from common.model.task import ContainerStatus, Task, TaskState, TaskStatus


def task(state: TaskState, desired: TaskState = TaskState.RUNNING, node: str = "n1", err: str = "") -> Task:
    return Task(id="t1", node_id=node, status=TaskStatus(state=state, err=err), desired_state=desired)


def test_states_end_above_running() -> None:
    assert [state for state in TaskState if not state.terminal][-1] is TaskState.RUNNING
    assert TaskState.COMPLETE.terminal


def test_the_name_has_the_slot_or_the_node() -> None:
    assert Task(id="t1", service_name="web", slot=3, node_id="n1").name == "web.3.t1"
    assert Task(id="t1", service_name="web", node_id="n1").name == "web.n1.t1"


def test_the_container_is_known_once_a_worker_said_it() -> None:
    assert Task(id="t").container == ""
    assert Task(id="t", status=TaskStatus(container_status=ContainerStatus(container_id="c"))).container == "c"


@pytest.mark.parametrize(
    ("seen", "desired", "live", "serves"),
    [
        (TaskState.NEW, TaskState.RUNNING, True, False),
        (TaskState.READY, TaskState.READY, True, False),
        (TaskState.RUNNING, TaskState.RUNNING, True, True),
        (TaskState.RUNNING, TaskState.SHUTDOWN, False, False),
        (TaskState.FAILED, TaskState.RUNNING, False, False),
    ],
)
def test_a_slot_is_held_by_what_is_wanted_and_has_not_ended(
    seen: TaskState, desired: TaskState, *, live: bool, serves: bool
) -> None:
    assert (task(seen, desired).live, task(seen, desired).serves) == (live, serves)


def test_part_of_a_node_is_taken_from_assignment_to_end() -> None:
    assert not task(TaskState.PENDING).placed
    assert task(TaskState.ASSIGNED).placed
    assert task(TaskState.RUNNING, TaskState.SHUTDOWN).placed
    assert not task(TaskState.COMPLETE).placed
    assert not task(TaskState.RUNNING, node="").placed


def test_a_pending_task_with_an_error_finds_no_node() -> None:
    assert task(TaskState.PENDING, err="no suitable node").finds_no_node
    assert not task(TaskState.PENDING).finds_no_node
    assert not task(TaskState.FAILED, err="exit 1").finds_no_node


def test_a_task_that_was_shut_down_did_not_end_by_itself() -> None:
    assert task(TaskState.REJECTED).ended_by_itself
    assert not task(TaskState.SHUTDOWN).ended_by_itself
