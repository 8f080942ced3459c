"""Who gets a session over the real port: a worker's certificate of this authority, and nothing else."""

import asyncio
import random
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from unittest.mock import Mock

import pytest

from common.clock import SECOND, SystemClock
from common.errors import PermissionDenied, SwarmError, Unauthenticated
from common.model import Cluster, Node
from common.model.node import NodeDescription
from common.tls import ROLE_MANAGER, client_context, pinned_context, unverified_context
from common.wire.channel import ChannelClosed
from common.wire.client import open_session
from common.wire.messages import PROTOCOL_VERSION, Hello
from common.wire.server import Server, dial, serve
from manager.ca.authority import create_root
from manager.dispatch.dispatcher import Dispatcher
from manager.dispatch.managers import KnownManagers
from manager.dispatch.reception import Reception
from manager.store.backends.memory import MemoryBackend
from manager.store.store import Store
from tests.fakes.certificates import DAY, Pki
from tests.fakes.ports import answer_to_plain_text
from worker.link.dialler import Credentials, TlsDialler

HELLO = Hello(protocol=PROTOCOL_VERSION, description=NodeDescription(hostname="alpha"))


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path)


@pytest.fixture
async def server(pki: Pki) -> AsyncIterator[Server]:
    clock = SystemClock()
    async with Store(MemoryBackend(), clock) as store:
        node = Node(id="n1", agent=True, certificate_serials=("7",))
        await store.update(lambda tx: [tx.put(value) for value in (Cluster(id="cluster1"), node)])
        dispatcher = Dispatcher(
            store, pki.authority, clock, random.SystemRandom(), manager_id="m1", managers=KnownManagers(store, "")
        )
        background = asyncio.create_task(dispatcher.run())
        async with await serve(
            "127.0.0.1", 0, pki.server(), Reception(pki.authority, clock, lambda: dispatcher).handle
        ) as server:
            yield server
            assert not dispatcher.connected
        background.cancel()
        await asyncio.gather(background, return_exceptions=True)


async def attempt(server: Server, context: ssl.SSLContext) -> None:
    channel, _ = await open_session("127.0.0.1", server.port, context, HELLO)
    await channel.close()


def careless(context: ssl.SSLContext) -> ssl.SSLContext:
    """Let a client not mind who the server is, as an attacker would not."""
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def test_a_workers_certificate_of_this_cluster_gets_a_session(pki: Pki, server: Server) -> None:
    await attempt(server, pki.worker("n1", serial="7"))
    while server.connections:
        await asyncio.sleep(0.01)


async def test_a_certificate_of_another_authority_does_not(server: Server, tmp_path: Path) -> None:
    # The same cluster id, node id, role and serial: only the authority's key differs.
    forged = Pki(tmp_path / "forged", "cluster1")
    with pytest.raises(ChannelClosed):
        await attempt(server, careless(forged.worker("n1", serial="7")))


async def test_a_self_signed_certificate_does_not(server: Server, tmp_path: Path) -> None:
    root = create_root("cluster1", SystemClock().now())
    lone = tmp_path / "self-signed.pem"
    lone.write_bytes(root.certificate + root.key)
    context = unverified_context()
    context.load_cert_chain(lone)
    with pytest.raises(ChannelClosed):
        await attempt(server, context)


async def test_no_certificate_does_not(pki: Pki, server: Server) -> None:
    with pytest.raises(Unauthenticated, match="no certificate was shown"):
        await attempt(server, pinned_context(pki.authority.root_certificate))


async def test_an_expired_certificate_does_not(pki: Pki, server: Server) -> None:
    long_ago = SystemClock().now() - 100 * 86400
    files = pki.files("n1", now=long_ago, lifetime=90 * DAY, serial="7")
    with pytest.raises(ChannelClosed):
        await attempt(server, client_context(files))


async def test_a_certificate_of_the_future_does_not(pki: Pki, server: Server) -> None:
    files = pki.files("n1", now=SystemClock().now() + 2 * 86400, serial="7")
    with pytest.raises(ChannelClosed):
        await attempt(server, client_context(files))


class Set:
    """A clock that is set to so many seconds off the machine's."""

    def __init__(self, offset: float) -> None:
        self._offset = offset

    def now(self) -> float:
        return SystemClock().now() + self._offset


@pytest.mark.parametrize("days", [-100, 100])
async def test_a_certificate_refused_for_a_clock_says_so(pki: Pki, server: Server, days: int) -> None:
    """The manager closes the connection without a word: the certificate is valid by the worker's clock alone."""
    clock = Set(days * 86400)
    files = pki.files("n1", now=clock.now(), lifetime=90 * DAY, serial="7")
    dialler = TlsDialler(Credentials(files, clock, random.Random(1)), "", Mock())
    with pytest.raises(ChannelClosed, match=r"the clocks differ by 100 days.*the worker's says .*; set the wrong one"):
        await dialler.session(f"127.0.0.1:{server.port}", HELLO)


async def test_a_certificate_that_ended_by_a_wrong_clock_says_so(pki: Pki, server: Server) -> None:
    """To leave and to join again, which is else the way, would lose the node for nothing."""
    files = pki.files("n1", serial="7")
    dialler = TlsDialler(Credentials(files, Set(100 * 86400), random.Random(1)), "", Mock())
    with pytest.raises(Unauthenticated, match=r"certificate expired .*the clocks differ by 100 days"):
        await dialler.session(f"127.0.0.1:{server.port}", HELLO)


async def test_other_refusals_say_nothing_of_clocks(server: Server, tmp_path: Path) -> None:
    forged = Pki(tmp_path / "forged", "cluster1")
    dialler = TlsDialler(Credentials(forged.files("n1"), SystemClock(), random.Random(1)), "", Mock())
    with pytest.raises(Unauthenticated, match="not a manager of this cluster") as refused:
        await dialler.session(f"127.0.0.1:{server.port}", HELLO)
    assert "clocks differ" not in refused.value.message


async def test_a_managers_certificate_is_no_workers(pki: Pki, server: Server) -> None:
    files = pki.files("n1", ROLE_MANAGER, serial="7")
    with pytest.raises(PermissionDenied, match="cannot be used as a worker's"):
        await attempt(server, client_context(files))


@pytest.mark.parametrize("role", ["swarm-admin", "swarm-operator", "swarm-viewer"])
async def test_an_api_clients_certificate_is_no_workers(pki: Pki, server: Server, role: str) -> None:
    with pytest.raises(PermissionDenied):
        await attempt(server, client_context(pki.files("n1", role, serial="7")))


async def test_an_older_tls_version_is_not_spoken(pki: Pki, server: Server) -> None:
    context = unverified_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(SwarmError):
        await dial("127.0.0.1", server.port, context)


async def test_plain_text_is_not_answered(server: Server) -> None:
    assert b"HTTP" not in await answer_to_plain_text(server.port)


async def test_a_short_lived_certificate_ends_with_its_time(pki: Pki, server: Server) -> None:
    now = SystemClock().now()
    files = pki.files("n1", now=now - 10, lifetime=1 * SECOND, serial="7")
    with pytest.raises(ChannelClosed):
        await attempt(server, client_context(files))


async def test_an_unfinished_handshake_holds_nobody_up(pki: Pki, server: Server) -> None:
    silent = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(50)]
    await attempt(server, pki.worker("n1", serial="7"))
    for _, writer in silent:
        writer.close()
    while server.connections:
        await asyncio.sleep(0.01)
