"""What may become of a task, and what may not."""

from __future__ import annotations

import pytest

from common.model import Task, TaskState, TaskStatus
from common.model.task import Renewal
from manager.store.observation import InvalidTransition, check, describe, observe
from tests.fakes.world import replace

TASK = Task(
    id="t",
    service_id="s",
    service_name="web",
    slot=3,
    node_id="n1",
    desired_state=TaskState.RUNNING,
    status=TaskStatus(state=TaskState.STARTING),
)


def test_the_first_sight_of_a_running_task_is_remembered() -> None:
    seen = observe(TASK, TaskStatus(state=TaskState.RUNNING, timestamp=1.0), now=50.0)
    assert seen is not None
    assert seen.restart.running_since == 50.0
    again = observe(seen, TaskStatus(state=TaskState.RUNNING, timestamp=2.0, addresses={"net": "10.0.0.2"}), now=60.0)
    assert again is not None
    assert again.restart.running_since == 50.0
    assert again.status.addresses == {"net": "10.0.0.2"}


def test_why_a_task_was_told_to_stop_outlives_its_end() -> None:
    why = "assigned node no longer meets constraints: node.labels.disk==ssd"
    told = replace(TASK, desired_state=TaskState.SHUTDOWN, status=TaskStatus(state=TaskState.RUNNING, err=why))
    for state in (TaskState.RUNNING, TaskState.SHUTDOWN):
        seen = observe(told, TaskStatus(state=state, message="stopping", timestamp=2.0), 5.0)
        assert seen is not None
        assert seen.status.err == why
        told = seen
    failed = observe(told, TaskStatus(state=TaskState.FAILED, err="task: non-zero exit (3)"), 5.0)
    assert failed is not None
    assert failed.status.err == "task: non-zero exit (3)"
    running = replace(told, desired_state=TaskState.RUNNING, status=TaskStatus(state=TaskState.RUNNING, err=why))
    better = observe(running, TaskStatus(state=TaskState.RUNNING), 5.0)
    assert better is not None
    assert not better.status.err


def test_when_a_task_took_its_files_is_remembered() -> None:
    asked = replace(TASK, spec_version=3, renewal=Renewal(asked_at=40.0))
    early = observe(asked, TaskStatus(state=TaskState.RUNNING, renewed=2), now=45.0)
    assert early is not None
    assert early.renewal == Renewal(asked_at=40.0)
    seen = observe(early, TaskStatus(state=TaskState.RUNNING, renewed=3), now=50.0)
    assert seen is not None
    again = observe(seen, TaskStatus(state=TaskState.RUNNING, renewed=3, message="started"), now=60.0)
    assert again is not None
    assert again.renewal == Renewal(asked_at=40.0, taken_at=50.0)


def test_old_news_changes_nothing() -> None:
    assert observe(TASK, TASK.status, 1.0) is None
    assert observe(TASK, TaskStatus(state=TaskState.PREPARING), 1.0) is None


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"status": TaskStatus(state=TaskState.PREPARING)}, "observed state would move backwards"),
        ({"node_id": "n2"}, "move to another node"),
        ({"node_id": ""}, "move to another node"),
        ({"desired_state": TaskState.READY}, "desired state would move backwards"),
        ({"slot": 4}, "change its slot"),
        ({"service_id": "other"}, "change its slot"),
    ],
)
def test_a_forbidden_change_tells_the_tasks_story(change: dict[str, object], rule: str) -> None:
    with pytest.raises(InvalidTransition) as caught:
        check(TASK, replace(TASK, **change))
    text = str(caught.value)
    assert rule in text
    assert text.count("task t (web.") == 2


def test_allowed_changes() -> None:
    check(TASK, replace(TASK, desired_state=TaskState.SHUTDOWN, status=TaskStatus(state=TaskState.FAILED)))
    check(replace(TASK, node_id=""), TASK)


def test_a_story_tells_everything_in_a_line() -> None:
    task = replace(TASK, status=TaskStatus(state=TaskState.REJECTED, message="preparing", err="No such image"))
    text = describe(task)
    assert "web.3" in text
    assert "on node n1" in text
    assert "seen REJECTED" in text
    assert "preparing: No such image" in text
    assert "\n" not in text
