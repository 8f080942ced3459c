"""Making a cluster: all of it or nothing, with addresses and pools that make sense on this host."""

import errno
import ipaddress
import random
import stat
from pathlib import Path

import pytest

from common.clock import SystemClock
from common.errors import AlreadyExists, InvalidArgument, Unavailable
from common.net import host_addresses
from common.net.host_addresses import Network
from manager.bootstrap import choose_data_path_port, choose_pools, create_cluster
from manager.ca.migration import load_keyring
from manager.config import DataDir, ManagerConfig
from manager.store.backends.sqlite import SqliteBackend
from manager.store.store import Store

CONFIG = ManagerConfig(node_id="n1", advertise_addr="192.0.2.1:2377", listen_addr=":2377")


def routes(*networks: str) -> list[tuple[Network, str]]:
    return [(ipaddress.ip_network(network), "eth0") for network in networks]


async def create(data: DataDir, pools: tuple[str, ...] = ("10.0.0.0/8",)) -> None:
    await create_cluster(data, CONFIG, pools, SystemClock(), random.Random(1))


async def test_a_new_cluster_has_its_records_and_private_files(tmp_path: Path) -> None:
    data = DataDir(tmp_path / "manager")
    await create(data)
    assert data.load() == CONFIG
    assert all(stat.S_IMODE(f.stat().st_mode) == 0o600 for f in data.path.rglob("*") if f.is_file())
    async with Store(SqliteBackend(data.store, load_keyring(data).seal()), SystemClock()) as store:
        cluster = store.view.cluster
        assert cluster.join_tokens.worker.startswith("SWMTKN-1-")
        assert cluster.join_tokens.worker != cluster.join_tokens.manager
        (node,) = store.view.nodes
        assert (node.id, node.spec.role, node.agent) == ("n1", "manager", False)
        (ingress,) = store.view.networks
        assert ingress.spec.ingress


async def test_the_data_path_port_is_the_clusters_from_the_start(tmp_path: Path) -> None:
    data = DataDir(tmp_path / "manager")
    await create_cluster(data, CONFIG, ("10.0.0.0/8",), SystemClock(), random.Random(1), data_path_port=5789)
    async with Store(SqliteBackend(data.store, load_keyring(data).seal()), SystemClock()) as store:
        assert store.view.cluster.data_path_port == 5789


def test_data_path_ports_are_those_of_docker() -> None:
    assert [choose_data_path_port(port) for port in (0, 1024, 49151)] == [4789, 1024, 49151]
    for port in (-1, 80, 49152, 70000):
        with pytest.raises(InvalidArgument, match="expected a port from 1024 to 49151"):
            choose_data_path_port(port)


async def test_a_second_init_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    data = DataDir(tmp_path / "manager")
    await create(data)
    before = {f: f.read_bytes() for f in data.path.rglob("*") if f.is_file()}
    with pytest.raises(AlreadyExists, match="already the manager of a cluster"):
        await create(data)
    assert {f: f.read_bytes() for f in data.path.rglob("*") if f.is_file()} == before


async def test_an_init_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: object) -> None:
        raise Unavailable("the disk is full")

    monkeypatch.setattr(SqliteBackend, "commit", full)
    data = DataDir(tmp_path / "manager")
    with pytest.raises(Unavailable, match="disk is full"):
        await create(data)
    assert not data.path.exists()


async def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", "config.json")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(Unavailable, match=f"cannot write to the data directory {tmp_path}: Read-only file system"):
        await create(DataDir(tmp_path))


async def test_a_broken_init_does_not_block_the_next_and_spares_others(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    data.store.write_bytes(b"half a database")
    (tmp_path / "notes.txt").write_text("mine")
    await create(data)
    assert data.initialised()
    data.clear()
    assert [f.name for f in tmp_path.iterdir()] == ["notes.txt"]


def test_the_chosen_pool_overlaps_none_of_the_hosts_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_addresses, "routed_networks", lambda: routes("10.78.0.0/24"))
    assert choose_pools(()) == ("10.128.0.0/9",)
    monkeypatch.setattr(host_addresses, "routed_networks", lambda: routes("192.168.1.0/24"))
    assert choose_pools(()) == ("10.0.0.0/8",)
    with pytest.raises(InvalidArgument, match=r"192\.168\.1\.0/24 on eth0"):
        choose_pools(("192.168.0.0/16",))
    with pytest.raises(InvalidArgument, match="not a range"):
        choose_pools(("nonsense",))
