"""How hosts become managers, and how managers' certificates are renewed: the leader's decisions.

A ticket, which `node promote` gives a worker's host, lets it join once as a manager.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Collection

import msgspec

from common.aio.rate_limit import Rate, RateLimit
from common.clock import Clock
from common.errors import FailedPrecondition, InvalidArgument, PermissionDenied, ResourceExhausted, Unauthenticated
from common.ids import new_id
from common.model.node import ManagerStatus, Node, NodeDescription, NodeSpec, NodeStatus
from common.net.addressing import ANY_ADDRESS, is_hostname, is_one_host
from common.text.terminal import printable
from common.tls import ROLE_MANAGER, Identity
from common.wire.manager_messages import ManagerJoin, ManagerJoined, ManagerRenew
from common.wire.messages import RenewReply
from manager.ca.authority import Authority, key_of_request, new_serial
from manager.ca.rotation import step_of
from manager.ca.tokens import check_token, new_token
from manager.config import split_address
from manager.domain import hostnames
from manager.domain.managers import address, is_awaited, managers, without_manager
from manager.store.levels import check_levels
from manager.store.store import Store
from manager.store.transaction import Transaction

# Seconds by which managers' clocks may differ: the leader says what time it is.
MAX_SKEW_SECONDS = 2.0
WRONG_JOINS = Rate(burst=5, per_second=1 / 10)
_MAX_NAMES = 64

_log = logging.getLogger(__name__)


class ManagerMembership:
    """Makes managers of hosts that have the token, or a ticket of `node promote`."""

    def __init__(self, store: Store, authority: Authority, clock: Clock, rng: random.Random, tickets: Tickets) -> None:
        self._store = store
        self._authority = authority
        self._clock = clock
        self._rng = rng
        self._tickets = tickets
        self._wrong = RateLimit(WRONG_JOINS)

    async def join(self, request: ManagerJoin, source: str) -> ManagerJoined:
        """Record a manager that dialled from the address `source`, and sign its certificate.

        The caller adds the keys and the members of etcd.

        Raises:
            ResourceExhausted: too many attempts with a wrong token from this address.
            Unauthenticated, FailedPrecondition, InvalidArgument: it may not, or cannot; the message says why.

        """
        now = self._clock.now()
        if not self._wrong.allow(source, now):
            raise ResourceExhausted(
                f"too many attempts to join from {source}: try again in {1 / WRONG_JOINS.per_second:g} seconds"
            )
        node_id = self._node_entitled(request.token)
        self._wrong.refund(source)
        _check(request, now)
        check_levels(request.levels, self._store.view.cluster.store_level, f"release {printable(request.release, 64)}")
        serial = new_serial()
        node = await self._store.update(lambda tx: self._put_node(tx, request, node_id, serial))
        _log.info("node %s (%s) joined as a manager from %s", node.id, request.hostname, source)
        return ManagerJoined(
            node_id=node.id,
            cluster_id=self._authority.cluster_id,
            certificate=self._sign(request.csr, node.id, serial, request.names),
            root_certificate=self._authority.trusted,
            keys={},
            current_key=0,
            root_key=b"",
            peers=(),
        )

    def ticket(self, node_id: str) -> str:
        """Return a new ticket, with which a node's host can join as a manager."""
        return self._tickets.issue(node_id, self._authority.digest)

    async def give_up(self, node_id: str, why: str) -> None:
        """Cancel a node's promotion: it stays a worker; its record says why."""
        _log.warning("node %s stays a worker: %s", node_id, why)

        def undo(tx: Transaction) -> None:
            node = tx.nodes.get(node_id)
            if node is not None and node.manager_status is None:
                status = msgspec.structs.replace(node.status, message=why)
                tx.put(msgspec.structs.replace(without_manager(node), status=status))

        await self._store.update(undo)

    async def take_back(self, node_id: str, why: str = "", *, keep: bool = False) -> None:
        """Demote a node. Without a worker its record is removed, unless `keep`; one that stays says why."""

        def undo(tx: Transaction) -> None:
            node = tx.nodes.get(node_id)
            if node is None:
                return
            if not node.agent and not keep:
                tx.remove(node)
                return
            node = without_manager(node)
            if why:
                node = msgspec.structs.replace(node, status=msgspec.structs.replace(node.status, message=why))
            tx.put(node)

        await self._store.update(undo)

    async def record_arrival(self, node_ids: Collection[str]) -> None:
        """Record that awaited managers have come."""

        def note(tx: Transaction) -> None:
            for node_id in node_ids:
                node = tx.nodes.get(node_id)
                if node is not None and node.manager_status is not None and is_awaited(node):
                    status = msgspec.structs.replace(node.manager_status, awaited=False)
                    tx.put(msgspec.structs.replace(node, manager_status=status))

        await self._store.update(note)

    async def renew(self, request: ManagerRenew, manager_id: str) -> RenewReply:
        """Sign a manager's next certificate. The present one stays valid until the one after is asked for.

        Raises:
            InvalidArgument: not a certificate request, or names that none can be for.
            PermissionDenied: it is no longer a manager.

        """
        key_of_request(request.csr)
        _check_names(request.names)
        serial = new_serial()

        def remember(tx: Transaction) -> None:
            node = tx.nodes.get(manager_id)
            if node is None or node.spec.role != "manager":
                raise PermissionDenied(f"node {manager_id} is no longer a manager of this cluster")
            tx.put(msgspec.structs.replace(node, manager_serials=(*node.manager_serials[-1:], serial)))

        await self._store.update(remember)
        return RenewReply(
            certificate=self._sign(request.csr, manager_id, serial, request.names),
            root_certificate=self._authority.trusted,
        )

    async def note_step(self, manager_id: str, step: int) -> None:
        """Write down that a manager has taken a step of the authority.

        Raises:
            InvalidArgument: there was no such step yet.

        """

        def note(tx: Transaction) -> None:
            node = tx.nodes.get(manager_id)
            if not 0 <= step <= step_of(tx):
                raise InvalidArgument(f"step {step} of the authority: {step_of(tx)} is the present one")
            if node is not None and node.manager_status is not None and node.manager_status.certificate_step < step:
                status = msgspec.structs.replace(node.manager_status, certificate_step=step)
                tx.put(msgspec.structs.replace(node, manager_status=status))

        await self._store.update(note)

    def _node_entitled(self, token: str) -> str:
        """Return the node that a ticket is for, empty for the manager token.

        Raises:
            Unauthenticated: it is neither.
            FailedPrecondition: it is the token for workers.

        """
        node_id = self._tickets.redeem(token)
        if not node_id:
            check_token(token, self._store.view.cluster.join_tokens, "manager")
        return node_id

    def _put_node(self, tx: Transaction, request: ManagerJoin, node_id: str, serial: str) -> Node:
        """Store the record: a promoted worker keeps its own, another host gets a new one."""
        status = ManagerStatus(addr=request.addr, awaited=True)
        known = tx.nodes.get(node_id)
        if node_id and (known is None or known.spec.role != "manager"):
            done = "removed" if known is None else "demoted"
            raise Unauthenticated(f"node {node_id} was {done} before it had become a manager: its ticket has ended")
        if known is not None:
            node = msgspec.structs.replace(
                known,
                spec=msgspec.structs.replace(known.spec, role="manager"),
                manager_status=status,
                manager_serials=(serial,),
                etcd_addr=request.peer_addr,
            )
        else:
            taken = next((each for each in managers(tx) if address(each) == request.addr), None)
            if taken is not None and is_awaited(taken) and not taken.agent:
                tx.remove(taken)  # it tries again, before it was forgotten that it has
            elif taken is not None:
                raise FailedPrecondition(
                    f"node {taken.id} ({taken.name}) is the manager at {request.addr} already: demote it and remove it "
                    "('swarm-manager node demote', 'node rm') if its host was set up anew"
                )
            here = split_address(request.addr)[0]
            there = (each for each in tx.nodes if each.agent and each.status.addr == here and not each.left)
            worker = next(there, None)
            if worker is not None:  # a host has one row
                raise FailedPrecondition(
                    f"the worker of that host is node {worker.id} ({worker.name}) of this cluster: make it a manager "
                    f"with 'swarm-manager node promote {worker.id}'"
                )
            node = hostnames.with_new_name(
                tx,
                Node(
                    id=new_id(self._rng),
                    spec=NodeSpec(role="manager"),
                    description=NodeDescription(hostname=request.hostname),
                    status=NodeStatus(state="ready", addr=here),
                    manager_status=status,
                    manager_serials=(serial,),
                    etcd_addr=request.peer_addr,
                ),
            )
        tx.put(node)
        return node

    def _sign(self, csr: bytes, node_id: str, serial: str, names: tuple[str, ...]) -> bytes:
        identity = Identity(node_id, ROLE_MANAGER, self._authority.cluster_id, serial)
        lifetime = self._store.view.cluster.spec.ca_config.node_cert_expiry
        return self._authority.issue(csr, identity, lifetime, self._clock.now(), names)


def _check(request: ManagerJoin, now: float) -> None:
    """Check what a host that is to be a manager says of itself.

    Raises:
        InvalidArgument, FailedPrecondition: it does not hold; the message says what.

    """
    key_of_request(request.csr)
    _check_names(request.names)
    if not is_hostname(request.hostname):
        raise InvalidArgument(f"host name {request.hostname[:80]!r}: use letters, digits, '.', '_' and '-'")
    for what, text in (("address", request.addr), ("address of etcd", request.peer_addr)):
        host, _ = split_address(text)
        if not is_one_host(host) or host in ANY_ADDRESS:
            raise InvalidArgument(f"{what} {text[:80]!r}: expected IP:PORT at which the other managers reach this one")
    skew = request.clock - now
    if not abs(skew) <= MAX_SKEW_SECONDS:
        raise FailedPrecondition(
            f"the clock of this host differs from the leader's by {abs(skew):.1f} s, where managers' may differ by "
            f"{MAX_SKEW_SECONDS:g} s: set it (for example with NTP) and join again"
        )


def _check_names(names: tuple[str, ...]) -> None:
    if len(names) > _MAX_NAMES or not all(is_hostname(name) or is_one_host(name) for name in names):
        raise InvalidArgument(f"a manager's certificate is for at most {_MAX_NAMES} host names and addresses")


TICKET_SECONDS = 60.0


class Tickets:
    """Those that were given and not used yet. They are of one leader, and lost with it. `now` is the loop's time.

    A ticket looks like a join token, so that who has it knows which root to believe.
    """

    def __init__(self, rng: random.Random, now: Callable[[], float]) -> None:
        self._rng = rng
        self._now = now
        self._given: dict[str, tuple[str, float]] = {}

    def issue(self, node_id: str, digest: str) -> str:
        """Make a ticket for a node, in place of one that it has; `digest` is that of the root."""
        self._given = {ticket: each for ticket, each in self._given.items() if each[0] != node_id}
        ticket = new_token(digest, self._rng)
        self._given[ticket] = node_id, self._now() + TICKET_SECONDS
        return ticket

    def redeem(self, text: str) -> str:
        """Return the node that a ticket is for, and invalidate the ticket; empty if it is not one."""
        node_id, until = self._given.pop(text, ("", 0.0))
        return node_id if self._now() < until else ""
