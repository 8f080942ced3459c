"""Joins and renewals: which hosts become nodes of the cluster, and their certificates."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator

import msgspec

from common.aio.rate_limit import Rate, RateLimit, TokenBucket
from common.clock import Clock
from common.errors import PermissionDenied, ResourceExhausted
from common.ids import new_id
from common.model.node import ANY_CERTIFICATE, Joining, Node, NodeDescription, NodeSpec, NodeStatus
from common.tls import ROLE_WORKER, Identity
from common.wire.handshake import WRONG_CLOCK_SECONDS, clock_difference, clock_skew_error
from common.wire.messages import JoinReply, JoinRequest, RenewReply, RenewRequest
from manager.ca.authority import Authority, key_of_request, new_serial
from manager.ca.rotation import step_of
from manager.ca.tokens import check_token
from manager.dispatch.validator import Validator
from manager.domain import hostnames
from manager.store.store import Store
from manager.store.transaction import Transaction
from manager.store.view import View

# Attempts of one address with a wrong token.
WRONG_JOINS = Rate(burst=20, per_second=1 / 2)
# Joins with the right token, which may have leaked: of one address (a site may have only one), and in all.
# A tool that sets up hundreds of hosts in an hour stays below.
JOINS_OF_ADDRESS = Rate(burst=100, per_second=1 / 5)
JOINS = Rate(burst=300, per_second=1 / 2)

_log = logging.getLogger(__name__)


class Membership:
    """Makes nodes of hosts that have the token."""

    def __init__(
        self, store: Store, authority: Authority, clock: Clock, rng: random.Random, validator: Validator
    ) -> None:
        self._validator = validator
        self._store = store
        self._authority = authority
        self._clock = clock
        self._rng = rng
        self._wrong = RateLimit(WRONG_JOINS)
        self._joins_of_address = RateLimit(JOINS_OF_ADDRESS)
        self._joins = TokenBucket(JOINS, clock.now())

    async def join(self, request: JoinRequest, source: str, at: str, managers: tuple[str, ...]) -> JoinReply:
        """Create a node, or give a manager's own node its worker, and sign the certificate.

        The host dialled from the address `source`; `at` is the node id of the manager on it, empty if there is none.

        Raises:
            ResourceExhausted: too many wrong attempts from this address, or too many nodes made.
            InvalidArgument, Unauthenticated, FailedPrecondition: see `check_token` and `Door.join`.

        """
        now = self._clock.now()
        if not self._wrong.allow(source, now):
            raise ResourceExhausted(
                f"too many attempts to join from {source}: try again in {1 / WRONG_JOINS.per_second:g} seconds"
            )
        check_token(request.token, self._store.view.cluster.join_tokens, "worker")
        self._wrong.refund(source)
        said = self._validator.join(request, source)
        skew = clock_skew_error(said.clock, now)
        if skew is not None:
            raise skew
        key_of_request(said.csr)  # refuse a bad request before anything is stored
        self._count_join(source, now)
        serial = new_serial()
        node = await self._store.update(lambda tx: self._put_node(tx, said, at, serial))
        warnings = (*hostnames.warnings(self._store.view, node, said.hostname), *_clock_warnings(said.clock, now))
        for sentence in warnings:
            _log.warning("%s", sentence)
        return JoinReply(
            node_id=node.id,
            cluster_id=self._authority.cluster_id,
            certificate=self._sign(said.csr, node.id, serial),
            root_certificate=self._authority.trusted,
            managers=managers,
            warnings=warnings,
            data_path_port=self._store.view.cluster.data_path_port,
        )

    def _count_join(self, address: str, now: float) -> None:
        """Count a join against the limits.

        Raises:
            ResourceExhausted: too many of this address, or in all; it says what to do.

        """
        if not self._joins_of_address.allow(address, now):
            raise _too_many_joins(f"{JOINS_OF_ADDRESS.burst:g} hosts have joined from {address}", JOINS_OF_ADDRESS)
        if not self._joins.take(1.0, now):
            self._joins_of_address.refund(address)
            raise _too_many_joins(f"{JOINS.burst:g} hosts have joined", JOINS)

    async def renew(self, request: RenewRequest, identity: Identity) -> RenewReply:
        """Sign the next certificate of a node. The present one stays valid until the new one is first used.

        Raises:
            InvalidArgument: not a certificate request.
            PermissionDenied: the node was removed.

        """
        key_of_request(request.csr)
        serial = new_serial()

        def remember(tx: Transaction) -> None:
            node = member(tx, identity)
            serials = (identity.serial, serial)
            tx.put(msgspec.structs.replace(node, certificate_serials=serials, next_certificate_step=step_of(tx)))

        await self._store.update(remember)
        return RenewReply(
            certificate=self._sign(request.csr, identity.node_id, serial),
            root_certificate=self._authority.trusted,
        )

    def _sign(self, csr: bytes, node_id: str, serial: str) -> bytes:
        identity = Identity(node_id, ROLE_WORKER, self._authority.cluster_id, serial)
        lifetime = self._store.view.cluster.spec.ca_config.node_cert_expiry
        return self._authority.issue(csr, identity, lifetime, self._clock.now())

    def _put_node(self, tx: Transaction, request: JoinRequest, at: str, serial: str) -> Node:
        """Store the node's record. A host that joins again gets a new one, as with Docker.

        On a manager's own host the record stays if no session followed a join; the engine's newest join counts.
        """
        own = tx.nodes.get(at)
        if own is not None and own.manager_status is not None and _may_host_worker(own, request):
            node = _with_worker(own, request, serial, step_of(tx))
        else:
            message = "joined; its first session has not begun"
            node = Node(
                id=new_id(self._rng),
                spec=NodeSpec(labels=request.labels, availability=request.availability),
                description=NodeDescription(hostname=request.hostname),
                status=NodeStatus(state="unknown", message=message, addr=request.advertise_addr),
                agent=True,
                certificate_serials=(serial,),
                certificate_step=step_of(tx),
                next_certificate_step=step_of(tx),
                joining=Joining(engine=request.engine),
            )
            node = hostnames.with_new_name(tx, node)
        tx.put(node)
        return node


def member(view: View, identity: Identity) -> Node:
    """Return the node that a certificate belongs to.

    Raises:
        PermissionDenied: the node was removed, or this certificate of it was replaced or given up.

    """
    node = view.nodes.get(identity.node_id)
    if node is None:
        raise PermissionDenied(
            f"node {identity.node_id} is not part of this cluster: "
            "run 'swarm-worker leave', then 'swarm-worker join' to come back"
        )
    if not {identity.serial, ANY_CERTIFICATE} & set(node.certificate_serials):
        raise PermissionDenied(
            f"this certificate of node {identity.node_id} is no longer valid: it was replaced, or the "
            "node has left; run 'swarm-worker leave', then 'swarm-worker join' to come back"
        )
    return node


def _clock_warnings(there: float, here: float) -> Iterator[str]:
    """Warn of clocks that differ, though not so much that certificates would not be valid."""
    if abs(there - here) >= WRONG_CLOCK_SECONDS:
        yield f"{clock_difference(there, here)}; set the wrong one, for example with NTP"


def _too_many_joins(what: str, rate: Rate) -> ResourceExhausted:
    wait = 1 / rate.per_second
    return ResourceExhausted(
        f"{what} in a short time, now only one every {wait:g} seconds may: try again in {wait:g} seconds; if nobody is "
        "adding so many hosts, the token has leaked: change it with 'swarm-manager join-token --rotate worker', and "
        "remove the nodes that are not yours"
    )


def _may_host_worker(own: Node, request: JoinRequest) -> bool:
    """Whether the manager's own node has no worker yet; a join that waits for its first session may be tried again.

    A host's other engine joins as a node of its own. Docker below 23 has one id for all engines of a host.
    """
    joining = own.joining
    again = joining is None or (joining.hostname or own.name, joining.engine) == (request.hostname, request.engine)
    return not own.agent and again


def _with_worker(own: Node, request: JoinRequest, serial: str, step: int) -> Node:
    """Let the manager's own node have a worker: same id, same role. It gets no task before its first session."""
    joining = Joining(
        labels=request.labels, availability=request.availability, engine=request.engine, hostname=request.hostname
    )
    return msgspec.structs.replace(
        own, certificate_serials=(serial,), certificate_step=step, next_certificate_step=step, joining=joining
    )
