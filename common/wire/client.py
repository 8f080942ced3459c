"""The client side of the protocol: join, open a session, dial a stream. The checks are `handshake`'s."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from common.clock import Clock, is_instant
from common.errors import FailedPrecondition, ProtocolError, SwarmError, Unavailable
from common.tls import certificate_request, new_key, pinned_context, unverified_context
from common.wire.channel import Channel
from common.wire.handshake import (
    WRONG_CLOCK_SECONDS,
    check_join_reply,
    check_unfit_reply,
    check_welcome,
    check_withdrawal,
    clock_difference,
    root_of,
)
from common.wire.membership_messages import Unfit, Withdraw
from common.wire.messages import (
    OLDEST_PROTOCOL,
    PROTOCOL_VERSION,
    AnyMessage,
    Hello,
    JoinReply,
    JoinRequest,
    RootReply,
    RootRequest,
    StreamHello,
    Welcome,
)
from common.wire.server import FIRST_FRAME_BYTES, dial
from common.wire.token import JoinToken, parse_token

REPLY_TIMEOUT = 10.0

T = TypeVar("T")
_O = TypeVar("_O", Hello, JoinRequest)


@dataclass(frozen=True, slots=True)
class JoinTerms:
    """What a joining host says of itself: `labels` and `availability` become the node's first spec.

    `engine` is the id of its engine, which tells two workers of one host from one that tries again.
    """

    hostname: str
    advertise_addr: str = ""
    labels: Mapping[str, str] | None = None
    availability: str = "active"
    engine: str = ""


@dataclass(frozen=True, slots=True)
class Membership:
    """What a node got by joining; all PEM. `key` never left this host. Store it with `tls.CredentialFiles.write`.

    `warnings` are the manager's, for who joins the host. `data_path_port` is the UDP port of the cluster's tunnels, 0
    for the usual one.
    """

    node_id: str
    cluster_id: str
    certificate: bytes
    key: bytes
    root_certificate: bytes
    managers: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    data_path_port: int = 0


async def join(host: str, port: int, token: str, terms: JoinTerms, clock: Clock) -> Membership:
    """Ask a manager for a certificate.

    First the manager's root certificate is fetched and compared with the digest in the token; then, over a second
    connection that trusts this root alone, the token is sent. Nothing is stored here.

    Raises:
        InvalidArgument: not a token, or the terms are not acceptable.
        Unavailable: no manager answers at this address.
        Unauthenticated: the token is of another cluster, rotated, or mistyped.
        FailedPrecondition: the clocks differ too much, or the releases do.

    """
    pin = parse_token(token)
    root = await fetch_root(host, port, pin, clock)
    key = new_key()
    request = JoinRequest(
        protocol=PROTOCOL_VERSION,
        token=str(pin),
        csr=certificate_request(key),
        clock=clock.now(),
        hostname=terms.hostname,
        advertise_addr=terms.advertise_addr,
        labels=dict(terms.labels or {}),
        availability=terms.availability,
        engine=terms.engine,
    )
    context = pinned_context(root)
    reply = await _in_either_protocol(request, lambda each: _ask_to_join(host, port, context, each))
    return Membership(
        node_id=reply.node_id,
        cluster_id=reply.cluster_id,
        certificate=reply.certificate,
        key=key,
        root_certificate=reply.root_certificate,
        managers=reply.managers,
        warnings=reply.warnings,
        data_path_port=reply.data_path_port,
    )


async def open_session(host: str, port: int, context: ssl.SSLContext, hello: Hello) -> tuple[Channel, Welcome]:
    """Open a session with a certificate (`tls.client_context`). The caller closes the channel.

    Raises:
        LedElsewhere: this manager does not lead, and says which one does.
        Unavailable: no manager answers, or the connection broke.
        Unauthenticated: the peer is not a manager of our cluster, or it does not take our certificate.
        PermissionDenied: this node was removed from the cluster.
        FailedPrecondition: the releases differ.

    """

    async def ask(said: Hello) -> tuple[Channel, Welcome]:
        channel = await dial(host, port, context)
        try:
            return channel, check_welcome(await ask_first(channel, said))
        except BaseException:
            await channel.close()
            raise

    return await _in_either_protocol(hello, ask)


async def withdraw(host: str, port: int, context: ssl.SSLContext) -> None:
    """Take back a join, with the certificate that it gave.

    Raises:
        Unavailable: no manager answers, or it did not write it down.
        Unauthenticated, PermissionDenied: it knows nothing of this node.

    """
    channel = await dial(host, port, context)
    try:
        check_withdrawal(await ask_first(channel, Withdraw()))
    finally:
        await channel.close()


async def say_unfit(host: str, port: int, context: ssl.SSLContext, reason: str) -> None:
    """Let a manager know why this node has no session.

    Raises:
        Unavailable: no manager answers, or it did not write it down.
        Unauthenticated, PermissionDenied: it knows nothing of this node.

    """
    channel = await dial(host, port, context)
    try:
        check_unfit_reply(await ask_first(channel, Unfit(reason=reason)))
    finally:
        await channel.close()


async def dial_stream(host: str, port: int, context: ssl.SSLContext, stream_id: str, error: str = "") -> Channel:
    """Answer an `OpenStream`: dial and name it. Then `channel.detach(protocol)` or `open_raw(channel)` gives its bytes.

    With `error` the stream is refused instead, and the channel comes back closed.

    Raises:
        Unavailable: no manager answers.
        Unauthenticated: the peer is not a manager of our cluster.

    """
    channel = await dial(host, port, context)
    try:
        await channel.send(StreamHello(stream_id=stream_id, error=error, half_close=True))
        channel.half_close = True
    except BaseException:
        await channel.close()
        raise
    if error:
        await channel.close()
    return channel


async def _ask_to_join(host: str, port: int, context: ssl.SSLContext, request: JoinRequest) -> JoinReply:
    channel = await dial(host, port, context, limit=FIRST_FRAME_BYTES)
    try:
        return check_join_reply(await ask_first(channel, request))
    finally:
        await channel.close()


async def _in_either_protocol(opening: _O, ask: Callable[[_O], Awaitable[T]]) -> T:
    """Ask in this release's protocol, and a manager that refuses that in the one of the release before."""
    try:
        return await ask(opening)
    except FailedPrecondition:
        if opening.protocol == OLDEST_PROTOCOL:
            raise
        return await ask(msgspec.structs.replace(opening, protocol=OLDEST_PROTOCOL))


async def explain_by_clocks(error: SwarmError, host: str, port: int, clock: Clock) -> SwarmError:
    """Return why a manager and this host found no session, with their clocks in it where these differ.

    Then a certificate is not valid to one of them. TLS seldom says which, and says nothing of the clocks. A stranger
    that answers in a manager's place can put a wrong time into this sentence, and do nothing else.
    """
    try:
        channel = await dial(host, port, unverified_context(), limit=FIRST_FRAME_BYTES)
        try:
            reply = await ask_first(channel, RootRequest())
        finally:
            await channel.close()
    except SwarmError:
        return error
    here = clock.now()
    if not isinstance(reply, RootReply) or not is_instant(reply.clock) or not is_instant(here):
        return error
    if abs(here - reply.clock) < WRONG_CLOCK_SECONDS:
        return error
    difference = clock_difference(here, reply.clock)
    return type(error)(f"{error.message}; {difference}; set the wrong one first, for example with NTP")


async def fetch_root(host: str, port: int, pin: JoinToken, clock: Clock) -> bytes:
    """Ask a manager for its root certificate (PEM), and compare it with what a token says of it.

    Raises:
        Unavailable: no manager answers.
        Unauthenticated: the token is of another cluster.
        FailedPrecondition: the clocks differ too much.

    """
    channel = await dial(host, port, unverified_context(), limit=FIRST_FRAME_BYTES)
    try:
        return root_of(await ask_first(channel, RootRequest()), pin, clock.now())
    except ProtocolError as error:
        raise FailedPrecondition(
            f"what answers at {host}:{port} is not a swarm-manager ({error.message}); Docker Swarm's managers listen "
            "on port 2377 too: compare the address with the one that 'swarm-manager join-token worker' prints"
        ) from error
    finally:
        await channel.close()


async def ask_first(channel: Channel, question: AnyMessage, seconds: float = REPLY_TIMEOUT) -> AnyMessage:
    """Say the first word on a connection, and wait for the answer, so many seconds at most.

    Raises:
        Unavailable: it did not come in time, or the connection broke.

    """
    try:
        async with asyncio.timeout(seconds):
            await channel.send(question, 1)
            return (await channel.receive()).message
    except TimeoutError as error:
        raise Unavailable(f"{channel.peer} did not answer within {seconds:g} s") from error
