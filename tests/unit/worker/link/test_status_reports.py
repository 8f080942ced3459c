"""What is said of one task: each new state, and each new word in it, once."""

from common.clock import LoopClock
from common.model.task import Task, TaskState, TaskStatus
from worker.link.status_reports import StatusReports
from worker.tasks.plan.machine import Situation, Step


class Clock(LoopClock):
    time = 10.0

    def now(self) -> float:
        return self.time


class Heard:
    def __init__(self) -> None:
        self.clock = Clock()
        self.statuses: list[TaskStatus] = []
        task = Task(id="t", service_name="web", slot=1, status=TaskStatus(state=TaskState.ASSIGNED, timestamp=1.0))
        self.reports = StatusReports(task, lambda _, status: self.statuses.append(status), self.clock)


def situation(state: TaskState) -> Situation:
    return Situation(state=state)


def test_a_new_state_is_said() -> None:
    heard = Heard()
    assert heard.reports.enter(Step(TaskState.PREPARING, "preparing"), situation(TaskState.ASSIGNED), None)
    (status,) = heard.statuses
    assert (status.state, status.message, status.timestamp) == (TaskState.PREPARING, "preparing", 10.0)
    assert heard.reports.last == status


def test_the_same_state_is_said_again_only_with_other_words() -> None:
    heard = Heard()
    now = situation(TaskState.PREPARING)
    heard.reports.enter(Step(TaskState.PREPARING, "pulling"), situation(TaskState.ASSIGNED), None)
    assert not heard.reports.enter(Step(TaskState.PREPARING, "pulling"), now, None)
    assert len(heard.statuses) == 1
    assert not heard.reports.enter(Step(TaskState.PREPARING, "pulling", "no such image"), now, None)
    assert heard.statuses[-1].err == "no such image"


def test_words_within_a_state_keep_its_time() -> None:
    heard = Heard()
    now = situation(TaskState.PREPARING)
    heard.reports.enter(Step(TaskState.PREPARING, "preparing"), situation(TaskState.ASSIGNED), None)
    heard.clock.time = 20.0
    heard.reports.say("fetching from w2", "", now, None)
    heard.reports.say("fetching from w2", "", now, None)
    assert [(status.message, status.timestamp) for status in heard.statuses] == [
        ("preparing", 10.0),
        ("fetching from w2", 10.0),
    ]
