import math
import random
from contextlib import nullcontext

import pytest

from common.errors import (
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
from common.model.node import NodeDescription
from common.tls import ROLE_MANAGER, ROLE_WORKER, Identity, root_digest
from common.wire.channel import PeerInfo
from common.wire.handshake import (
    LedElsewhere,
    OtherProtocol,
    admit,
    check_join_reply,
    check_version,
    check_welcome,
    clock_skew_error,
    error_of_refusal,
    refusal,
    root_of,
)
from common.wire.manager_messages import CallerRecord, Elsewhere, Forwarded, Link
from common.wire.membership_messages import Unfit, Withdraw
from common.wire.messages import (
    PROTOCOL_VERSION,
    AnyMessage,
    Heartbeat,
    Hello,
    JoinReply,
    JoinRequest,
    Refused,
    RootReply,
    RootRequest,
    StreamHello,
    Welcome,
)
from common.wire.token import parse_token
from manager.ca.authority import create_root
from manager.ca.tokens import new_tokens

STRANGER = PeerInfo()
WORKER = PeerInfo(Identity("n1", ROLE_WORKER, "c1"))
HELLO = Hello(protocol=PROTOCOL_VERSION, description=NodeDescription())
JOIN = JoinRequest(protocol=PROTOCOL_VERSION, token="t", csr=b"", clock=0.0, hostname="alpha")
ROOT = create_root("c1", 1_700_000_000.0).certificate
TOKEN = parse_token(new_tokens(root_digest(ROOT), random.Random(1)).worker)
MANAGER = PeerInfo(Identity("m1", ROLE_MANAGER, "c1"))
LINK = Link(protocol=PROTOCOL_VERSION, release="1", clock=0.0, levels=(1, 1), epoch=(0, 1))
FORWARDED = Forwarded(caller=CallerRecord(name="uid 0", origin="unix"))


@pytest.mark.parametrize(
    ("peer", "first"),
    [
        (STRANGER, RootRequest()),
        (STRANGER, JOIN),
        (WORKER, JOIN),
        (WORKER, HELLO),
        (WORKER, StreamHello(stream_id="s")),
        (WORKER, Unfit(reason="no engine")),
        (WORKER, Withdraw()),
        (MANAGER, Withdraw()),
        (MANAGER, LINK),
        (MANAGER, FORWARDED),
    ],
)
def test_who_may_begin_with_what(peer: PeerInfo, first: AnyMessage) -> None:
    assert admit(first, peer, "c1") is first


@pytest.mark.parametrize(
    ("peer", "first", "error"),
    [
        (STRANGER, HELLO, Unauthenticated),
        (STRANGER, StreamHello(stream_id="s"), Unauthenticated),
        (PeerInfo(Identity("n1", ROLE_WORKER, "c2")), HELLO, Unauthenticated),
        (PeerInfo(Identity("n1", ROLE_MANAGER, "c1")), HELLO, PermissionDenied),
        (STRANGER, LINK, Unauthenticated),
        (WORKER, LINK, PermissionDenied),
        (WORKER, FORWARDED, PermissionDenied),
        (PeerInfo(Identity("c", "swarm-admin", "c1")), FORWARDED, PermissionDenied),
        (PeerInfo(Identity("m2", ROLE_MANAGER, "c2")), LINK, Unauthenticated),
        (PeerInfo(Identity("n1", "swarm-admin", "c1")), StreamHello(stream_id="s"), PermissionDenied),
        (PeerInfo(Identity("n1", "", "c1")), HELLO, PermissionDenied),
        (WORKER, Hello(protocol=PROTOCOL_VERSION + 1, description=NodeDescription()), FailedPrecondition),
        (
            STRANGER,
            JoinRequest(protocol=PROTOCOL_VERSION + 1, token="", csr=b"", clock=0.0, hostname=""),
            FailedPrecondition,
        ),
        (WORKER, Heartbeat(), ProtocolError),
        (WORKER, RootReply(root_certificate=b"", clock=0.0), ProtocolError),
    ],
)
def test_who_may_not(peer: PeerInfo, first: AnyMessage, error: type[SwarmError]) -> None:
    with pytest.raises(error):
        admit(first, peer, "c1")


@pytest.mark.parametrize(
    ("theirs", "ours", "speaks"),
    [
        # The release before, which knows its own protocol alone, and this one: in every pairing, and one too far.
        (3, (3, 3), True),
        (3, (3, 4), True),
        (4, (3, 4), True),
        (4, (4, 5), True),
        (4, (3, 3), False),  # then the worker says it again in 3
        (3, (4, 5), False),
    ],
)
def test_each_release_speaks_with_the_one_before(theirs: int, ours: tuple[int, int], speaks: bool) -> None:
    with nullcontext() if speaks else pytest.raises(OtherProtocol, match=f"the worker speaks protocol {theirs}"):
        check_version(theirs, oldest=ours[0], newest=ours[1])


def test_a_manager_that_follows_says_who_leads() -> None:
    with pytest.raises(LedElsewhere, match="the leader is at b:2377") as caught:
        check_welcome(Elsewhere(leader="b:2377", managers=("a:2377", "b:2377")))
    assert caught.value.told.managers == ("a:2377", "b:2377")


def test_a_workers_release_is_reported_as_harmless_text() -> None:
    description = NodeDescription(agent_version="1.0\x1b[2J" + "x" * 100_000)
    with pytest.raises(FailedPrecondition) as caught:
        admit(Hello(protocol=PROTOCOL_VERSION + 1, description=description), WORKER, "c1")
    assert "(release 1.0\ufffd[2Jxxx" in caught.value.message
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    "error",
    [
        kind("why")
        for kind in (FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, ResourceExhausted, Unavailable)
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_refusal_becomes_the_same_error_on_the_other_side(error: SwarmError) -> None:
    back = error_of_refusal(refusal(error))
    assert type(back) is type(error)
    assert back.message == "why"


def test_a_refusal_of_an_unknown_kind_is_still_an_error() -> None:
    assert error_of_refusal(Refused(code="FromTheFuture", message="why")).message == "why"


def test_an_hour_of_skew_is_tolerated_and_more_is_reported() -> None:
    assert clock_skew_error(3600, 0.0) is None
    assert clock_skew_error(0.0, 3600) is None
    error = clock_skew_error(1_700_000_000.0 + 2.5 * 86400, 1_700_000_000.0)
    assert error is not None
    assert "2 days and 12.0 hours" in error.message
    assert "the worker's says 2023-11-17T10:13:20" in error.message
    assert "the manager's 2023-11-14T22:13:20" in error.message


@pytest.mark.parametrize("clock", [math.nan, math.inf, -math.inf, -1e9, 1e300])
def test_a_clock_that_says_no_time_is_told_to_be_one(clock: float) -> None:
    for there, here, whose in ((clock, 1.7e9, "worker's"), (1.7e9, clock, "manager's")):
        error = clock_skew_error(there, here)
        assert error is not None
        assert f"the {whose} clock says {clock:g}, which is not a time" in error.message


def test_a_root_is_taken_when_the_token_pins_it() -> None:
    assert root_of(RootReply(root_certificate=ROOT, clock=5.0), TOKEN, 5.0) == ROOT
    other = create_root("c1", 1_700_000_000.0).certificate
    with pytest.raises(Unauthenticated, match="not of the cluster"):
        root_of(RootReply(root_certificate=other, clock=5.0), TOKEN, 5.0)
    with pytest.raises(FailedPrecondition, match="clocks differ"):
        root_of(RootReply(root_certificate=ROOT, clock=500_000.0), TOKEN, 5.0)
    with pytest.raises(ResourceExhausted):
        root_of(refusal(ResourceExhausted("busy")), TOKEN, 5.0)


def test_answers_of_another_kind_are_a_protocol_error() -> None:
    with pytest.raises(ProtocolError, match="expected JoinReply, the peer sent Heartbeat"):
        check_join_reply(Heartbeat())
    reply = JoinReply(node_id="n", cluster_id="c", certificate=b"", root_certificate=b"", managers=())
    assert check_join_reply(reply) is reply
    with pytest.raises(ProtocolError, match="expected Welcome"):
        check_welcome(reply)
    newer = Welcome(protocol=PROTOCOL_VERSION + 1, session_id="s", node_id="n", heartbeat=1.0, managers=())
    with pytest.raises(FailedPrecondition, match=f"protocol {PROTOCOL_VERSION + 1}"):
        check_welcome(newer)


@pytest.mark.parametrize("heartbeat", [0.0, -1.0, float("nan"), float("inf"), 1e9])
def test_a_manager_with_an_impossible_heartbeat_is_not_served(heartbeat: float) -> None:
    reply = Welcome(protocol=PROTOCOL_VERSION, session_id="s", node_id="n", heartbeat=heartbeat, managers=())
    with pytest.raises(ProtocolError, match="expects a sign of life every"):
        check_welcome(reply)
