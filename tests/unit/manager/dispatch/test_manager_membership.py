"""Which rows hosts get that join as managers."""

import random
import re
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from common.clock import SystemClock
from common.errors import FailedPrecondition, Unauthenticated
from common.model import Cluster, Node
from common.model.cluster import JoinTokens
from common.model.node import NodeDescription, NodeSpec, NodeStatus
from common.tls import certificate_request, new_key
from common.wire.manager_messages import ManagerJoin
from common.wire.messages import PROTOCOL_VERSION
from common.wire.token import parse_token
from manager.ca.authority import Authority, create_root
from manager.ca.tokens import new_tokens
from manager.dispatch.manager_membership import TICKET_SECONDS, ManagerMembership, Tickets
from manager.store.backends.memory import MemoryBackend
from manager.store.levels import LEVELS
from manager.store.store import Store

CLOCK = SystemClock()
WORKER = Node(
    id="w",
    agent=True,
    description=NodeDescription(hostname="alpha"),
    status=NodeStatus(state="ready", addr="192.0.2.7"),
    certificate_serials=("1",),
)
PROMOTED = replace(WORKER, spec=NodeSpec(role="manager"))


class ManagerJoins:
    """A cluster's membership, its store and its tokens."""

    def __init__(self, store: Store, tokens: JoinTokens, authority: Authority) -> None:
        rng = random.Random(1)
        self.store = store
        self.tokens = tokens
        self.tickets = Tickets(rng, lambda: 0.0)
        self.membership = ManagerMembership(store, authority, CLOCK, rng, self.tickets)

    async def join(self, token: str, addr: str = "192.0.2.7:2377") -> str:
        """Join as a manager; return the node's id."""
        request = ManagerJoin(
            protocol=PROTOCOL_VERSION,
            release="1.0",
            levels=LEVELS,
            token=token,
            csr=certificate_request(new_key()),
            clock=CLOCK.now(),
            hostname="alpha",
            addr=addr,
            peer_addr=addr.replace("2377", "2380"),
        )
        return (await self.membership.join(request, "192.0.2.7")).node_id


@pytest.fixture
async def joins() -> AsyncIterator[ManagerJoins]:
    authority = Authority(create_root("cluster1", CLOCK.now()))
    tokens = new_tokens(authority.digest, random.Random(1))
    async with Store(MemoryBackend(), CLOCK) as store:
        await store.update(lambda tx: tx.put(Cluster(id="cluster1", join_tokens=tokens)))
        yield ManagerJoins(store, tokens, authority)


async def test_a_worker_that_was_promoted_keeps_its_row(joins: ManagerJoins) -> None:
    await joins.store.update(lambda tx: tx.put(PROMOTED))
    assert await joins.join(joins.membership.ticket("w")) == "w"
    (node,) = joins.store.view.nodes
    assert (node.agent, node.spec.role) == (True, "manager")


@pytest.mark.parametrize("meanwhile", [WORKER, None])
async def test_a_ticket_ends_with_what_it_was_given_for(joins: ManagerJoins, meanwhile: Node | None) -> None:
    """Its node was demoted, or removed, before it came: it does not become a manager by what it was sent before."""
    await joins.store.update(lambda tx: tx.put(PROMOTED))
    ticket = joins.membership.ticket("w")
    await joins.store.update(lambda tx: tx.put(meanwhile) if meanwhile is not None else tx.remove(PROMOTED))
    with pytest.raises(Unauthenticated, match=r"node w was (demoted|removed) before it had become a manager"):
        await joins.join(ticket)
    assert [node.spec.role for node in joins.store.view.nodes] == (["worker"] if meanwhile is not None else [])


async def test_a_workers_host_is_promoted_not_joined(joins: ManagerJoins) -> None:
    await joins.store.update(lambda tx: tx.put(WORKER))
    with pytest.raises(FailedPrecondition, match=re.escape("is node w (alpha) of this cluster")):
        await joins.join(joins.tokens.manager)
    assert [node.id for node in joins.store.view.nodes] == ["w"]


async def test_a_host_whose_worker_has_left_joins(joins: ManagerJoins) -> None:
    await joins.store.update(lambda tx: tx.put(replace(WORKER, certificate_serials=())))
    joined = await joins.join(joins.tokens.manager)
    assert sorted(node.id for node in joins.store.view.nodes) == sorted(["w", joined])


async def test_a_host_that_was_none_gets_a_row_of_its_own(joins: ManagerJoins) -> None:
    await joins.store.update(lambda tx: tx.put(WORKER))
    joined = await joins.join(joins.tokens.manager, "192.0.2.8:2377")
    assert sorted(node.id for node in joins.store.view.nodes) == sorted(["w", joined])


async def test_a_host_that_tries_again_replaces_what_never_came(joins: ManagerJoins) -> None:
    first = await joins.join(joins.tokens.manager)
    second = await joins.join(joins.tokens.manager)
    assert [node.id for node in joins.store.view.nodes] == [second]
    await joins.membership.record_arrival([first, second])
    with pytest.raises(FailedPrecondition, match=f"node {second} .* is the manager at 192.0.2.7:2377 already"):
        await joins.join(joins.tokens.manager)


async def test_a_join_that_failed_leaves_a_worker_as_it_was(joins: ManagerJoins) -> None:
    await joins.store.update(lambda tx: tx.put(PROMOTED))
    await joins.join(joins.membership.ticket("w"))
    await joins.membership.take_back("w", "its manager did not start")
    (node,) = joins.store.view.nodes
    assert (node.spec.role, node.manager_status, node.manager_serials, node.etcd_addr) == ("worker", None, (), "")
    assert node.status == replace(WORKER.status, message="its manager did not start")


DIGEST = "0" * 50


def test_a_ticket_is_good_once_for_its_node_and_for_a_while() -> None:
    now = 100.0
    tickets = Tickets(random.Random(1), lambda: now)
    first, other = tickets.issue("n1", DIGEST), tickets.issue("n2", DIGEST)
    assert parse_token(first).digest == DIGEST
    assert tickets.redeem("SWMTKN-1-nothing") == ""
    assert (tickets.redeem(first), tickets.redeem(first)) == ("n1", "")
    now += TICKET_SECONDS
    assert tickets.redeem(other) == ""


def test_a_nodes_newest_ticket_replaces_the_one_before() -> None:
    tickets = Tickets(random.Random(1), lambda: 0.0)
    before, after = tickets.issue("n1", DIGEST), tickets.issue("n1", DIGEST)
    assert (tickets.redeem(before), tickets.redeem(after)) == ("", "n1")
