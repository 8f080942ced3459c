"""Connections that have not yet come to anything: how many there may be, and who pays for those that never do."""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack

import pytest

from common.errors import ResourceExhausted
from common.tls import Identity
from common.wire.admission import FAILED_OF_ADDRESS, Admission
from common.wire.channel import PeerInfo
from manager.dispatch.pending_connections import (
    FAILED_OF_NODE,
    MAX_STRANGERS,
    PENDING_OF_NODE,
    STRANGERS_OF_ADDRESS,
    PendingConnection,
    PendingConnections,
)


def stranger(address: str = "192.0.2.1") -> PeerInfo:
    return PeerInfo(remote_address=address)


def worker(node_id: str = "n1") -> PeerInfo:
    return PeerInfo(Identity(node_id, "worker", "c"), remote_address="192.0.2.9")


def come(pending: PendingConnections, stack: ExitStack, peers: Sequence[PeerInfo]) -> list[PendingConnection]:
    return [stack.enter_context(pending.track(peer)) for peer in peers]


@pytest.mark.parametrize(("peer", "most"), [(stranger(), STRANGERS_OF_ADDRESS), (worker(), PENDING_OF_NODE)])
async def test_there_are_so_many_of_one_peer_until_one_is_settled(peer, most):
    pending = PendingConnections(Admission())
    with ExitStack() as stack:
        first, *_ = come(pending, stack, [peer] * most)
        with pytest.raises(ResourceExhausted), pending.track(peer):
            raise AssertionError
        come(pending, stack, [stranger("198.51.100.1"), worker("n2")])  # others are not concerned
        first.settle()
        first.settle()  # once is enough
        come(pending, stack, [peer])
        with pytest.raises(ResourceExhausted), pending.track(peer):
            raise AssertionError


async def test_there_are_so_many_strangers_in_all():
    pending = PendingConnections(Admission())
    with ExitStack() as stack:
        come(pending, stack, [stranger(f"192.0.2.{number % 250}") for number in range(MAX_STRANGERS)])
        with pytest.raises(ResourceExhausted, match="too many hosts are joining"), pending.track(stranger("::1")):
            raise AssertionError
        come(pending, stack, [worker()])
    come(pending, ExitStack(), [stranger("::1")])


def lets_in(admission: Admission, peer: PeerInfo) -> bool:
    return admission.lets_in(peer.remote_address, asyncio.get_running_loop().time())


async def test_who_comes_in_vain_too_often_is_not_let_in():
    admission = Admission()
    pending = PendingConnections(admission)
    for _ in range(int(FAILED_OF_ADDRESS.burst) + 1):
        with pending.track(stranger()) as connection:
            connection.settle()
    assert lets_in(admission, stranger())
    for _ in range(int(FAILED_OF_ADDRESS.burst) + 1):
        with pending.track(stranger()):
            pass
    assert not lets_in(admission, stranger())
    assert lets_in(admission, stranger("192.0.2.2"))


async def test_a_node_pays_before_its_address_does():
    """Others may have the same address."""
    admission = Admission()
    pending = PendingConnections(admission)
    for _ in range(int(FAILED_OF_NODE.burst) - 1):
        with pending.track(worker()):
            pass
    for _ in range(int(FAILED_OF_ADDRESS.burst) - 1):
        with pending.track(stranger(worker().remote_address)):
            pass
    assert lets_in(admission, worker())
    for _ in range(5):
        with pending.track(worker()):
            pass
    assert not lets_in(admission, worker())
