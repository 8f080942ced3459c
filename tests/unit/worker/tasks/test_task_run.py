"""What is reported of a task; other secrets and configs for a container that runs; an engine that is slow."""

import asyncio

import msgspec
import pytest

from common.clock import LoopClock
from common.model.container import ConfigReference, ContainerSpec, DriverConfig, Mount, SecretReference, VolumeOptions
from common.model.secret import Config, ConfigSpec, Secret, SecretSpec
from common.model.task import Renewal, Task, TaskState, TaskStatus
from tests.fakes.engine import FakeEngine, Program
from tests.fakes.virtual_loop import run_virtual
from tests.unit.worker.test_agent import virtual
from tests.unit.worker.worlds import World, make_task, want
from worker.interfaces.engine import Phase
from worker.tasks import task_run
from worker.tasks.plan.machine import Situation, Step
from worker.tasks.task_run import StatusReports

GOLANG = DriverConfig(name="golang")


def secret(object_id: str, data: bytes) -> Secret:
    return Secret(id=object_id, spec=SecretSpec(name="key", data=data))


def config(text: str) -> Config:
    return Config(id="c", spec=ConfigSpec(name="conf", data=text.encode(), templating=GOLANG))


def using(secret_id: str) -> ContainerSpec:
    return ContainerSpec(
        secrets=(SecretReference(secret_id=secret_id, secret_name="key"),),
        configs=(ConfigReference(config_id="c", config_name="conf"),),
    )


ONE, TWO = secret("one", b"1"), secret("two", b"2")
FIRST = make_task(container=using("one"), spec_version=1)
CONF = config('{{secret "key"}} of {{.Task.Slot}}')


def renewed(task: Task, secret_id: str = "two", version: int = 2, signal: str = "SIGHUP") -> Task:
    container = msgspec.structs.replace(using(secret_id), image="web")
    spec = msgspec.structs.replace(task.spec, container_spec=container)
    return msgspec.structs.replace(task, spec=spec, spec_version=version, renewal=Renewal(signal=signal))


def contents(world: World) -> list[bytes]:
    return [file.data for file in world.files.written["t1"]]


async def started(world: World) -> None:
    await world.assign(FIRST, secrets=(ONE,), configs=(CONF,))
    await asyncio.sleep(1)
    assert contents(world) == [b"1", b"1 of 1"]


@virtual
async def test_the_container_runs_on_with_other_files_and_is_told():
    w = World()
    async with w.running():
        await started(w)
        before = w.engine.box("t1")
        await w.change(renewed(FIRST), secrets=(TWO,), removed_secrets=("one",))
        await asyncio.sleep(1)
        assert contents(w) == [b"2", b"2 of 1"]  # what is expanded with it, too
        assert w.engine.signals == [("web.1.t1", "SIGHUP")]
        assert w.engine.box("t1") == before
    assert (w.last().state, w.last().renewed, w.last().err) == (TaskState.RUNNING, 2, "")


@virtual
async def test_it_waits_for_content_that_follows_in_another_message():
    w = World()
    async with w.running():
        await started(w)
        await w.change(renewed(FIRST), removed_secrets=("one",))
        await asyncio.sleep(1)
        assert (w.last().renewed, contents(w)[0]) == (0, b"1")
        await w.change(secrets=(TWO,))
        await asyncio.sleep(1)
        assert (w.last().renewed, contents(w)[0]) == (2, b"2")


@virtual
async def test_an_agent_that_was_away_catches_up_and_signals_once():
    w = World()
    async with w.running():
        await started(w)
    for _ in range(2):
        async with w.running():
            await w.assign(renewed(FIRST), secrets=(TWO,), configs=(CONF,))
            await asyncio.sleep(1)
        assert w.last().renewed == 2
        w.memory.states.clear()  # it has forgotten what it did
    assert w.engine.signals == [("web.1.t1", "SIGHUP")]


@virtual
async def test_what_cannot_be_done_is_said_and_the_program_goes_on():
    w = World()
    w.files.refusal = "cannot change a file"
    async with w.running():
        await started(w)
        await w.change(renewed(FIRST), secrets=(TWO,))
        await asyncio.sleep(1)
        assert (w.last().state, w.last().refused, w.last().renewed) == (TaskState.RUNNING, 2, 0)
        assert w.last().err == "cannot give the running container new secrets or configs: cannot change a file"
        assert w.engine.running == ["web.1.t1"]
        w.files.refusal = ""
        await w.change(renewed(FIRST, version=3))
        await asyncio.sleep(1)
        assert (w.last().renewed, w.last().err) == (3, "")


@virtual
async def test_a_template_that_is_wrong_is_refused_without_its_content():
    w = World()
    async with w.running():
        await started(w)
        bad = Secret(id="two", spec=SecretSpec(name="key", data=b"{{hunter2", templating=GOLANG))
        await w.change(renewed(FIRST), secrets=(bad,))
        await asyncio.sleep(1)
        assert w.last().refused == 2
        assert w.last().err.endswith("the secret key cannot be expanded as a template")
        assert contents(w)[0] == b"1"


@virtual
async def test_a_container_that_ends_meanwhile_has_just_ended():
    w = World()
    async with w.running():
        await started(w)
        w.files.refusal = "no such process"
        w.engine.kill("t1")
        await w.change(renewed(FIRST), secrets=(TWO,))
        await asyncio.sleep(1)
    assert (w.last().state, w.last().refused) == (TaskState.FAILED, 0)


@virtual
async def test_what_has_not_started_yet_starts_with_the_newest():
    w = World()
    async with w.running():
        await w.assign(want(FIRST, TaskState.READY), secrets=(ONE,), configs=(CONF,))
        await asyncio.sleep(1)
        await w.change(want(renewed(FIRST), TaskState.RUNNING), secrets=(TWO,))
        await asyncio.sleep(1)
        assert (contents(w)[0], w.last().renewed, w.engine.signals) == (b"2", 2, [])


@virtual
async def test_our_signal_that_ends_most_programs_is_not_anothers():
    w = World(engine=FakeEngine({"web": Program(exits_after=5)}))
    async with w.running():
        await started(w)
        await w.change(renewed(FIRST, signal="SIGTERM"), secrets=(TWO,))
        await asyncio.sleep(1)
        assert w.engine.signals == [("web.1.t1", "SIGTERM")]
        await asyncio.sleep(5)
        assert w.engine.box("t1").phase is Phase.EXITED
    assert w.last().state is TaskState.COMPLETE


@virtual
async def test_an_engine_that_is_away_is_waited_for():
    w = World()
    async with w.running():
        await started(w)
        w.engine.fall(exit_code=None)
        await w.change(renewed(FIRST), secrets=(TWO,))
        await asyncio.sleep(3)
        assert (w.last().renewed, w.last().refused) == (0, 0)
        w.engine.rise()
        await asyncio.sleep(5)
        assert w.last().renewed == 2
        assert w.engine.signals == [("web.1.t1", "SIGHUP")]


def volume(name: str, driver: str = "", **options: str) -> Mount:
    config = DriverConfig(name=driver, options=options) if driver or options else None
    return Mount(source=name, target="/x", volume_options=VolumeOptions(driver_config=config))


@pytest.mark.parametrize(
    ("mounts", "told"),
    [
        ((), ""),
        ((Mount(type="tmpfs", target="/tmp"),), ""),
        ((volume("data"),), " and volume data, which it mounts"),
        ((volume("data", "slow"),), " and volume data (driver slow), which it mounts"),
        (
            (volume("data", "local", type="nfs", device=":/srv"),),
            " and volume data (driver local, nfs :/srv), which it mounts",
        ),
        (
            (Mount(type="bind", source="/mnt/a", target="/a"), volume("b"), volume("c"), volume("d"), volume("e")),
            " and /mnt/a, volume b, volume c and 2 more, which it mounts",
        ),
    ],
)
def test_it_names_what_the_container_mounts(mounts: tuple[Mount, ...], told: str) -> None:
    task = make_task(container=ContainerSpec(mounts=mounts))
    where = "look at `journalctl -u docker -u containerd` on the node"
    assert (
        task_run.describe_delay("starting", 15, task)
        == f"the engine has been starting the container for 15 s: {where}{told}"
    )


def test_it_is_reported_again_each_time_the_duration_doubles() -> None:
    async def story() -> list[tuple[float, float]]:
        told: list[tuple[float, float]] = []
        loop = asyncio.get_running_loop()
        with task_run.call_when_slow(lambda taken: told.append((taken, loop.time()))):
            await asyncio.sleep(130)
        await asyncio.sleep(1000)
        return told

    assert run_virtual(story()) == [(15, 15), (30, 30), (60, 60), (120, 120)]


# --- what is reported ---


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
