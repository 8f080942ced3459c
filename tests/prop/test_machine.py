"""Whatever happens to a task's container, and whenever: its state only goes forward, and nothing is left of it."""

import asyncio
from dataclasses import replace

from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import structs

from common.model.task import Task, TaskState
from tests.fakes.engine import FakeEngine, Program
from tests.fakes.virtual_loop import run_virtual
from tests.unit.worker.worlds import World, make_task, want
from worker.interfaces.engine import Container, Phase
from worker.tasks.plan.machine import Action, Contact, Situation, step

S = TaskState

containers = st.none() | st.builds(
    Container,
    id=st.just("c"),
    phase=st.sampled_from(Phase),
    exit_code=st.sampled_from([0, 1, 137]),
    health=st.sampled_from(["", "starting", "healthy", "unhealthy"]),
    signal=st.sampled_from([0, 15]),
    oom_killed=st.booleans(),
)
situations = st.builds(
    Situation,
    state=st.sampled_from([state for state in S if state >= S.ASSIGNED and state < S.REMOVE]),
    image_ready=st.booleans(),
    container=containers,
    attempted=st.booleans(),
    stopping=st.booleans(),
    released=st.booleans(),
    missing=st.sampled_from([(), ("secret key",)]),
    error=st.sampled_from(["", "refused"]),
    contact=st.sampled_from(Contact),
    restarts=st.integers(0, 9),
    ended_at=st.floats(0, 2000),
)
desires = st.sampled_from([S.READY, S.RUNNING, S.COMPLETE, S.SHUTDOWN, S.REMOVE])


def perform(now: Situation, action: Action) -> Situation:
    """Carry an action out as if nothing went wrong."""
    container = now.container
    match action:
        case Action.PULL:
            return structs.replace(now, image_ready=True)
        case Action.CREATE:
            return structs.replace(now, container=Container(id="c"))
        case Action.START:
            assert container is not None
            return structs.replace(
                now, container=replace(container, phase=Phase.RUNNING, health=""), restarts=now.restarts + 1
            )
        case Action.STOP:
            assert container is not None
            return structs.replace(now, stopping=True, container=replace(container, phase=Phase.EXITED))
        case Action.DISCARD:
            return structs.replace(now, container=None, attempted=False)
        case Action.RELEASE:
            return structs.replace(now, released=True)
        case _:
            raise AssertionError(f"no test performs {action}")


@given(situations, desires, st.floats(0, 4000))
def test_a_step_never_goes_back_and_never_acts_on_nothing(now, desired, instant):
    answer = step(make_task(desired=desired), now, instant)
    assert answer.state >= now.state
    if answer.action in (Action.START, Action.STOP):
        assert now.container is not None
    if answer.action is Action.START:
        assert now.container.phase is not Phase.RUNNING
        assert not now.state.terminal
    assert not (answer.err and not answer.state.terminal)
    assert not (answer.done and (now.container is not None or not now.released))


@given(situations, desires)
def test_steps_come_to_rest_and_removal_leaves_nothing(now, desired):
    task = make_task(desired=desired)
    now = structs.replace(now, missing=())
    for _ in range(20):
        answer = step(task, now, 1e6)
        now = structs.replace(now, state=answer.state)
        if answer.action is not None:
            now = perform(now, answer.action)
        elif step(task, now, 1e6) == answer:
            break
    else:
        raise AssertionError(f"no rest: {now}")
    if desired is S.REMOVE:
        assert answer.done
        assert now.container is None
    if desired >= S.SHUTDOWN:
        assert now.state.terminal
        assert now.container is None or now.container.phase is not Phase.RUNNING


# --- the whole agent under random faults ---

PROGRAMS = {
    "web": Program(),
    "slow": Program(stop_takes=20),
    "short": Program(exits_after=3, exit_code=1),
    "checked": Program(healthy_after=2, sick_after=30),
    "refused": Program(create_error="no"),
    "broken": Program(start_error="no"),
}
happenings = st.lists(
    st.tuples(
        st.sampled_from(
            ["add", "ready", "shutdown", "remove", "drop", "kill", "vanish", "engine", "engine-live", "agent", "lost"]
        ),
        st.integers(0, 4),
        st.sampled_from(sorted([*PROGRAMS, "pulled", "missing"])),
        st.sampled_from([0.0, 0.001, 0.0025, 0.5, 5.0]),
    ),
    max_size=25,
)


class Story:
    """A world and what the manager wants in it."""

    def __init__(self) -> None:
        engine = FakeEngine(PROGRAMS, {"pulled": Program()})
        self.world = World(engine=engine)
        self.tasks: dict[str, Task] = {}
        self.contact = True

    async def tell(self) -> None:
        self.contact = True
        await self.world.assign(*self.tasks.values())

    async def happen(self, what: str, number: int, image: str) -> None:
        name = f"t{number}"
        engine = self.world.engine
        if what in ("add", "ready") and name not in self.tasks and name not in self.world.seen:
            self.tasks[name] = make_task(name, image, S.RUNNING if what == "add" else S.READY)
        elif what in ("shutdown", "remove") and name in self.tasks:
            desired = S.SHUTDOWN if what == "shutdown" else S.REMOVE
            self.tasks[name] = want(self.tasks[name], max(desired, self.tasks[name].desired_state))
        elif what == "drop":
            self.tasks.pop(name, None)
        elif what == "kill" and any(name in running for running in engine.running):
            engine.kill(name)
        elif what == "vanish" and any(name in found for found in engine.names):
            engine.vanish(name)
        elif what.startswith("engine"):
            engine.fall(exit_code=None if what == "engine-live" else 137)
            await asyncio.sleep(2)
            engine.rise()
        elif what == "lost":
            self.contact = False
            self.world.agent.lost()

    def check(self) -> None:
        for name, statuses in self.world.seen.items():
            states = [status.state for status in statuses]
            assert states == sorted(states), f"{name} went back: {states}"
        names = self.world.engine.names
        assert len(names) == len(set(names))


async def _live(happened) -> None:
    story = Story()
    steps = list(happened)
    while True:
        async with story.world.running():
            await story.tell()
            while steps:
                what, number, image, pause = steps.pop(0)
                if what == "agent":
                    break
                await story.happen(what, number, image)
                if story.contact:
                    await story.tell()
                await asyncio.sleep(pause)
                story.check()
            else:
                await story.tell()
                await asyncio.sleep(100)
                _check_rest(story)
                return


def _check_rest(story: Story) -> None:
    story.check()
    statuses = story.world.agent.supervisor.tasks
    running = {name.rpartition(".")[2] for name in story.world.engine.running}
    assert running == {name for name, status in statuses.items() if status.state is S.RUNNING}
    left = {name.rpartition(".")[2] for name in story.world.engine.names}
    assert left <= set(story.tasks)
    for name, task in story.tasks.items():
        if task.desired_state is S.REMOVE:
            assert name not in left
        if task.desired_state >= S.SHUTDOWN:
            assert name not in running
        assert name in story.world.seen
    assert set(story.world.files.written) <= running


# A task that failed, and is to be removed, is stored as failed: its agent ends before it has removed it.
FAILED_FIRST = [
    ("add", 1, "checked", 0.0),
    ("agent", 0, "broken", 0.0),
    ("engine", 0, "broken", 0.0025),
    ("remove", 1, "broken", 0.001),
    ("agent", 0, "broken", 0.0),
]


@settings(max_examples=150, deadline=None)
@given(happenings)
@example(FAILED_FIRST)
def test_an_agent_ends_where_it_should_whatever_happens(happened):
    run_virtual(_live(happened))
