"""Making a cluster: all of it or nothing, with addresses and pools that make sense on this host."""

import errno
import ipaddress
import random
import stat
from pathlib import Path

import pytest

from common.clock import SystemClock
from common.errors import AlreadyExists, FailedPrecondition, InvalidArgument, Unavailable
from common.net.host_addresses import Network
from manager import bootstrap
from manager.bootstrap import choose_data_path_port, choose_pools, create_cluster
from manager.ca.migration import load_keyring
from manager.config import DataDir, ManagerConfig, check_hosts, check_tls_names, dashboard_config, split_address
from manager.init import configuration
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
    assert [choose_data_path_port(wished) for wished in (0, 1024, 49151)] == [4789, 1024, 49151]
    for wished in (-1, 80, 49152, 70000):
        with pytest.raises(InvalidArgument, match="expected a port from 1024 to 49151"):
            choose_data_path_port(wished)


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


def test_without_a_cluster_the_next_step_is_named(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="swarm-manager init"):
        DataDir(tmp_path).load()


def test_a_damaged_configuration_is_named(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    data.config.write_text('{"node_id": 7}')
    with pytest.raises(Unavailable, match=r"config\.json is damaged"):
        data.load()


def test_the_chosen_pool_overlaps_none_of_the_hosts_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap.host_addresses, "routed_networks", lambda: routes("10.78.0.0/24"))
    assert choose_pools(()) == ("10.128.0.0/9",)
    monkeypatch.setattr(bootstrap.host_addresses, "routed_networks", lambda: routes("192.168.1.0/24"))
    assert choose_pools(()) == ("10.0.0.0/8",)
    with pytest.raises(InvalidArgument, match=r"192\.168\.1\.0/24 on eth0"):
        choose_pools(("192.168.0.0/16",))
    with pytest.raises(InvalidArgument, match="not a range"):
        choose_pools(("nonsense",))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", ("192.0.2.1", 2377)),
        ("192.0.2.1:99", ("192.0.2.1", 99)),
        (":99", ("", 99)),
        ("2001:db8::1", ("2001:db8::1", 2377)),
        ("[2001:db8::1]:99", ("2001:db8::1", 99)),
        ("host.example", ("host.example", 2377)),
    ],
)
def test_addresses(text: str, expected: tuple[str, int]) -> None:
    assert split_address(text) == expected


@pytest.mark.parametrize("text", ["host:", "host:0", "host:65536", "host:x", "host:²"])
def test_bad_addresses(text: str) -> None:
    with pytest.raises(InvalidArgument, match="HOST:PORT"):
        split_address(text)


def test_the_flags_of_init_are_completed() -> None:
    made = configuration("n1", "[2001:db8::1]:99", None, ())
    assert (made.advertise_addr, made.listen_addr) == ("[2001:db8::1]:99", ":99")
    with pytest.raises(InvalidArgument, match="one address"):
        configuration("n1", "0.0.0.0", None, ())
    with pytest.raises(InvalidArgument, match="--advertise-addr eth0: expected an IP address of this host"):
        configuration("n1", "eth0", None, ())
    with pytest.raises(InvalidArgument, match=r"224\.0\.0\.1: expected an IP address"):
        configuration("n1", "224.0.0.1", None, ())


def served(*hosts: str, tls_names: tuple[str, ...] = (), advertise: str = "192.0.2.1:2377") -> ManagerConfig:
    return ManagerConfig(
        node_id="n1", advertise_addr=advertise, listen_addr=":2377", hosts=("unix:///s", *hosts), tls_names=tls_names
    )


def test_where_clients_from_elsewhere_reach_the_api() -> None:
    assert served().api_addresses() == ()
    assert served("tcp://0.0.0.0:2376", "tcp://10.0.0.1:99").api_addresses() == (
        "tcp://192.0.2.1:2376",
        "tcp://10.0.0.1:99",
    )
    six = served("tcp://[::]:2376", "tcp://[fd00::2]:2376", advertise="[fd00::1]:2377")
    assert six.api_addresses() == ("tcp://[fd00::1]:2376", "tcp://[fd00::2]:2376")


def test_what_the_managers_certificate_is_to_be_valid_for() -> None:
    assert served().certificate_names("alpha") == ("192.0.2.1", "alpha")
    names = served("tcp://0.0.0.0:2376", "tcp://[fd00::2]:2376", tls_names=("swarm.example", "alpha"))
    assert names.certificate_names("alpha") == ("192.0.2.1", "fd00::2", "alpha", "swarm.example")
    assert served().certificate_names("no name!") == ("192.0.2.1",)


def test_names_that_no_certificate_can_be_for() -> None:
    assert check_tls_names(["a.example", "10.0.0.1", "fd00::1"]) == ("a.example", "10.0.0.1", "fd00::1")
    for name in ("", "a b", "é", "*", "-a", "https://a"):
        with pytest.raises(InvalidArgument, match="--tls-san"):
            check_tls_names([name])


def test_a_shared_dashboard_is_where_browsers_find_it() -> None:
    config = served("tcp://0.0.0.0:2376").with_dashboard(dashboard_config(["tcp://0.0.0.0:8443"], [], None, None))
    assert config.dashboard_addresses() == ("https://192.0.2.1:8443/dashboard/",)
    assert config.with_dashboard(None) == config
    assert config.with_dashboard(dashboard_config([], [], None, None)).dashboard is None
    named = dashboard_config(["tcp://192.0.2.9:8443"], ["https://dash.example.org"], Path("/c.pem"), Path("/k.pem"))
    config = config.with_dashboard(named)
    assert config.dashboard_addresses() == ("https://dash.example.org/dashboard/",)
    assert "192.0.2.9" in config.certificate_names("alpha")


@pytest.mark.parametrize(
    ("hosts", "origins", "certificate", "why"),
    [
        (["0.0.0.0:8443"], [], None, "expected tcp://"),
        (["tcp://0.0.0.0:x"], [], None, "is not HOST or HOST:PORT"),
        (["tcp://0.0.0.0:1"], ["http://dash"], None, "expected https://HOST"),
        (["tcp://0.0.0.0:1"], ["https://Dash/"], None, "expected https://HOST"),
        (["tcp://0.0.0.0:1"], [], Path("/c.pem"), "belong together"),
        ([], ["https://dash"], None, "say where the dashboard listens"),
    ],
)
def test_a_dashboard_that_cannot_be_is_refused(
    hosts: list[str], origins: list[str], certificate: Path | None, why: str
) -> None:
    with pytest.raises(InvalidArgument, match=why):
        dashboard_config(hosts, origins, certificate, None)


def test_where_the_api_can_listen() -> None:
    good = ("unix:///run/x.sock", "tcp://0.0.0.0:2376", "tcp://[::]:2376", "tcp://127.0.0.1:0")
    assert check_hosts(good) == good
    for bad in ("foo", "unix://x.sock", "tcp://0.0.0.0", "tcp://:2376", "tcp://a:http", "tcp://a:70000", "ssh://a"):
        with pytest.raises(InvalidArgument, match=f"--host '{bad}': expected unix:///PATH, or tcp://ADDRESS:PORT"):
            check_hosts([bad])
