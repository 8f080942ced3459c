"""Ask other name servers for names outside the cluster: the host's servers, or those that a container was given.

The message is passed on as it came but for its number, and so is the answer: what it asks for and what it says of
DNSSEC is between the container and the server. Each question has a socket, and so a port, of its own: with the random
number this is what makes a forged answer improbable (RFC 5452).
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Address
from typing import Any, TypeAlias

from worker.intake.addresses import IPAddress, address
from worker.intake.identifiers import Unusable
from worker.net.dns.resolv_conf import HostResolution
from worker.net.resolve import messages
from worker.net.resolve.messages import Query

DNS_PORT = 53
# Clients ask again after five seconds: they shall hear of a failure before that.
ATTEMPT_SECONDS = 1.5
TOTAL_SECONDS = 4.5
# A server that did not answer is asked after the others for so long.
SHUN_SECONDS = 30.0
_ROUNDS = 2
_THIS_NETWORK = IPv4Network("0.0.0.0/8")
_NO_ANSWER = frozenset({messages.SERVFAIL, messages.NOTIMP, messages.REFUSED})

_Address: TypeAlias = tuple[socket.AddressFamily, tuple[Any, ...]]

_log = logging.getLogger(__name__)


class Forwarder:
    """`rng` chooses the numbers that answers are known by, so it must not be one that can be guessed."""

    def __init__(self, host: HostResolution, rng: random.Random, port: int = DNS_PORT) -> None:
        self._host = host
        self._rng = rng
        self._port = port
        self._shunned: dict[str, float] = {}

    async def ask(self, query: Query, packet: bytes, nameservers: Sequence[str], *, stream: bool) -> bytes | None:
        """Return the answer of the first server that gives one, with the client's own number; None if none does.

        `stream`: the client came by TCP, so an answer that was cut short is fetched whole.
        """
        refusal: bytes | None = None
        try:
            async with asyncio.timeout(TOTAL_SECONDS):
                for server in self._order(nameservers) * _ROUNDS:
                    answer = await self._attempt(server, query, packet, stream=stream)
                    if answer is not None and messages.rcode_of(answer) not in _NO_ANSWER:
                        return _for_client(answer, query)
                    refusal = answer or refusal
        except TimeoutError:
            _log.debug("no name server answered within %g s for %r", TOTAL_SECONDS, query.name)
        return _for_client(refusal, query) if refusal is not None else None

    def _order(self, nameservers: Sequence[str]) -> list[str]:
        now = asyncio.get_running_loop().time()
        servers = usable(nameservers) or list(self._host.current().nameservers)
        return sorted(servers, key=lambda server: self._shunned.get(server, 0.0) > now)

    async def _attempt(self, server: str, query: Query, packet: bytes, *, stream: bool) -> bytes | None:
        number = self._rng.getrandbits(16)
        asked = number.to_bytes(2) + packet[2:]
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                answer = await _by_datagram(self._address(server), asked, number, query.question)
                if stream and messages.is_truncated(answer):
                    answer = await _by_stream(self._address(server), asked, number, query.question)
        except (OSError, TimeoutError, EOFError) as error:
            self._shun(server, error)
            return None
        self._shunned.pop(server, None)
        return answer

    def _shun(self, server: str, error: Exception) -> None:
        now = asyncio.get_running_loop().time()
        if server not in self._shunned:
            _log.info("name server %s does not answer: %s", server, str(error) or "timeout")
        self._shunned = {each: until for each, until in self._shunned.items() if until > now}
        self._shunned[server] = now + SHUN_SECONDS

    def _address(self, server: str) -> _Address:
        # Numeric addresses only, so that nothing is looked up; it knows what an IPv6 link's name means.
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        family, _, _, _, address = socket.getaddrinfo(server, self._port, type=socket.SOCK_DGRAM, flags=flags)[0]
        return family, address


def usable(nameservers: Sequence[str]) -> list[str]:
    """Leave out of a container's own name servers what the host cannot ask: the container's loopback.

    Nor what is the host's own loopback in other words: `0.0.0.0`, `::ffff:127.0.0.1`.
    """
    found = []
    for text in nameservers:
        with suppress(Unusable):
            server = address(text)
            found += [] if _is_loopback(server) else [str(server)]
    return found


def _is_loopback(server: IPAddress) -> bool:
    if isinstance(server, IPv6Address) and server.ipv4_mapped is not None:
        server = server.ipv4_mapped
    return server.is_loopback or server.is_unspecified or server in _THIS_NETWORK


def _for_client(answer: bytes, query: Query) -> bytes:
    """Give an answer the client's number and its own spelling of the name, which it may check."""
    end = messages.HEADER_SIZE + len(query.question)
    return query.id.to_bytes(2) + answer[2 : messages.HEADER_SIZE] + query.question + answer[end:]


async def _by_datagram(address: _Address, asked: bytes, number: int, question: bytes) -> bytes:
    family, where = address
    loop = asyncio.get_running_loop()
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as out:
        await loop.sock_connect(out, where)
        await loop.sock_sendall(out, asked)
        while True:
            answer = await loop.sock_recv(out, messages.LARGEST_MESSAGE)
            if messages.answers_question(answer, number, question):
                return answer
            await asyncio.sleep(0)  # `sock_recv` does not wait for what is there


async def _by_stream(address: _Address, asked: bytes, number: int, question: bytes) -> bytes:
    family, where = address
    loop = asyncio.get_running_loop()
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as out:
        await loop.sock_connect(out, where)
        await send_framed(out, asked)
        answer = await receive_message(out)
    if not messages.answers_question(answer, number, question):
        raise EOFError("an answer to another question")
    return answer


async def send_framed(out: socket.socket, message: bytes) -> None:
    """Send a message over TCP, its length in front."""
    await asyncio.get_running_loop().sock_sendall(out, len(message).to_bytes(2) + message)


async def receive_message(source: socket.socket) -> bytes:
    """Receive a message over TCP.

    Raises:
        EOFError: the other side has closed, in the middle or before.

    """
    return await _exactly(source, int.from_bytes(await _exactly(source, 2)))


async def _exactly(source: socket.socket, size: int) -> bytes:
    loop = asyncio.get_running_loop()
    parts = bytearray()
    while len(parts) < size:
        part = await loop.sock_recv(source, size - len(parts))
        if not part:
            raise EOFError("the connection was closed")
        parts += part
    return bytes(parts)
