"""Joining at what is not a manager of ours."""

import asyncio
from pathlib import Path

import pytest

from common.clock import SystemClock
from common.errors import FailedPrecondition
from common.tls import server_context
from common.wire.client import JoinTerms, join
from common.wire.token import JoinToken
from tests.fakes.certificates import Pki

# The first frame of any HTTP/2 server, and so of Docker Swarm's managers: empty SETTINGS.
_HTTP2_SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


async def test_joining_at_another_program_says_what_answers(tmp_path: Path) -> None:
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(_HTTP2_SETTINGS)
        await writer.drain()
        writer.close()

    pki = Pki(tmp_path)
    token = JoinToken(pki.authority.digest, "0" * 25)
    context = server_context(pki.files("manager1", "manager"))
    async with await asyncio.start_server(greet, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(
            FailedPrecondition, match=rf"127\.0\.0\.1:{port} is not a swarm-manager .*0x00.*Docker Swarm"
        ):
            await join("127.0.0.1", port, str(token), JoinTerms(hostname="host"), SystemClock())
