"""Requests and answers over HTTP/1.1, as a manager or anything else may answer them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manager.cli.client import Client
from manager.cli.connection import Connection
from manager.cli.endpoint import Endpoint
from manager.cli.failures import ApiError, CannotConnect

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
CLOSES = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"


class Server:
    """Answers the requests of each connection with what it was told to, in pieces, and hangs up after the last."""

    def __init__(self) -> None:
        self.heads: list[list[str]] = []  # of each connection the first lines of its requests
        self.texts: list[str] = []  # heads and bodies
        self.answers: list[list[list[bytes]]] = []  # of each connection, of each request: the pieces
        self.writers: list[asyncio.StreamWriter] = []

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        answers = self.answers[len(self.heads)]
        lines: list[str] = []
        self.heads.append(lines)
        for pieces in answers:
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
            except asyncio.IncompleteReadError:
                break
            sizes = [line[16:] for line in head.split("\r\n") if line.startswith("Content-Length: ")]
            body = await reader.readexactly(int(sizes[0])) if sizes else b""
            lines.append(head.partition(" HTTP/1.1")[0])
            self.texts.append(head + body.decode())
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def serving(folder: Path, *connections: list[list[bytes]]) -> AsyncIterator[tuple[Server, Endpoint]]:
    server = Server()
    server.answers = list(connections)
    (folder / "socket").unlink(missing_ok=True)
    async with await asyncio.start_unix_server(server.take, folder / "socket"):
        yield server, Endpoint(f"unix://{folder}/socket")
        for writer in server.writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in server.writers), return_exceptions=True)


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        ([OK], "{}"),
        ([OK[:10], OK[10:-1], OK[-1:]], "{}"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", OK], "{}"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n" + OK], "{}"),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], ""),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", b"1\r\n}\r\n0\r\n\r\n"], "{}"),
    ],
)
async def test_an_answer_is_read_whole_in_whatever_pieces_it_comes(tmp_path: Path, pieces: list[bytes], text: str):
    async with serving(tmp_path, [pieces]) as (_, endpoint), Client(endpoint) as client:
        assert await client.get_text("/info") == text


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cuts=st.lists(st.integers(0, 80)), chunks=st.lists(st.text(min_size=1)))
async def test_chunks_of_any_text_cut_anywhere(tmp_path: Path, cuts: list[int], chunks: list[str]):
    parts = [f"{len(chunk.encode()):x}\r\n".encode() + chunk.encode() + b"\r\n" for chunk in chunks]
    whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join([*parts, b"0\r\n\r\n"])
    edges = [0, *sorted({cut for cut in cuts if cut < len(whole)}), len(whole)]
    pieces = [whole[start:end] for start, end in pairwise(edges)]
    async with serving(tmp_path, [pieces]) as (_, endpoint), Client(endpoint) as client:
        assert await client.get_text("/info") == "".join(chunks)


async def test_an_answer_to_head_has_no_body(tmp_path: Path):
    head = b"HTTP/1.1 200 OK\r\nX-Docker-Container-Path-Stat: e30=\r\nContent-Length: 90\r\n\r\n"
    async with serving(tmp_path, [[head]]) as (_, endpoint), Client(endpoint) as client:
        assert (await client.head("/containers/web/archive"))["x-docker-container-path-stat"] == "e30="


async def test_what_is_sent(tmp_path: Path):
    async with serving(tmp_path, [[OK], [OK]]) as (server, endpoint), Client(endpoint) as client:
        await client.get("/services/a b?x#y%\r\n/%2F", {"filters": '{"name":["ä&="]}'})
        await client.get("/nodes", headers={"X-Registry-Auth": "e30="})
    assert [text.split("\r\n") for text in server.texts] == [
        [
            "GET /services/a%20b%3Fx%23y%25/%2F?filters=%7B%22name%22%3A%5B%22%C3%A4%26%3D%22%5D%7D HTTP/1.1",
            "Host: manager",
            "",
            "",
        ],
        ["GET /nodes HTTP/1.1", "Host: manager", "X-Registry-Auth: e30=", "", ""],
    ]


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        ({"Name": "ä"}, ["Content-Type: application/json", "Content-Length: 18", "", '{"Name": "\\u00e4"}']),
        (None, ["Content-Length: 0", "", ""]),
    ],
)
async def test_what_is_sent_with_a_body(tmp_path: Path, body: object, lines: list[str]):
    async with serving(tmp_path, [[OK]]) as (server, endpoint), Client(endpoint) as client:
        await client.post("/services/create", body)
    assert server.texts[0].split("\r\n") == ["POST /services/create HTTP/1.1", "Host: manager", *lines]


async def test_reads_reuse_a_connection_and_changes_open_their_own(tmp_path: Path):
    async with serving(tmp_path, [[OK]], [[OK], [OK]]) as (server, endpoint), Client(endpoint) as client:
        await client.get("/a")
        await client.post("/b")
        await client.get("/c")
    assert server.heads == [["GET /a"], ["POST /b", "GET /c"]]


@pytest.mark.parametrize("last", [OK, CLOSES])
async def test_a_connection_that_was_closed_meanwhile_is_made_again(tmp_path: Path, last: bytes):
    async with serving(tmp_path, [[last]], [[OK]]) as (server, endpoint), Client(endpoint) as client:
        await client.get("/a")
        await client.get("/b")
    assert server.heads == [["GET /a"], ["GET /b"]]


@pytest.mark.parametrize(
    ("pieces", "why"),
    [
        ([], "it ended the connection before it had answered"),
        ([OK[:-1]], "it ended the connection before it had answered"),
        ([b"SSH-2.0-OpenSSH_9.2\r\n"], "what answers does not speak HTTP"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"], "what answers does not speak HTTP"),
    ],
)
async def test_what_is_no_answer_is_said(tmp_path: Path, pieces: list[bytes], why: str):
    async with serving(tmp_path, [pieces]) as (_, endpoint), Client(endpoint) as client:
        with pytest.raises(CannotConnect, match=why):
            await client.get("/info")


async def test_a_refusal_quotes_the_manager_and_keeps_the_connection(tmp_path: Path):
    refused = b'HTTP/1.1 404 Not Found\r\nContent-Length: 24\r\n\r\n{"message":"no such: a"}'
    async with serving(tmp_path, [[refused], [OK]]) as (server, endpoint), Client(endpoint) as client:
        with pytest.raises(ApiError, match="no such: a"):
            await client.get("/a")
        assert await client.get("/b") == {}
    assert server.heads == [["GET /a", "GET /b"]]


async def test_a_refusal_of_a_body_that_was_not_read_is_heard(tmp_path: Path):
    refused = b'HTTP/1.1 413 Too Large\r\nContent-Length: 22\r\n\r\n{"message":"too much"}'

    writers = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(refused)

    async with await asyncio.start_unix_server(refuse, tmp_path / "socket"):
        async with Client(Endpoint(f"unix://{tmp_path}/socket")) as client:
            with pytest.raises(ApiError, match="too much"):
                await client.post("/configs/create", {"Data": "x" * 10_000_000})
        writers[0].close()
        await asyncio.gather(writers[0].wait_closed(), return_exceptions=True)  # the other side has gone


async def test_a_line_end_in_a_header_is_never_sent(tmp_path: Path):
    async with serving(tmp_path, [[OK], [OK]]) as (server, endpoint):
        connection = await Connection.to(endpoint)
        assert (await connection.exchange("GET", "/a", {"X": "1"}, None)).status == 200
        with pytest.raises(ValueError, match="line end"):
            await connection.exchange("GET", "/b", {"X": "1\r\nY: 2"}, None)
        connection.close()
    assert server.heads == [["GET /a"]]
