"""How many nodes the right token makes: a leaked one must not fill the store, and a tool's hundreds must get in."""

import asyncio
from functools import cache

import pytest

from common.errors import ResourceExhausted
from common.tls import certificate_request, new_key
from common.wire.channel import PeerInfo
from common.wire.handshake import check_join_reply
from common.wire.messages import PROTOCOL_VERSION, JoinReply, JoinRequest
from manager.dispatch.dispatcher import JOIN_GRACE
from manager.dispatch.membership import JOINS, JOINS_OF_ADDRESS
from tests.fakes.dispatching import Manager
from tests.fakes.virtual_loop import run_virtual


@cache
def csr() -> bytes:
    return certificate_request(new_key())


async def join(manager: Manager, address: str) -> JoinReply:
    """Join as a host at this address."""
    token = manager.store.view.cluster.join_tokens.worker
    clock = manager.clock.now()
    worker = manager.connect(PeerInfo(None, address, "10.0.0.1"))
    await worker.say(JoinRequest(protocol=PROTOCOL_VERSION, token=token, csr=csr(), clock=clock, hostname="alpha"), 1)
    return check_join_reply((await worker.channel.receive()).message)


def test_one_address_makes_so_many_nodes_and_then_one_at_a_time() -> None:
    async def story() -> None:
        async with Manager().running() as manager:
            for _ in range(int(JOINS_OF_ADDRESS.burst)):
                await join(manager, "10.0.0.66")
            with pytest.raises(ResourceExhausted, match=r"from 10\.0\.0\.66 .* 5 seconds; .* join-token --rotate"):
                await join(manager, "10.0.0.66")
            assert len(manager.store.view.nodes) == JOINS_OF_ADDRESS.burst
            assert await join(manager, "10.0.0.67")
            await asyncio.sleep(1 / JOINS_OF_ADDRESS.per_second)
            assert await join(manager, "10.0.0.66")

    run_virtual(story())


def test_all_addresses_together_make_so_many() -> None:
    async def story() -> None:
        async with Manager().running() as manager:
            for number in range(int(JOINS.burst)):
                await join(manager, f"10.0.1.{number}")
            with pytest.raises(ResourceExhausted, match="300 hosts have joined in a short time"):
                await join(manager, "10.0.2.1")
            await asyncio.sleep(1 / JOINS.per_second)
            assert await join(manager, "10.0.2.1"), "it was refused, and not counted against its address"

    run_virtual(story())


def test_a_tool_can_join_hundreds_of_hosts_in_an_hour() -> None:
    async def story() -> None:
        async with Manager().running() as manager:
            for wave in range(10):
                await asyncio.gather(*(join(manager, f"10.{wave}.0.{number}") for number in range(80)))
                await asyncio.sleep(360)

    run_virtual(story())


def test_those_that_never_come_are_cleared_away() -> None:
    async def story() -> None:
        async with Manager().running() as manager:
            await asyncio.gather(*(join(manager, f"10.0.0.{number}") for number in range(100)))
            assert len(manager.store.view.nodes) == 100
            await asyncio.sleep(JOIN_GRACE + 1)
            assert len(manager.store.view.nodes) == 0

    run_virtual(story())
