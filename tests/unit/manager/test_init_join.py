"""Hosts that do not become managers after all: nothing of them is left, there or in the cluster."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from common.clock import SystemClock
from common.errors import Unavailable
from common.tls import CredentialFiles
from common.wire.handshake import LedElsewhere
from common.wire.manager_messages import Elsewhere
from manager import app, init, init_join
from manager.init_join import NewManager, join_cluster, take_back
from manager.main import cli
from tests.e2e import ci
from tests.fakes.real_managers import RealManager, RealManagers, free_address
from tests.unit.manager.test_external_etcd import Pki, etcd, flags

pytestmark = pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd is not installed")
CLOCK = SystemClock()


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make one whose path is short enough for a socket's."""
    monkeypatch.setattr(app, "settle_memory", lambda: None)
    with tempfile.TemporaryDirectory(prefix="join-") as path:
        yield Path(path)


class Joining:
    """A cluster of one manager, and a host beside it that is to be the second."""

    def __init__(self, cluster: RealManagers, folder: Path) -> None:
        (self.first,) = cluster.all
        with contextlib.ExitStack() as held:
            self.host = RealManager(folder / "second", free_address(held), free_address(held))

    async def token(self) -> str:
        return str((await self.first.ask("GET", "/swarm"))[1]["JoinTokens"]["Manager"])

    async def join(self, *etcd_files: str) -> None:
        host = self.host
        new = NewManager(
            data=host.data, config=host.config, peer_addr=host.peer_address, clock=CLOCK, etcd_files=etcd_files
        )
        host.config = await join_cluster(new, await self.token(), self.first.address)

    async def check_nothing_left(self) -> None:
        """Check that the first manager decides alone, as before."""
        _, nodes = await self.first.ask("GET", "/nodes")
        assert [node["ManagerStatus"]["Addr"] for node in nodes] == [self.first.address]
        status, said = await self.first.ask("POST", "/configs/create", {"Name": "one", "Data": "YQ=="})
        assert status == 201, said
        data = self.host.data
        assert not any(each.exists() for each in (data.config, data.key, data.certificates, data.etcd))


@pytest.fixture
async def joining(folder: Path) -> AsyncIterator[Joining]:
    async with RealManagers(folder, 1).running() as cluster:
        yield Joining(cluster, folder)


@ci.long
async def test_files_that_cannot_be_used_leave_no_manager(folder: Path) -> None:
    pki = Pki(folder)
    async with (
        etcd(folder, pki, "--max-txn-ops=20000") as endpoint,
        RealManagers(folder, 1, flags(pki, endpoint)).running() as cluster,
    ):
        joining = Joining(cluster, folder)
        with pytest.raises(Unavailable, match="cannot use the files for etcd") as failed:
            await joining.join(f"{folder}/none.crt")
        assert "could be told" not in failed.value.message
        await joining.check_nothing_left()


async def check_refused_where_taken(joining: Joining, address: str, words: str) -> None:
    """Check that a join fails with these words, and leaves nothing, while another program listens at an address."""
    host, _, port = address.rpartition(":")
    with socket.create_server((host, int(port))), pytest.raises(Unavailable, match=words):
        await joining.join()
    await joining.check_nothing_left()


async def test_where_another_listens_nobody_is_asked(joining: Joining) -> None:
    address = joining.host.address
    await check_refused_where_taken(joining, address, f"cannot listen on {address}: .*: this host's manager is to")


@ci.long
async def test_where_etcd_cannot_listen_no_manager_is_left(joining: Joining) -> None:
    address = joining.host.peer_address
    await check_refused_where_taken(joining, address, f"cannot listen on {address}")


@ci.long
@pytest.mark.timeout(120)
async def test_a_daemon_that_does_not_start_takes_its_vote_along(
    joining: Joining, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two members of which one is gone decide nothing any more, not even that it is to go."""
    monkeypatch.setattr(init, "ETCD_PORT", int(joining.host.peer_address.rpartition(":")[2]))
    where = ["--data-dir", str(joining.host.data.path), "--advertise-addr", joining.host.address]
    taken = folder / "taken"
    (taken / "by").mkdir(parents=True)
    api = ["-H", f"unix://{taken}"]
    command = ["join", "--token", await joining.token(), *where, *api, joining.first.address]
    result = await asyncio.to_thread(CliRunner().invoke, cli, command)
    assert (result.exit_code, str(taken) in result.output) == (1, True), result.output
    assert "could be told" not in result.output
    await joining.check_nothing_left()


async def test_the_leader_that_another_names_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []

    async def withdraw(host: str, port: int, _: ssl.SSLContext) -> None:
        if port != 3:
            raise LedElsewhere(Elsewhere(leader="192.0.2.1:3"))
        heard.append(f"{host}:{port}")

    monkeypatch.setattr(init_join, "withdraw", withdraw)
    monkeypatch.setattr(init_join, "client_context", lambda _: None)
    assert await init_join._tell_leader(CredentialFiles(tmp_path), "192.0.2.1:1") == ""
    assert heard == ["192.0.2.1:3"]


@ci.long
@pytest.mark.timeout(120)
async def test_a_cluster_that_cannot_be_told_is_named(joining: Joining, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(init_join, "_TAKE_BACK_SECONDS", 1.0)
    await joining.join()
    await joining.first.stop()
    why_not_told = await take_back(joining.host.data, joining.host.config, joining.first.address, CLOCK)
    assert joining.first.address in why_not_told
