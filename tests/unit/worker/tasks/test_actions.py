"""What a task has its engine do: no call too many, files and volumes that go with it, containers that are late."""

import asyncio
import os
from typing import Any

from common.model.container import ContainerSpec, FileTarget, SecretReference
from common.model.secret import Secret, SecretSpec
from tests.fakes.engine import FakeEngine
from tests.unit.worker.worlds import S, holding, make_task, virtual, want, world
from worker.engine.call_limiter import calls_at_once
from worker.interfaces.engine import EngineError, EngineSilent
from worker.tasks.supervisor import RELIST_SECONDS


@virtual
async def test_starting_takes_no_call_too_many():
    """Three calls a task, and one for the image of all of them: what the engine alone would need, and one look."""
    w = world()
    async with w.running():
        before = w.engine.calls.copy()
        await w.assign(*(make_task(f"t{n}") for n in range(10)))
        await asyncio.sleep(1)
        assert w.engine.calls - before == {"create": 10, "start": 10, "inspect": 10, "image": 1}
        assert len(w.engine.running) == 10


@virtual
async def test_calls_to_the_engine_are_bounded():
    w = world(latency=0.05)
    async with w.running():
        await w.assign(*(make_task(f"t{n}") for n in range(60)))
        await asyncio.sleep(30)
        assert len(w.engine.running) == 60
        assert w.engine.busiest == calls_at_once(os.cpu_count() or 1)


@virtual
async def test_a_container_goes_without_volumes_where_they_are_kept() -> None:
    for keeps in (False, True):
        w = world()
        w.keeper.keeps = keeps
        async with w.running():
            await w.assign(make_task())
            await asyncio.sleep(1)
            box = w.engine.box("t1").id
            await w.change(want(make_task(), S.REMOVE))
            await asyncio.sleep(1)
        assert not w.engine.names
        assert w.keeper.asked == [("web.1", box)]
        assert w.engine.kept_volumes == ((box,) if keeps else ())


def secret_task(**more):
    reference = SecretReference(file=FileTarget(name="key"), secret_id="k", secret_name="key")
    return make_task(container=ContainerSpec(secrets=(reference,)), **more)


SECRET = Secret(id="k", spec=SecretSpec(name="key", data=b"hush"))


@virtual
async def test_a_secret_is_mounted_and_goes_when_the_task_has_ended():
    w = world()
    async with w.running():
        task = secret_task()
        await w.assign(task, secrets=(SECRET,))
        await asyncio.sleep(1)
        (mount,) = w.engine.body("t1")["HostConfig"]["Mounts"]
        assert mount == {"Type": "bind", "Source": "/files/t1/0", "Target": "/run/secrets/key", "ReadOnly": True}
        assert w.files.written["t1"][0].data == b"hush"
        await w.change(want(task, S.SHUTDOWN), removed_secrets=("k",))
        await asyncio.sleep(1)
        assert w.files.written == {}


@virtual
async def test_a_task_waits_for_its_secret():
    w = world()
    async with w.running():
        await w.assign(secret_task())
        await asyncio.sleep(1)
        assert (w.state(), w.last().message) == (S.PREPARING, "waiting for a manager to send secret key")
        await w.change(secrets=(SECRET,))
        await asyncio.sleep(1)
        assert w.state() is S.RUNNING


def creating_late(w, answers_after: float, done_after: float) -> None:
    """Have the engine give creates no answer in time, keep the container's name, and make it in the end."""
    create, begun = w.engine.create, set()

    async def late(name: str, body: dict[str, Any]) -> str:
        if name in w.engine.names or name in begun:
            raise EngineError(409, f'Conflict. The container name "/{name}" is already in use')
        begun.add(name)
        making = asyncio.ensure_future(make(name, body))
        await asyncio.sleep(answers_after)
        making.add_done_callback(lambda _: begun.discard(name))
        raise EngineSilent("the Docker engine did not create the container within 180 s")

    async def make(name: str, body: dict[str, Any]) -> str:
        await asyncio.sleep(done_after)
        return await create(name, body)

    w.engine.create = late


@virtual
async def test_a_container_that_is_made_after_all_is_the_tasks():
    w = world()
    creating_late(w, 180, 240)
    async with w.running():
        await w.assign(make_task())
        await asyncio.sleep(200)
        assert (w.state(), w.last().message) == (S.PREPARING, "waits for the engine")
        assert "has not yet created the container" in w.last().err
        await asyncio.sleep(50)
        assert w.state() is S.RUNNING
        assert w.engine.running == ["web.1.t1"]


@virtual
async def test_one_that_is_made_when_its_task_is_gone_is_removed():
    w = world()
    creating_late(w, 180, 240)
    async with w.running():
        await w.assign(make_task())
        await asyncio.sleep(190)
        await w.assign(want(make_task(), S.REMOVE))
        await asyncio.sleep(10)
        assert w.state() is S.SHUTDOWN
        await w.assign()
        await asyncio.sleep(45)
        assert w.engine.names == ["web.1.t1"]
        await asyncio.sleep(RELIST_SECONDS)
        assert w.engine.names == []


@virtual
async def test_a_name_that_somebody_elses_container_has_is_refused():
    w = world()
    await w.engine.create("web.1.t1", {"Image": "web", "Labels": {}})
    async with w.running():
        await w.assign(make_task())
        await asyncio.sleep(5)
        assert w.state() is S.REJECTED
        assert "already in use" in w.last().err


@virtual
async def test_a_host_goes_on_though_some_tasks_hang_in_its_engine():
    w = world()
    free = holding(w, "start")
    places = calls_at_once(os.cpu_count() or 1)
    stuck = [make_task(f"s{n}") for n in range(3 * places)]
    async with w.running():
        await w.assign(*stuck)
        await asyncio.sleep(1)
        start = w.engine.start
        w.engine.start = FakeEngine.start.__get__(w.engine)
        await w.assign(*stuck, make_task("fine"))
        await asyncio.sleep(20)
        assert "web.1.fine" in w.engine.running
        w.engine.start = start
        await w.assign(*(want(task, S.REMOVE) for task in stuck))
        await asyncio.sleep(1)
        free.set()
        await asyncio.sleep(5)
        assert w.engine.names == []
