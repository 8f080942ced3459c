"""A manager's configuration: addresses, names, where clients and browsers find it, and its file."""

from pathlib import Path

import pytest

from common.errors import FailedPrecondition, InvalidArgument, Unavailable
from manager.config import DataDir, ManagerConfig, check_hosts, check_tls_names, dashboard_config, split_address


def test_without_a_cluster_the_next_step_is_named(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="swarm-manager init"):
        DataDir(tmp_path).load()


def test_a_damaged_configuration_is_named(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    data.config.write_text('{"node_id": 7}')
    with pytest.raises(Unavailable, match=r"config\.json is damaged"):
        data.load()


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
