"""Requests over a socket that are nearly HTTP: none is answered by an internal error, and the API goes on.

`SWARM_FUZZ_CALLS=40000 tests/run prop -k nearly_http -s` sends more, SWARM_FUZZ_SEED=N others.
"""

import asyncio
import logging
import os
import random
import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest

from manager.api.call import Call
from manager.api.http.connection import Limits
from manager.api.http.server import serve
from tests.fakes.api_cluster import WORKER2, ApiCluster
from tests.fakes.container_engine import Engines
from tests.hostile.evil_engine import EvilEngine
from tests.prop.api_requests import Mutator

CALLS = int(os.environ.get("SWARM_FUZZ_CALLS", "40000")) // 10
SEED = int(os.environ.get("SWARM_FUZZ_SEED", "1"))
AT_ONCE = 20
STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
# What is put somewhere into a request's head.
NOISE = (
    b"%", b"%zz", b"%00", b"%2F..", b"%c0%af", b"%ff", b"\x00", b"\x7f", b"\xff\xfe", b"\xed\xa0\x80", b" ", b"\t",
    b"\r", b"\n", b"\r\n\r\n", b"#", b"?", b"&&==;", b"//", b"/./../", b"x" * 9000, b"x" * 70_000,
    b"http://other/", b"*", b"\x1b[2J", "²é".encode(),
)  # fmt: skip
HEADERS = (
    b"Content-Length: -1", b"Content-Length: x", b"Content-Length: 1_0", b"Content-Length: 99999999999999999999",
    b"Content-Length: 0", b"Content-Length: \xc2\xb2", b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: x", b"Content-Encoding: gzip", b"Content-Encoding: br", b"Expect: 100-continue", b"Expect: x",
    b"Connection: Upgrade", b"Upgrade: tcp", b"Upgrade: websocket", b"Sec-WebSocket-Key: x", b"Host:", b"Host: a\x00b",
    b"Content-Type: application/x-www-form-urlencoded", b"Content-Type: multipart/form-data", b"Content-Type: \xff",
    b"X-Registry-Auth: \xff", b"X-Registry-Config: " + b"e" * 9000, b"Cookie: a=\x01", b"Range: bytes=5-1",
    b": x", b"No colon", b" folded", b"If-Modified-Since: never", b"Accept-Encoding: \xff",
)  # fmt: skip


def request(call: Call, rng: random.Random) -> bytes:
    """Write a call as HTTP, most often with something that HTTP does not have."""
    path = quote(call.path.encode("utf-8", "surrogatepass"), safe="/")
    query = "&".join(
        f"{name}={quote(value.encode('utf-8', 'surrogatepass'), safe='')}" for name, value in call.query.items()
    )
    headers = [f"{name}: {value}".encode() for name, value in call.headers.items() if value.isprintable()]
    if rng.random() < 0.95:
        headers.append(b"Content-Length: %d" % len(call.body))
    headers += rng.sample(HEADERS, rng.choice((0, 0, 0, 1)))
    line = f"{call.method} {path}?{query} HTTP/1.1".encode()
    head = b"\r\n".join([line, b"Host: docker", *headers, b"", b""])
    for _ in range(rng.choice((0, 0, 0, 1, 2))):
        at = rng.randrange(len(line) if rng.random() < 0.7 else len(head))
        head = head[:at] + rng.choice(NOISE) + head[at + rng.choice((0, 0, 1)) :]
    return head + call.body


@pytest.fixture
async def path(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Path]:
    for name in ("containers.list.LIST_SECONDS", "containers.locate.LOOK_SECONDS", "engine.hijack.LINGER_SECONDS"):
        monkeypatch.setattr(f"manager.api.{name}", 0.5)
    async with ApiCluster(idle=True) as cluster:
        engines = Engines(cluster)
        evil = EvilEngine(cluster.folder / "two.sock", seed=SEED, others=("a" * 64, "box"))
        engines.two = engines._by_node[WORKER2] = evil
        engines.one.add("a" * 64, "box")
        path = cluster.folder / "docker.sock"
        limits = Limits(head_seconds=1, body_seconds=1)
        async with engines, serve(cluster.api, [f"unix://{path}"], limits=limits):
            yield path


async def said(path: Path, data: bytes) -> bytes:
    """Send, and return the beginning of what is answered."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        writer.write(data)
        await writer.drain()
        async with asyncio.timeout(20):
            return await reader.read(4096)
    except ConnectionError:
        return b""
    except TimeoutError:
        raise AssertionError(data) from None
    finally:
        writer.close()


@pytest.mark.timeout(60 + CALLS // 20)
async def test_nearly_http(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    rng = random.Random(SEED)
    mutator = Mutator(SEED, 0.2)
    statuses: Counter[bytes] = Counter()
    for _ in range(CALLS // AT_ONCE):
        sent = [request(mutator.call()[1], rng) for _ in range(AT_ONCE)]
        answers = await asyncio.gather(*(said(path, each) for each in sent))
        for data, answer in zip(sent, answers, strict=True):
            found = STATUS.match(answer)
            statuses[found[1] if found else b"none"] += 1
            assert b"incident" not in answer, data
            assert b"Server got itself in trouble" not in answer, data
    print(f"\n{CALLS}: {sorted(statuses.items())}")
    assert [record.getMessage() for record in caplog.records] == []
    assert statuses[b"200"] > CALLS // 20
    assert statuses[b"400"] > CALLS // 10
    assert (await said(path, b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")).startswith(b"HTTP/1.1 200")
