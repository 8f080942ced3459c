"""What runs beside the tasks, on a fake engine in virtual time."""

import asyncio
import contextlib

import pytest

from common.model.node import PlainContainers
from common.model.service import DiscreteResourceSpec, GenericResource, NamedResourceSpec
from tests.fakes.engine import FakeEngine, Program
from tests.fakes.virtual_loop import run_virtual
from tests.unit.worker.test_agent import virtual, world
from tests.unit.worker.worlds import make_task
from worker.host.description import UNMANAGED_SECONDS, UnmanagedWatch, describe
from worker.interfaces.engine import LABEL_AGENT, EngineError

INFO = {
    "Name": "h1",
    "NCPU": 4,
    "MemTotal": 8 << 30,
    "OSType": "linux",
    "Architecture": "x86_64",
    "ServerVersion": "26.1.5",
    "Labels": ["rack=7", "fast"],
    "Plugins": {"Volume": ["local"], "Network": ["null", "bridge"], "Authorization": None, "Log": ["json-file"]},
    "GenericResources": [
        {"NamedResourceSpec": {"Kind": "gpu", "Value": "u1"}},
        {"DiscreteResourceSpec": {"Kind": "ssd", "Value": 3}},
    ],
    "MemoryLimit": True,
    "PidsLimit": False,
    "Version": {"ApiVersion": "1.45"},
}


def test_a_host():
    found = describe(INFO, "1.0", ["no nftables"])
    assert (found.hostname, found.platform.os, found.platform.architecture) == ("h1", "linux", "x86_64")
    assert (found.resources.nano_cpus, found.resources.memory_bytes) == (4_000_000_000, 8 << 30)
    assert found.resources.generic_resources == (
        GenericResource(named_resource_spec=NamedResourceSpec(kind="gpu", value="u1")),
        GenericResource(discrete_resource_spec=DiscreteResourceSpec(kind="ssd", value=3)),
    )
    assert (found.engine.engine_version, found.engine.api_version) == ("26.1.5", "1.45")
    assert found.engine.labels == {"rack": "7", "fast": ""}
    assert [(plugin.type, plugin.name) for plugin in found.engine.plugins] == [
        ("Log", "json-file"),
        ("Network", "bridge"),
        ("Network", "null"),
        ("Volume", "local"),
    ]
    assert found.lacks == ("no nftables", "the kernel has no pids cgroup: limits of processes do not work")
    assert found.agent_version == "1.0"


def test_an_engine_that_says_little():
    assert describe({"Name": "h"}, "1.0").hostname == "h"


MIB = 1 << 20


async def plain(engine, name, memory=0, labels=None):
    body = {"Image": "web", "Labels": labels or {}, "HostConfig": {"MemoryReservation": memory}}
    container_id = await engine.create(name, body)
    await engine.start(container_id)
    return container_id


@contextlib.asynccontextmanager
async def watching(engine):
    watch = UnmanagedWatch(engine, "n1")
    task = asyncio.create_task(watch.run())
    await asyncio.sleep(1)
    try:
        yield watch
    finally:
        task.cancel()


@virtual
async def test_running_ones_count_their_reservations_and_tasks_do_not():
    engine = FakeEngine({"web": Program()})
    await plain(engine, "before", 64 * MIB)
    await plain(engine, "task", 999 * MIB, {LABEL_AGENT: "n1"})
    await plain(engine, "another clusters task", 2 * MIB, {LABEL_AGENT: "elsewhere"})
    await engine.create("never started", {"Image": "web", "Labels": {}})
    async with watching(engine) as watch:
        assert watch.load == PlainContainers(count=2, memory_bytes=66 * MIB)
        await plain(engine, "later", 8 * MIB)
        await plain(engine, "second task", 999 * MIB, {LABEL_AGENT: "n1"})
        await asyncio.sleep(1)
        assert watch.load == PlainContainers(count=3, memory_bytes=74 * MIB)
        engine.vanish("before")
        await asyncio.sleep(1)
        assert watch.load == PlainContainers(count=2, memory_bytes=10 * MIB)


@virtual
async def test_tasks_cost_no_call():
    engine = FakeEngine({"web": Program()})
    async with watching(engine):
        before = engine.calls["inspect"]
        await plain(engine, "task", 0, {LABEL_AGENT: "n1"})
        engine.vanish("task")
        await asyncio.sleep(1)
        assert engine.calls["inspect"] == before


@virtual
async def test_after_an_engines_restart_they_are_looked_at_anew():
    engine = FakeEngine({"web": Program()})
    await plain(engine, "gone", 64 * MIB)
    stays = await plain(engine, "stays", 8 * MIB)
    async with watching(engine) as watch:
        engine.fall()
        engine.rise()
        await asyncio.sleep(1)
        assert watch.load == PlainContainers()
        await engine.start(stays)
        await asyncio.sleep(1)
        assert watch.load == PlainContainers(count=1, memory_bytes=8 * MIB)


@virtual
async def test_the_manager_hears_at_once_and_of_many_changes_together():
    w = world()
    async with w.running():
        await w.agent.ready()
        await asyncio.sleep(1)
        w.agent.hello()
        await w.assign(make_task())
        await asyncio.sleep(1)
        assert w.agent.description.plain == PlainContainers()
        await plain(w.engine, "first", 64 * MIB)
        async with asyncio.timeout(1):
            report = await w.agent.description_changed()
        assert report.description.plain == PlainContainers(count=1, memory_bytes=64 * MIB)
        for number in range(10):
            await plain(w.engine, f"p{number}", MIB)
        start = asyncio.get_running_loop().time()
        report = await w.agent.description_changed()
        assert report.description.plain == PlainContainers(count=11, memory_bytes=74 * MIB)
        assert UNMANAGED_SECONDS - 1 < asyncio.get_running_loop().time() - start <= UNMANAGED_SECONDS


@pytest.mark.parametrize("error", [EngineError(500, "container is dead"), ValueError("invalid literal for int(): ''")])
def test_one_unreadable_container_does_not_hide_others(caplog, error):
    async def story():
        engine = FakeEngine({"web": Program()})
        odd = await plain(engine, "odd", 1 * MIB)
        await plain(engine, "other", 2 * MIB)
        inspect = engine.inspect

        async def refusing(container):
            if container == odd:
                raise error
            return await inspect(container)

        engine.inspect = refusing
        async with watching(engine) as watch:
            assert watch.load == PlainContainers(count=1, memory_bytes=2 * MIB)
            await plain(engine, "later", 4 * MIB)
            await asyncio.sleep(1)
            assert watch.load == PlainContainers(count=2, memory_bytes=6 * MIB)
        assert odd[:12] in caplog.text

    run_virtual(story())
