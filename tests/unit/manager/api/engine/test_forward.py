"""What is passed on to a node's engine, over real sockets: bodies, hijacked connections, half-close, lost nodes."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from manager.api.engine.hijack import is_gone
from manager.api.logs.stream import FrameReader
from manager.store.transaction import Transaction
from tests.fakes.api_cluster import WORKER2, ApiCluster
from tests.fakes.container_engine import Engines

BOX = "b" * 64
UPGRADE = "Connection: Upgrade\r\nUpgrade: tcp\r\n"
Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def engines(cluster: ApiCluster) -> AsyncIterator[Engines]:
    async with Engines(cluster) as engines:
        engines.two.add(BOX, "box")
        yield engines


async def ask(path: Path, line: str, headers: str = "", body: bytes = b"") -> Ends:
    reader, writer = await asyncio.open_unix_connection(str(path))
    size = f"Content-Length: {len(body)}\r\n" if body else ""
    writer.write(f"{line} HTTP/1.1\r\nHost: docker\r\n{headers}{size}\r\n".encode() + body)
    await writer.drain()
    return reader, writer


async def head_of(reader: asyncio.StreamReader) -> str:
    return (await reader.readuntil(b"\r\n\r\n")).decode()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say everything back, in capitals, when the end of it was heard."""
    everything = await reader.read()
    writer.write(everything.upper())
    await writer.drain()


@pytest.mark.parametrize("target", [f"POST /v1.45/containers/{BOX}/attach?stream=1&stdin=1", "POST /exec/e1/start"])
async def test_the_end_of_input_is_heard_and_the_output_still_comes(path: Path, engines: Engines, target: str) -> None:
    engines.two.talk = echo
    engines.two.answers["GET /exec/e1/json"] = (200, {"ID": "e1"})
    body = b'{"Detach":false,"Tty":false}' if "exec" in target else b""
    headers = UPGRADE + ("Content-Type: application/json\r\n" if body else "")
    reader, writer = await ask(path, target, headers, body)
    head = await head_of(reader)
    assert head.startswith("HTTP/1.1 101 UPGRADED\r\n")
    assert "Upgrade: tcp" in head
    writer.write(b"said " * 100_000)
    writer.write_eof()
    async with asyncio.timeout(10):
        assert await reader.read() == b"SAID " * 100_000
    writer.close()
    assert engines.two.requests[-1].body == body


async def test_the_head_comes_before_any_data(path: Path, engines: Engines) -> None:
    """A client that waits for the head before it speaks gets it, whatever else there is."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = await reader.readline()
        writer.write(b"hello " + name)
        await writer.drain()

    engines.two.talk = greet
    reader, writer = await ask(path, f"POST /containers/{BOX}/attach", UPGRADE)
    await head_of(reader)
    writer.write(b"you\n")
    assert await reader.read() == b"hello you\n"
    writer.close()


async def test_a_compressed_body_is_passed_on_as_it_came(path: Path, engines: Engines) -> None:
    """An engine reads the archive's own first bytes; the sizes that the client says are those of what it sends."""
    sent = gzip.compress(b"archive" * 1000)
    headers = "Content-Encoding: gzip\r\nContent-Type: application/x-tar\r\n"
    for engine in (engines.one, engines.two):
        engine.answers["POST /build"] = (200, {"stream": "done"})
    reader, writer = await ask(path, "POST /build?t=x", headers, sent)
    assert (await head_of(reader)).startswith("HTTP/1.1 200")
    writer.close()
    (build,) = [each for engine in (engines.one, engines.two) for each in engine.requests if each.path == "/build"]
    assert build.body == sent


async def test_a_build_in_a_cluster_network_is_refused_with_advice(path: Path, engines: Engines) -> None:
    reader, writer = await ask(path, "POST /networks/create", "Content-Type: application/json\r\n", b'{"Name": "wide"}')
    assert (await head_of(reader)).startswith("HTTP/1.1 201")
    writer.close()
    reader, writer = await ask(path, "POST /build?networkmode=wide", "Content-Type: application/x-tar\r\n", b"x")
    assert (await head_of(reader)).startswith("HTTP/1.1 400")
    assert b"leave --network out" in await reader.read(1000)
    writer.close()


async def test_every_change_of_a_commit_is_passed_on(path: Path, engines: Engines) -> None:
    engines.two.answers["POST /commit"] = (201, {"Id": "sha256:1"})
    query = "container=box&repo=x&changes=ENV+A%3D1&changes=LABEL+b%3D2&comment="
    reader, writer = await ask(path, f"POST /commit?{query}", "Content-Type: application/json\r\n", b"{}")
    assert (await head_of(reader)).startswith("HTTP/1.1 201")
    writer.close()
    expected = f"container={BOX}&repo=x&changes=ENV+A%3D1&changes=LABEL+b%3D2&comment="
    assert engines.two.requests[-1].raw_query == expected


async def test_an_engine_that_refuses_is_passed_on(path: Path, engines: Engines) -> None:
    engines.two.answers[f"POST /containers/{BOX}/attach"] = (409, {"message": "cannot attach to a paused container"})
    reader, writer = await ask(path, f"POST /containers/{BOX}/attach", UPGRADE)
    assert (await head_of(reader)).startswith("HTTP/1.1 409")
    assert b"cannot attach to a paused container" in await reader.read(1000)
    writer.close()


async def test_a_client_that_goes_ends_the_engines_connection(path: Path, engines: Engines) -> None:
    ended: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended.set_result(await reader.read())

    engines.two.talk = listen
    reader, writer = await ask(path, f"POST /containers/{BOX}/attach", UPGRADE)
    await head_of(reader)
    writer.close()
    async with asyncio.timeout(5):
        assert await ended == b""


async def test_a_silent_program_does_not_hold_a_lost_clients_line(
    path: Path, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gone looks like half-close: the engine would never hear the difference by itself."""
    monkeypatch.setattr("manager.api.engine.hijack._LOOK_SECONDS", 0.1)
    monkeypatch.setattr("manager.api.engine.hijack.LINGER_SECONDS", 0.1)
    gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        while not is_gone(writer.transport):
            await asyncio.sleep(0.02)
        gone.set_result(None)

    engines.two.talk = silent
    reader, writer = await ask(path, f"POST /containers/{BOX}/attach", UPGRADE)
    await head_of(reader)
    writer.close()
    async with asyncio.timeout(5):
        await gone


async def test_a_lost_node_ends_a_stream_and_says_so(cluster: ApiCluster, path: Path, engines: Engines) -> None:
    async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    engines.two.talk = hang
    reader, writer = await ask(path, f"POST /containers/{BOX}/attach", UPGRADE)
    await head_of(reader)

    def lose(tx: Transaction) -> None:
        node = tx.nodes.get(WORKER2)
        assert node is not None
        tx.put(msgspec.structs.replace(node, status=msgspec.structs.replace(node.status, state="down")))

    await cluster.store.update(lose)
    async with asyncio.timeout(5):
        [frame] = FrameReader().feed(await reader.read())
    assert (frame.stream, b"node w2 was lost during this request" in frame.payload) == (2, True)
    writer.close()


async def test_an_unreachable_engine_is_a_503_that_names_the_node(path: Path, engines: Engines) -> None:
    reader, writer = await ask(path, f"GET /containers/{BOX}/changes")
    await head_of(reader)
    writer.close()
    engines.cut.add(WORKER2)
    for line in (f"GET /containers/{BOX}/changes", f"POST /containers/{BOX}/attach"):
        reader, writer = await ask(path, line, UPGRADE if "attach" in line else "")
        assert (await head_of(reader)).startswith("HTTP/1.1 503")
        assert WORKER2 in (await reader.read(1000)).decode()
        writer.close()


async def test_a_body_of_any_size_goes_through(path: Path, engines: Engines) -> None:
    """Beyond what the manager would take for itself, chunked or not."""
    data = b"x" * (6 * 1024 * 1024)
    engines.two.answers[f"PUT /containers/{BOX}/archive"] = (200, b"")
    reader, writer = await ask(path, f"PUT /containers/{BOX}/archive?path=/tmp", body=data)
    assert (await head_of(reader)).startswith("HTTP/1.1 200")
    writer.close()
    assert engines.two.requests[-1].body == data
    reader, writer = await ask(path, f"PUT /containers/{BOX}/archive?path=/tmp", "Transfer-Encoding: chunked\r\n")
    for _ in range(6):
        writer.write(b"100000\r\n" + data[: 1 << 20] + b"\r\n")
    writer.write(b"0\r\n\r\n")
    assert (await head_of(reader)).startswith("HTTP/1.1 200")
    writer.close()
    assert engines.two.requests[-1].body == data


async def test_a_query_goes_through_as_it_came(path: Path, engines: Engines) -> None:
    engines.two.answers[f"GET /containers/{BOX}/top"] = (200, {"Titles": []})
    reader, writer = await ask(path, f"GET /containers/{BOX}/top?ps_args=-o%20pid%2Ccmd")
    await head_of(reader)
    writer.close()
    assert engines.two.requests[-1].query == {"ps_args": "-o pid,cmd"}


@pytest.mark.parametrize("size", [0, 10])
async def test_what_follows_an_ordinary_answer_is_the_next_request(path: Path, engines: Engines, size: int) -> None:
    """A relayed answer leaves the connection usable."""
    engines.two.answers[f"GET /containers/{BOX}/changes"] = (200, b"x" * size)
    reader, writer = await ask(path, f"GET /containers/{BOX}/changes")
    await head_of(reader)
    await reader.readexactly(size)
    writer.write(b"GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n")
    assert (await head_of(reader)).startswith("HTTP/1.1 200")
    writer.close()
