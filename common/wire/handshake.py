"""Who may say what first: the handshakes of both ends as pure functions of messages, without I/O.

Server: `admit` sorts a connection by its first frame and its certificate, or says why it is refused. Client: `root_of`,
`check_join_reply` and `check_welcome` check the answers.
"""

from __future__ import annotations

from typing import TypeAlias, TypeVar

from common.clock import is_instant, rfc3339
from common.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ProtocolError,
    ResourceExhausted,
    SwarmError,
    Unauthenticated,
    Unavailable,
)
from common.text.terminal import printable
from common.tls import BACKDATE_SECONDS, ROLE_WORKER, Identity
from common.version import version
from common.wire.channel import PeerInfo
from common.wire.image_messages import RelayHello
from common.wire.membership_messages import GoodbyeAck, Unfit, Withdraw
from common.wire.messages import (
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
# Between two signs of life of a worker: no manager waits for longer.
LONGEST_HEARTBEAT = 3600.0

Opening: TypeAlias = RootRequest | JoinRequest | Hello | StreamHello | RelayHello | Withdraw | Unfit

_M = TypeVar("_M", RootReply, JoinReply, Welcome, LeaveAck, GoodbyeAck)

_ERRORS = (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)


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
            _check_version(first.protocol)
            return first
        case Hello():
            _check_worker(peer, cluster_id)
            _check_version(first.protocol, first.description.agent_version)
            return first
        case StreamHello() | RelayHello() | Withdraw() | Unfit():
            _check_worker(peer, cluster_id)
            return first
        case _:
            raise ProtocolError(f"a connection cannot begin with {type(first).__name__}")


class OtherProtocol(FailedPrecondition):
    """The worker is of a release that this manager cannot speak with."""


def _check_version(protocol: int, release: str = "") -> None:
    if protocol == PROTOCOL_VERSION:
        return
    theirs = f"protocol {protocol} (release {printable(release, 64)})" if release else f"protocol {protocol}"
    ours = f"this manager protocol {PROTOCOL_VERSION} (release {version()})"
    older = "worker's host to this" if protocol < PROTOCOL_VERSION else "manager's host to that"
    raise OtherProtocol(f"the worker speaks {theirs}, {ours}: upgrade the {older} release, with 'deploy/install'")


def identity_of(peer: PeerInfo) -> Identity:
    """Return who a peer is that `admit` has let in as a worker."""
    assert peer.identity is not None, "`admit` has seen it"
    return peer.identity


def _check_worker(peer: PeerInfo, cluster_id: str) -> None:
    identity = peer.identity
    if identity is None:
        raise Unauthenticated("no certificate was shown: join the cluster first, with 'swarm-worker join'")
    if identity.cluster_id != cluster_id:
        raise Unauthenticated(f"the certificate is of cluster {identity.cluster_id!r}, this is {cluster_id!r}")
    if identity.role != ROLE_WORKER:
        raise PermissionDenied(f"a certificate for {identity.role!r} cannot be used as a worker's")


def clock_skew_error(there: float, here: float) -> FailedPrecondition | None:
    """Compare the joining host's clock with the manager's (Unix seconds); an error when certificates would not work."""
    skew = there - here
    if abs(skew) <= MAX_CLOCK_SKEW:
        return None
    for whose, clock in (("worker's", there), ("manager's", here)):
        if not is_instant(clock):
            return FailedPrecondition(f"the {whose} clock says {clock:g}, which is not a time: set it and join again")
    days, hours = divmod(round(abs(skew) / 3600, 1), 24)
    length = f"{days:.0f} days and {hours:.1f} hours" if days else f"{hours:.1f} hours"
    return FailedPrecondition(
        f"the clocks differ by {length}: the worker's says {rfc3339(there)}, the manager's {rfc3339(here)}; "
        "set the wrong one (for example with NTP) and join again"
    )


def refusal(error: SwarmError) -> Refused:
    return Refused(code=error.code, message=error.message)


def error_of_refusal(refused: Refused) -> SwarmError:
    """Turn a refusal back into the error that it was on the other side."""
    kind = next((kind for kind in _ERRORS if kind.code == refused.code), Unavailable)
    return kind(refused.message)


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
    if welcome.protocol != PROTOCOL_VERSION:
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


def _expect(reply: AnyMessage, kind: type[_M]) -> _M:
    if isinstance(reply, Refused):
        raise error_of_refusal(reply)
    if not isinstance(reply, kind):
        raise ProtocolError(f"expected {kind.__name__}, the peer sent {type(reply).__name__}")
    return reply
