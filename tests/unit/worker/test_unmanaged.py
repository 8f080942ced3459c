"""Plain containers in networks of the cluster, as their host's agent sees them: on fakes, in virtual time."""

import asyncio
from typing import Any

import msgspec

from common.model import NetworkAttachment
from common.model.attachment import ATTACHMENT_LABEL, AttachedNetwork, AttachmentStatus
from tests.unit.worker.test_agent import virtual
from tests.unit.worker.worlds import NODE, World
from worker.interfaces.engine import Container, EngineDown


def attachment(**more: Any) -> NetworkAttachment:
    return NetworkAttachment(id="a1", node_id=NODE, name="box", networks=(AttachedNetwork(target="net1"),), **more)


async def told(world: World) -> AttachmentStatus:
    async with asyncio.timeout(30):
        (state,) = (await world.agent.attachments_changed()).attachments
    assert state.attachment_id == "a1"
    return state.status


async def made(world: World) -> str:
    """Make the container as the manager does."""
    return await world.engine.create("box", {"Image": "web", "Labels": {ATTACHMENT_LABEL: "a1"}})


@virtual
async def test_a_container_gets_addresses_first_and_until_its_end() -> None:
    world = World()
    async with world.running():
        await world.assign(attachments=(attachment(),))
        first = await told(world)
        assert [(end.network, end.network_id, end.address) for end in first.ends] == [("br-net1", "net1", "10.0.0.2")]
        assert (first.container_id, first.running) == ("", False)
        container_id = await made(world)
        await world.engine.start(container_id)
        running = await told(world)
        assert (running.container_id, running.name, running.running) == (container_id, "box", True)
        world.engine.kill("box")
        assert not (await told(world)).running
        world.engine.vanish("box")
        assert (await told(world)).gone
        await world.change(removed_attachments=("a1",))
        await asyncio.sleep(1)
        assert world.networks.calls["a1"] == ["attach", "release"]


@virtual
async def test_what_happened_while_the_agent_was_away_is_told() -> None:
    world = World()
    async with world.running():
        await world.assign(attachments=(attachment(),))
        known = await told(world)
        container_id = await made(world)
    record = attachment(container_id=container_id, status=known)
    async with world.running():
        await world.assign(attachments=(record,))
        assert world.networks.reserved["a1"] == {}, "asked for none"
        assert (await told(world)).container_id == container_id
    world.engine.vanish("box")
    async with world.running():
        await world.assign(attachments=(record,))
        assert (await told(world)).gone


@virtual
async def test_earlier_addresses_are_reserved_before_any_task_gets_one() -> None:
    world = World()
    async with world.running():
        await world.assign(attachments=(attachment(),))
        known = await told(world)
        await world.change(attachments=(attachment(status=known),))
    taken: list[dict[str, str]] = []
    world.networks.reserve = lambda holder, addresses: taken.append(dict(addresses))  # type: ignore[method-assign]
    async with world.running():
        assert taken[0] == {"net1": "10.0.0.2"}


@virtual
async def test_a_network_that_cannot_be_had_is_said_and_tried_again() -> None:
    world = World()
    world.networks.full = True
    async with world.running():
        await world.assign(attachments=(attachment(),))
        assert "no free address" in (await told(world)).err
        world.networks.full = False
        assert (await told(world)).ends


@virtual
async def test_a_bug_that_one_meets_ends_nothing_else() -> None:
    world = World()
    attach = world.networks.attach
    world.networks.attach = lambda _: 1 / 0  # type: ignore[method-assign,assignment,return-value]
    async with world.running():
        await world.assign(attachments=(attachment(),))
        assert "internal error of the worker: ZeroDivisionError" in (await told(world)).err
        world.networks.attach = attach  # type: ignore[method-assign]
        assert (await told(world)).ends


@virtual
async def test_a_manager_that_lost_what_it_was_told_hears_it_again() -> None:
    world = World()
    async with world.running():
        await world.assign(attachments=(attachment(),))
        known = await told(world)
        await world.assign(attachments=(attachment(),))
        assert await told(world) == known
        await world.assign(attachments=(attachment(status=known),))
        await asyncio.sleep(10)
        waiting = asyncio.ensure_future(world.agent.attachments_changed())
        await asyncio.sleep(10)
        assert not waiting.done()
        waiting.cancel()


@virtual
async def test_another_network_is_attached_despite_an_engine_failure() -> None:
    world = World()
    async with world.running():
        await world.assign(attachments=(attachment(),))
        await told(world)
        world.engine.fall()
        more = (AttachedNetwork(target="net1"), AttachedNetwork(target="net2", aliases=("joined",)))
        await world.change(attachments=(msgspec.structs.replace(attachment(), networks=more),))
        await asyncio.sleep(10)
        world.engine.rise()
        assert {end.network_id for end in (await told(world)).ends} == {"net1", "net2"}


@virtual
async def test_an_engine_that_once_takes_too_long_is_asked_again() -> None:
    """It was not away: no event tells that it is back."""
    world = World()
    async with world.running():
        await world.assign(attachments=(attachment(),))
        await told(world)
        container_id = await made(world)
        inspect, slow = world.engine.inspect, iter([True, True])  # for those who count plain containers, too

        async def inspect_late(container: str) -> Container | None:
            if next(slow, False):
                raise EngineDown("the Docker engine did not answer in time")
            return await inspect(container)

        world.engine.inspect = inspect_late  # type: ignore[method-assign]
        await world.engine.start(container_id)
        assert (await told(world)).running
