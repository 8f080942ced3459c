"""Who may say what first: the handshakes of both ends as pure functions of messages, without I/O.

Server: `admit` sorts a connection by its first frame and its certificate, or says why it is refused. Client: `root_of`,
`check_join_reply` and `check_welcome` check the answers.
"""

from __future__ import annotations

from typing import TypeAlias, TypeVar

from common.clock import is_instant, rfc3339
from common.errors import (
    FailedPrecondition,
    PermissionDenied,
    ProtocolError,
    SwarmError,
    Unauthenticated,
    Unavailable,
    kind_of,
)
from common.text.quantities import human_duration
from common.text.terminal import printable
from common.tls import BACKDATE_SECONDS, ROLE_MANAGER, ROLE_WORKER, Identity
from common.version import version
from common.wire.channel import PeerInfo
from common.wire.image_messages import RelayHello
from common.wire.manager_messages import (
    Elsewhere,
    Forwarded,
    Link,
    LinkWelcome,
    ManagerJoin,
    ManagerJoined,
    Taken,
)
from common.wire.membership_messages import GoodbyeAck, Unfit, Withdraw
from common.wire.messages import (
    OLDEST_PROTOCOL,
    PROTOCOL_VERSION,
    AnyMessage,
    Hello,
    JoinReply,
    JoinRequest,
    LeaveAck,
    Refused,
    RootReply,
    RootRequest,
    StreamHello,
    Welcome,
)
from common.wire.token import JoinToken

# Certificates are backdated by this much: within it, both ends take the same certificates for valid.
MAX_CLOCK_SKEW = BACKDATE_SECONDS
# From so many seconds on a worker's clock is called wrong.
WRONG_CLOCK_SECONDS = 30.0
# Between two signs of life of a worker: no manager waits for longer.
LONGEST_HEARTBEAT = 3600.0

Opening: TypeAlias = (
    RootRequest | JoinRequest | Hello | StreamHello | RelayHello | Withdraw | Unfit | ManagerJoin | Link | Forwarded
)

_M = TypeVar("_M", RootReply, JoinReply, Welcome, LeaveAck, GoodbyeAck, LinkWelcome, ManagerJoined, Taken)


def admit(first: AnyMessage, peer: PeerInfo, cluster_id: str) -> Opening:
    """Decide whether a connection may begin with this message.

    Raises:
        Unauthenticated: a session or stream without a certificate of this cluster.
        PermissionDenied: the certificate is for another role.
        OtherProtocol: it speaks another version of the protocol.
        ProtocolError: no connection begins like this.

    """
    match first:
        case RootRequest():
            return first
        case JoinRequest():
            check_version(first.protocol)
            return first
        case ManagerJoin():
            check_version(first.protocol, first.release, "other manager")
            return first
        case Hello():
            _check_role(peer, cluster_id, ROLE_WORKER)
            check_version(first.protocol, first.description.agent_version)
            return first
        case StreamHello() | RelayHello() | Withdraw() | Unfit():
            joined_as_manager = isinstance(first, Withdraw) and is_manager(peer)
            _check_role(peer, cluster_id, ROLE_MANAGER if joined_as_manager else ROLE_WORKER)
            return first
        case Link() | Forwarded():
            _check_role(peer, cluster_id, ROLE_MANAGER)
            if isinstance(first, Link):
                check_version(first.protocol, first.release, "other manager")
            return first
        case _:
            raise ProtocolError(f"a connection cannot begin with {type(first).__name__}")


class OtherProtocol(FailedPrecondition):
    """The peer is of a release that this manager cannot speak with."""


def check_version(
    protocol: int,
    release: str = "",
    speaker: str = "worker",
    *,
    oldest: int = OLDEST_PROTOCOL,
    newest: int = PROTOCOL_VERSION,
) -> None:
    """Check that a peer's protocol is one that this release speaks: its own, or that of the release before.

    Raises:
        OtherProtocol: it is not; the message says which host to upgrade.

    """
    if oldest <= protocol <= newest:
        return
    theirs = f"protocol {protocol} (release {printable(release, 64)})" if release else f"protocol {protocol}"
    ours = f"this manager protocol {newest} (release {version()})"
    older = f"{speaker}'s host to this" if protocol < newest else "manager's host to that"
    raise OtherProtocol(f"the {speaker} speaks {theirs}, {ours}: upgrade the {older} release, with 'deploy/install'")


def identity_of(peer: PeerInfo) -> Identity:
    """Return who a peer is that `admit` has let in with a certificate."""
    assert peer.identity is not None, "`admit` has seen it"
    return peer.identity


def is_manager(peer: PeerInfo) -> bool:
    """Whether a peer shows a manager's certificate, of whichever cluster."""
    return peer.identity is not None and peer.identity.role == ROLE_MANAGER


def _check_role(peer: PeerInfo, cluster_id: str, role: str) -> None:
    identity = peer.identity
    if identity is None:
        raise Unauthenticated("no certificate was shown: join the cluster first, with 'swarm-worker join'")
    if identity.cluster_id != cluster_id:
        raise Unauthenticated(f"the certificate is of cluster {identity.cluster_id!r}, this is {cluster_id!r}")
    if identity.role != role:
        owner = "a worker's" if role == ROLE_WORKER else "a manager's"
        raise PermissionDenied(f"a certificate for {identity.role!r} cannot be used as {owner}")


def clock_skew_error(there: float, here: float) -> FailedPrecondition | None:
    """Compare the joining host's clock with the manager's (Unix seconds); an error when certificates would not work."""
    skew = there - here
    if abs(skew) <= MAX_CLOCK_SKEW:
        return None
    for owner, clock in (("worker's", there), ("manager's", here)):
        if not is_instant(clock):
            return FailedPrecondition(f"the {owner} clock says {clock:g}, which is not a time: set it and join again")
    return FailedPrecondition(
        f"{clock_difference(there, here)}; set the wrong one (for example with NTP) and join again"
    )


def clock_difference(there: float, here: float) -> str:
    """Say by how much a worker's clock, `there`, differs from the manager's (Unix seconds), and what both say."""
    seconds = abs(there - here)
    days, hours = divmod(round(seconds / 3600, 1), 24)
    if days:
        length = f"{days:.0f} days and {hours:.1f} hours"
    else:
        length = f"{hours:.1f} hours" if hours >= 1 else human_duration(seconds).lower()
    return f"the clocks differ by {length}: the worker's says {rfc3339(there)}, the manager's {rfc3339(here)}"


class LedElsewhere(Unavailable):
    """The manager that was asked does not lead; `told` says which one does, as far as it knows."""

    def __init__(self, told: Elsewhere) -> None:
        self.told = told
        super().__init__(f"the leader is at {told.leader}" if told.leader else "no manager leads just now")


def refusal(error: SwarmError) -> Refused:
    return Refused(code=error.code, message=error.message)


def error_of_refusal(refused: Refused) -> SwarmError:
    """Turn a refusal back into the error that it was on the other side."""
    return kind_of(refused.code, Unavailable)(refused.message)


def root_of(reply: AnyMessage, token: JoinToken, now: float) -> bytes:
    """Check the root certificate that a server gave against the token's digest; return it (PEM).

    Raises:
        Unauthenticated: the token is of another cluster, or somebody is in between.
        FailedPrecondition: this host's clock (`now`) and the manager's differ too much.
        SwarmError: the server refused.

    """
    answer = _expect(reply, RootReply)
    if not token.pins(answer.root_certificate):
        raise Unauthenticated(
            "the token is not of the cluster that answers there: "
            "compare it with what 'swarm-manager join-token worker' prints on that manager"
        )
    skew = clock_skew_error(now, answer.clock)
    if skew is not None:
        raise skew
    return answer.root_certificate


def check_join_reply(reply: AnyMessage) -> JoinReply:
    """Check the answer to a `JoinRequest`.

    Raises:
        SwarmError: the manager refused; the message is the manager's.

    """
    return _expect(reply, JoinReply)


def check_welcome(reply: AnyMessage) -> Welcome:
    """Check the answer to a `Hello`.

    Raises:
        SwarmError: the manager refused; the message is the manager's.

    """
    welcome = _expect(reply, Welcome)
    if not OLDEST_PROTOCOL <= welcome.protocol <= PROTOCOL_VERSION:
        raise FailedPrecondition(
            f"the manager speaks protocol {welcome.protocol}, this worker {PROTOCOL_VERSION}: "
            "install the same release on both, with 'deploy/install'"
        )
    if not 0 < welcome.heartbeat <= LONGEST_HEARTBEAT:
        raise ProtocolError(f"the manager expects a sign of life every {welcome.heartbeat:g} s")
    return welcome


def check_withdrawal(reply: AnyMessage) -> None:
    """Check the answer to a `Withdraw`.

    Raises:
        SwarmError: the manager refused; the message is the manager's.

    """
    _expect(reply, LeaveAck)


def check_unfit_reply(reply: AnyMessage) -> None:
    """Check the answer to an `Unfit`.

    Raises:
        SwarmError: the manager refused; the message is the manager's.

    """
    _expect(reply, GoodbyeAck)


def check_link(reply: AnyMessage) -> LinkWelcome:
    """Check the answer to a `Link`.

    Raises:
        SwarmError: the other manager refused; the message is its.

    """
    return _expect(reply, LinkWelcome)


def check_taken(reply: AnyMessage) -> None:
    """Check the answer to a `Forwarded`.

    Raises:
        LedElsewhere: that manager does not lead.
        SwarmError: it refused.

    """
    _expect(reply, Taken)


def check_manager_join(reply: AnyMessage) -> ManagerJoined:
    """Check the answer to a `ManagerJoin`.

    Raises:
        SwarmError: the leader refused; the message is its.

    """
    return _expect(reply, ManagerJoined)


def _expect(reply: AnyMessage, kind: type[_M]) -> _M:
    if isinstance(reply, Refused):
        raise error_of_refusal(reply)
    if isinstance(reply, Elsewhere):
        raise LedElsewhere(reply)
    if not isinstance(reply, kind):
        raise ProtocolError(f"expected {kind.__name__}, the peer sent {type(reply).__name__}")
    return reply
