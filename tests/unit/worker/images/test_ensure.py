"""Images that tasks need are here before their containers, with as few pulls as possible."""

import asyncio

import msgspec

from common.wire.messages import RegistryAuth
from tests.fakes.engine import Program
from tests.unit.worker.worlds import S, make_task, virtual, world
from worker.interfaces.engine import EngineError


@virtual
async def test_one_image_is_pulled_once_for_many_tasks():
    w = world({}, registry={"web": Program()}, pull_seconds=5)
    async with w.running():
        w.agent.authorised(RegistryAuth(service_id="s1", auth='{"username": "me"}'))
        await w.assign(*(make_task(f"t{n}") for n in range(5)))
        await asyncio.sleep(10)
        assert len(w.engine.running) == 5
        assert w.engine.pull_auths == ['{"username": "me"}']


@virtual
async def test_a_pull_without_credentials_does_not_fail_one_with_them():
    w = world({}, registry={"web": Program()}, pull_seconds=5)
    pull = w.engine.pull

    async def pull_with_credentials(reference, auth):
        if not auth:
            await asyncio.sleep(1)
            raise EngineError(404, f"pull access denied for {reference}")
        await pull(reference, auth)

    w.engine.pull = pull_with_credentials
    async with w.running():
        w.agent.authorised(RegistryAuth(service_id="s2", auth='{"username": "me"}'))
        await w.assign(make_task("t1"), msgspec.structs.replace(make_task("t2"), service_id="s2"))
        await asyncio.sleep(10)
        assert (w.state("t1"), w.state("t2")) == (S.REJECTED, S.RUNNING)


@virtual
async def test_a_task_that_is_shut_down_does_not_wait_for_its_pull():
    w = world({}, registry={"web": Program()}, pull_seconds=500)
    async with w.running():
        await w.start_and_shut_down()
        assert w.state() is S.SHUTDOWN


@virtual
async def test_a_failing_registry_is_tolerated_when_the_image_is_here():
    w = world({"web": Program()}, registry={"web": Program()})
    async with w.running():
        del w.engine.registry["web"]
        await w.assign(make_task())
        await asyncio.sleep(5)
        assert w.state() is S.RUNNING


@virtual
async def test_an_image_that_was_removed_meanwhile_is_pulled_again():
    w = world({"web": Program()}, registry={"web": Program()})
    async with w.running():
        await w.assign(make_task("t1"))
        await asyncio.sleep(5)
        del w.engine.images["web"]
        await w.change(make_task("t2"))
        await asyncio.sleep(5)
        assert w.state("t2") is S.RUNNING
