"""What events and lists make of what is known of a task's container."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from common.clock import SystemClock
from tests.unit.worker.worlds import make_task
from worker.interfaces.engine import Container, ContainerEvent, Phase
from worker.tasks.container_watch import ContainerWatch
from worker.tasks.plan.machine import Contact
from worker.tasks.task_run import Renewals, TaskRun

RUNS = Container(id="c1", task_id="t1", phase=Phase.RUNNING, pid=7)


class Engine:
    """An engine that says once what is asked of it, after `meanwhile` has happened."""

    def __init__(self, answer: Container | None) -> None:
        self.answer = answer
        self.meanwhile = lambda: None

    async def inspect(self, _reference: str) -> Container | None:
        self.meanwhile()
        return self.answer


class Networks:
    """Networks that count the processes that they are told of."""

    def __init__(self) -> None:
        self.started_pids: list[int] = []

    async def adopted(self, *_: object) -> object:
        return object()

    async def started(self, _task: object, container: Container) -> None:
        self.started_pids.append(container.pid)


def watch(container: Container | None, engine: Engine | None = None) -> tuple[ContainerWatch, TaskRun, Networks]:
    networks = Networks()
    context: Any = SimpleNamespace(clock=SystemClock(), engine=engine, networks=networks)
    run = TaskRun(make_task(), context, lambda *_: None, contact=Contact.CONNECTED, container=container, looked=True)
    nothing: Any = None
    return ContainerWatch(run, Renewals(nothing, nothing), stale=False), run, networks


def event(action: str, **more: Any) -> ContainerEvent:
    return ContainerEvent(container_id="c1", task_id="t1", action=action, **more)


@pytest.mark.parametrize(
    ("known", "listed", "doubt"),
    [
        (RUNS, RUNS, False),
        (RUNS, None, True),
        (None, RUNS, True),
        (RUNS, replace(RUNS, phase=Phase.EXITED), True),
        (None, None, False),
    ],
)
def test_a_list_that_says_otherwise_leaves_doubt(known: Container | None, listed: Container | None, doubt: bool):
    watching, run, _ = watch(known)
    watching.check(listed)
    assert (watching.stale, run.woken.is_set()) == (doubt, doubt)


def test_events_of_another_container_say_nothing():
    watching, run, _ = watch(RUNS)
    watching.observe(ContainerEvent(container_id="c2", task_id="t1", action="die"))
    assert (watching.stale, run.woken.is_set()) == (False, False)


def test_a_container_that_we_remove_ourselves_leaves_no_doubt():
    watching, _, _ = watch(RUNS)
    watching.discarding = True
    watching.observe(event("destroy"))
    assert not watching.stale
    watching.discarding = False
    watching.observe(event("destroy"))
    assert watching.stale


async def test_an_event_during_a_look_asks_for_another_look():
    engine = Engine(RUNS)
    watching, run, _ = watch(RUNS, engine)
    engine.meanwhile = lambda: watching.observe(event("kill", signal=9))
    await watching.look()
    assert watching.stale
    assert run.now.container is not None
    assert run.now.container.signal == 9, "the engine does not say which signal ended it"


async def test_networks_hear_of_each_process_once():
    engine = Engine(RUNS)
    watching, _, networks = watch(None, engine)
    await watching.look()
    await watching.look()
    engine.answer = replace(RUNS, pid=8)
    await watching.look()
    assert networks.started_pids == [7, 8]


async def test_the_container_of_another_task_is_not_ours():
    watching, run, _ = watch(None, Engine(replace(RUNS, task_id="t2")))
    await watching.look()
    assert run.now.container is None
