"""The gateway's client, against a gateway that a test speaks for: what is asked, and how answers are read."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from manager.store.backends.etcd.api import (
    Compacted,
    Compare,
    Delete,
    Get,
    KeyValue,
    NoAnswer,
    Outcome,
    Put,
    Refused,
    Revision,
    Transaction,
)
from manager.store.backends.etcd.client import EtcdClient, lines

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
TRANSACTION = Transaction((Compare(b"k", 5),), (Put(b"k", b"v"), Delete(b"d"), Get(b"k")), (Get(b"k"), Get(b"n")))


@contextlib.asynccontextmanager
async def gateway(folder: Path, handler: Handler) -> AsyncIterator[EtcdClient]:
    """Serve a gateway on a unix socket, and return a client of it."""
    app = web.Application()
    app.router.add_post("/{path:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    socket = folder / "s"
    await web.UnixSite(runner, str(socket)).start()
    client = EtcdClient(socket)
    try:
        yield client
    finally:
        await client.close()
        await runner.cleanup()


def answering(content: bytes, status: int = 200, asked: list[object] | None = None) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        if asked is not None:
            asked.append((request.path, msgspec.json.decode(await request.read())))
        return web.Response(body=content, status=status)

    return answer


async def test_a_transaction_is_asked_and_answered_whole(tmp_path: Path) -> None:
    asked: list[object] = []
    content = b"""{"header":{"cluster_id":"1","revision":"9"},"responses":[
        {"response_range":{"kvs":[{"key":"aw==","value":"dg==","create_revision":"2","mod_revision":"7"}],"count":"1"}},
        {"response_range":{"header":{"revision":"9"}}}]}"""
    async with gateway(tmp_path, answering(content, asked=asked)) as client:
        outcome = await client.transact(TRANSACTION)
    assert outcome == Outcome(9, False, (KeyValue(b"k", b"v", 7), None))
    success = [
        {"request_put": {"key": "aw==", "value": "dg=="}},
        {"request_delete_range": {"key": "ZA=="}},
        {"request_range": {"key": "aw=="}},
    ]
    failure = [{"request_range": {"key": "aw=="}}, {"request_range": {"key": "bg=="}}]
    compare = [{"key": "aw==", "target": "MOD", "result": "EQUAL", "mod_revision": "5"}]
    assert asked == [("/v3/kv/txn", {"compare": compare, "success": success, "failure": failure})]


@pytest.mark.parametrize(
    ("content", "status", "kind"),
    [
        (b'{"error":"x","code":14,"message":"etcdserver: request timed out"}', 503, NoAnswer),
        (b'{"error":"x","code":8,"message":"etcdserver: mvcc: database space exceeded"}', 429, Refused),
        (b'{"error":"x","code":3,"message":"etcdserver: too many operations in txn request"}', 400, Refused),
        (b'{"error":"x","code":11,"message":"etcdserver: mvcc: required revision has been compacted"}', 400, Compacted),
        (b'{"error":"x","code":2,"message":"?"}', 500, NoAnswer),
        (b"<html>", 502, NoAnswer),
        (b"<html>", 200, NoAnswer),
        (b'{"header":{"revision":"9"},"succeeded":true,"responses":[]}', 200, NoAnswer),
        (b'{"header":{"revision":"many"}}', 200, NoAnswer),
    ],
)
async def test_what_is_no_answer_is_told_from_a_refusal(
    tmp_path: Path, content: bytes, status: int, kind: type[Exception]
) -> None:
    async with gateway(tmp_path, answering(content, status)) as client:
        with pytest.raises(kind):
            await client.transact(TRANSACTION)


async def test_nobody_who_listens_is_no_answer(tmp_path: Path) -> None:
    client = EtcdClient(tmp_path / "none")
    with pytest.raises(NoAnswer, match="does not answer"):
        await client.transact(TRANSACTION)
    with pytest.raises(NoAnswer, match="cannot be watched"):
        await anext(client.watch(b"/p/", 1))
    await client.close()


WATCHED = [
    (
        [
            b'{"result":{"header":{"revision":"4"},"created":true}}',
            (
                b'{"result":{"header":{"revision":"6"},"events":['
                b'{"kv":{"key":"aw==","value":"dg==","mod_revision":"5"}},'
                b'{"type":"DELETE","kv":{"key":"ZA==","mod_revision":"5"}},'
                b'{"kv":{"key":"aw==","mod_revision":"6"}}]}}'
            ),
        ],
        [Revision(5, (Put(b"k", b"v"), Delete(b"d"))), Revision(6, (Put(b"k", b""),))],
        NoAnswer,
    ),
    ([b'{"result":{"header":{"revision":"9"},"canceled":true,"compact_revision":"7"}}'], [], Compacted),
    ([b'{"result":{"header":{"revision":"2"},"created":true}}'], [], Compacted),
    ([b'{"error":{"grpc_code":14,"message":"etcdserver: no leader"}}'], [], NoAnswer),
    ([b'{"result":{"header":{"revision":"9"},"canceled":true,"cancel_reason":"?"}}'], [], NoAnswer),
    ([b"?"], [], NoAnswer),
]


@pytest.mark.parametrize(("content", "expected", "end"), WATCHED)
async def test_a_watch_yields_whole_revisions_until_it_ends(
    tmp_path: Path, content: list[bytes], expected: list[Revision], end: type[Exception]
) -> None:
    async def stream(request: web.Request) -> web.StreamResponse:
        assert request.headers["Grpc-Metadata-hasleader"] == "true"
        response = web.StreamResponse()
        await response.prepare(request)
        for line in content:
            await response.write(line[:40])
            await response.write(line[40:] + b"\n")
        return response

    found: list[Revision] = []

    async def collect(client: EtcdClient) -> None:
        async for each in client.watch(b"/p/", 4):
            found.append(each)  # noqa: PERF401 - what came before the end counts

    async with gateway(tmp_path, stream) as client:
        with pytest.raises(end):
            await collect(client)
    assert found == expected


@given(st.lists(st.binary(min_size=1).filter(lambda line: b"\n" not in line)), st.lists(st.integers(1, 9)))
def test_lines_are_the_same_however_they_come(wanted: list[bytes], sizes: list[int]) -> None:
    content = b"".join(line + b"\n" for line in wanted)

    async def chunks() -> AsyncIterator[bytes]:
        at = 0
        for size in sizes:
            yield content[at : at + size]
            at += size
        yield content[at:]

    async def collected() -> list[bytes]:
        return [line async for line in lines(chunks())]

    assert asyncio.run(collected()) == wanted
