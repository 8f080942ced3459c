"""The API over TCP: whom OpenSSL lets in, whom the API does, and how long a connection lasts."""

import asyncio
import contextlib
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import uvloop

from common.tls import ROLE_MANAGER, ROLE_WORKER
from manager.api.call import Call, Exchange, Relay
from manager.api.http.connection import Limits
from tests.fakes.api_cluster import ApiCluster
from tests.fakes.api_tls import TlsApi, client_context, revoke, tls_api
from tests.fakes.certificates import Pki
from tests.fakes.ports import answer_to_plain_text

LIMITS = Limits(connections=30, connections_per_client=3, handshakes=8, handshakes_per_address=4, head_seconds=2.0)


@pytest.fixture
async def api(cluster: ApiCluster, tmp_path: Path) -> AsyncIterator[TlsApi]:
    async with tls_api(cluster, tmp_path, limits=LIMITS) as api:
        yield api


async def ping(api: TlsApi, files: Path | None) -> tuple[int, str]:
    async with api.browsing(files) as session, session.get("/_ping") as response:
        return response.status, await response.text()


async def refused_by_tls(api: TlsApi, files: Path | None) -> None:
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await ping(api, files)


@pytest.mark.parametrize("role", ["admin", "operator", "viewer"])
async def test_a_clients_certificate_is_let_in(api: TlsApi, role: str) -> None:
    assert await ping(api, await api.client("alice", role)) == (200, "OK")


async def test_the_certificate_names_who_calls_and_from_where(api: TlsApi, cluster: ApiCluster) -> None:
    async with (
        api.browsing(await api.client("alice", "operator")) as session,
        session.post("/secrets/create", json={"Name": "s", "Data": "eA=="}) as response,
    ):
        made = (await response.json())["ID"]
    entry = cluster.audited[-1]
    assert (entry.name, entry.role, entry.object, entry.status) == ("alice", "operator", made, 201)
    assert entry.serial in {each.id for each in cluster.store.view.client_certificates}
    assert entry.origin.startswith("127.0.0.1:")


async def test_no_certificate_is_refused(api: TlsApi) -> None:
    await refused_by_tls(api, None)


async def told(api: TlsApi, files: Path | None) -> str:
    """Say something and return the reason that the server gives for not hearing it."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port, ssl=client_context(api, files))
        writer.write(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n" + b"x" * 100_000)
        await reader.read()
    except OSError as error:
        return str(error)
    return ""


async def tell_why(api: TlsApi, forged: Pki) -> None:
    assert "certificate required" in (await told(api, None)).lower()
    assert "unknown ca" in (await told(api, api.node("swarm-admin", forged))).lower()
    assert "certificate expired" in (await told(api, await api.past_client("alice", "admin", ended=60))).lower()


async def test_who_is_refused_is_told_why(api: TlsApi, tmp_path: Path) -> None:
    (tmp_path / "forged").mkdir()
    await tell_why(api, Pki(tmp_path / "forged", "c" * 25))


async def test_a_certificate_of_another_authority_is_refused(api: TlsApi, tmp_path: Path) -> None:
    (tmp_path / "forged").mkdir()
    # The same cluster id and role, and a serial number that is on record: only the authority's key differs.
    await refused_by_tls(api, api.node("swarm-admin", Pki(tmp_path / "forged", "c" * 25)))


async def test_an_expired_certificate_is_refused(api: TlsApi) -> None:
    await refused_by_tls(api, await api.past_client("alice", "admin", ended=60))


@pytest.mark.parametrize("role", [ROLE_WORKER, ROLE_MANAGER])
async def test_a_nodes_certificate_may_nothing(api: TlsApi, role: str) -> None:
    status, text = await ping(api, api.node(role))
    assert status == 403
    assert "is that of a node" in json.loads(text)["message"]


async def test_a_certificate_without_a_record_may_nothing(api: TlsApi) -> None:
    status, text = await ping(api, api.node("swarm-admin"))
    assert status == 403
    assert "does not belong to a client of this cluster" in json.loads(text)["message"]


async def test_an_older_tls_version_is_not_spoken(api: TlsApi) -> None:
    context = client_context(api, await api.client("alice", "admin"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", api.port, ssl=context)


async def test_plain_http_is_not_answered(api: TlsApi) -> None:
    assert b"HTTP" not in await answer_to_plain_text(api.port)


# --- ends -------------------------------------------------------------------------------------------------------------


async def test_revoking_ends_connections_at_once_and_refuses_new_ones(api: TlsApi, cluster: ApiCluster) -> None:
    alice, bob = await api.client("alice", "viewer"), await api.client("bob", "viewer")
    async with (
        api.browsing(alice) as session,
        api.browsing(bob) as other,
        session.get("/events") as revoked,
        other.get("/events") as untouched,
    ):
        await revoke(cluster, "alice")
        async with asyncio.timeout(10):
            with contextlib.suppress(aiohttp.ClientError):
                assert await revoked.read() == b""
        assert not untouched.content.at_eof()
        async with other.get("/_ping") as response:
            assert response.status == 200
    status, text = await ping(api, alice)
    assert status == 403
    assert "was revoked at" in json.loads(text)["message"]


async def test_revoking_ends_a_connection_that_was_taken_over(
    api: TlsApi, cluster: ApiCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = asyncio.Event()

    async def echo(exchange: Exchange) -> None:
        reader, writer = await exchange.take_over(b"HTTP/1.1 101 UPGRADED\r\n\r\n")
        try:
            while data := await reader.read(100):
                writer.write(data)
        finally:
            ended.set()
            writer.close()

    async def answer(_: Call, __: object) -> Relay:
        return Relay(echo)

    alice = await api.client("alice", "operator")
    monkeypatch.setattr(cluster.api, "answer", answer)
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port, ssl=client_context(api, alice))
    writer.write(b"POST /exec/x/start HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 101 UPGRADED\r\n\r\n"
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"
    await revoke(cluster, "alice")
    async with asyncio.timeout(10):
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        await ended.wait()
    writer.close()


async def test_a_connection_does_not_outlive_its_certificate(api: TlsApi) -> None:
    files = await api.past_client("brief", "viewer", ended=-3)
    async with api.browsing(files) as session, session.get("/events") as stream:
        began = time.monotonic()
        async with asyncio.timeout(5):
            with contextlib.suppress(aiohttp.ClientError):
                await stream.read()
    assert time.monotonic() - began < 5
    await refused_by_tls(api, files)


async def test_a_renewed_certificate_of_the_manager_is_shown_at_once(api: TlsApi) -> None:
    async def serial() -> int:
        context = client_context(api, alice)
        _, writer = await asyncio.open_connection("127.0.0.1", api.port, ssl=context)
        shown = writer.get_extra_info("ssl_object").getpeercert()["serialNumber"]
        writer.close()
        return int(shown, 16)

    alice = await api.client("alice", "viewer")
    before = await serial()
    api.context.load_cert_chain(api.pki.files("m1", ROLE_MANAGER).node)
    assert await serial() != before
    assert await ping(api, alice) == (200, "OK")


# --- limits -----------------------------------------------------------------------------------------------------------


async def test_a_clients_connections_are_limited_and_no_others(api: TlsApi) -> None:
    alice = await api.client("alice", "viewer")
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(LIMITS.connections_per_client):
            session = await stack.enter_async_context(api.browsing(alice))
            await stack.enter_async_context(session.get("/events"))
        status, text = await ping(api, alice)
        assert (status, json.loads(text)["message"][:38]) == (503, "too many connections of this client to")
        assert await ping(api, await api.client("bob", "viewer")) == (200, "OK")
    async with asyncio.timeout(5):
        while (await ping(api, alice))[0] != 200:
            await asyncio.sleep(0.01)


async def test_those_without_a_certificate_are_few_and_not_for_long(api: TlsApi) -> None:
    silent = [await asyncio.open_connection("127.0.0.1", api.port) for _ in range(LIMITS.handshakes_per_address)]
    await asyncio.sleep(0.1)
    reader, one_more = await asyncio.open_connection("127.0.0.1", api.port)
    async with asyncio.timeout(1.5):  # less than a handshake may take
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
    one_more.close()
    async with asyncio.timeout(5):  # the silent ones are closed in their time
        for reader, writer in silent:
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()
    assert await ping(api, await api.client("alice", "viewer")) == (200, "OK")


async def test_other_addresses_get_in_while_one_is_full(api: TlsApi) -> None:
    silent = [await asyncio.open_connection("127.0.0.1", api.port) for _ in range(LIMITS.handshakes_per_address)]
    context = client_context(api, await api.client("alice", "viewer"))
    await asyncio.sleep(0.1)
    _, writer = await asyncio.open_connection("127.0.0.1", api.port, ssl=context, local_addr=("127.0.0.2", 0))
    writer.close()
    for _, each in silent:
        each.close()


def test_on_the_managers_own_event_loop(tmp_path: Path) -> None:
    async def main() -> None:
        async with ApiCluster(idle=True) as cluster, tls_api(cluster, tmp_path, limits=LIMITS) as api:
            alice = await api.client("alice", "viewer")
            (tmp_path / "forged").mkdir()
            await tell_why(api, Pki(tmp_path / "forged", "c" * 25))
            async with api.browsing(alice) as session, session.get("/events") as stream:
                async with session.get("/info") as response:
                    assert response.status == 200
                with socket.create_connection(("127.0.0.1", api.port)):
                    await revoke(cluster, "alice")
                    async with asyncio.timeout(10):
                        with contextlib.suppress(aiohttp.ClientError):
                            await stream.read()

    uvloop.run(main())


async def test_a_clients_end_of_input_arrives_and_output_still_comes(
    api: TlsApi, cluster: ApiCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `docker run -i` does: close_notify is the end of its input, not of the connection."""

    async def shout(exchange: Exchange) -> None:
        reader, writer = await exchange.take_over(b"HTTP/1.1 101 UPGRADED\r\n\r\n")
        writer.write((await reader.read()).upper())
        await writer.drain()
        writer.close()

    async def answer(_: Call, __: object) -> Relay:
        return Relay(shout)

    context = client_context(api, await api.client("alice", "admin"))
    monkeypatch.setattr(cluster.api, "answer", answer)
    received = await asyncio.to_thread(say_and_end, context, api.port, b"said " * 100_000)
    assert received.endswith(b"\r\n\r\n" + b"SAID " * 100_000)


def say_and_end(context: ssl.SSLContext, port: int, said: bytes) -> bytes:
    """Speak as Go's TLS does: asyncio's cannot end one way alone."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:

        def until_done(step):  # type: ignore[no-untyped-def]
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    connection.sendall(outgoing.read())
                    incoming.write(connection.recv(65536))

        until_done(tls.do_handshake)
        tls.write(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        connection.sendall(outgoing.read())
        received = until_done(lambda: tls.read(65536))
        tls.write(said)
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.unwrap()
        connection.sendall(outgoing.read())
        with contextlib.suppress(ssl.SSLZeroReturnError):
            while piece := until_done(lambda: tls.read(65536)):
                received += piece
        return received
