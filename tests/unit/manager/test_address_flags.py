"""What becomes of the addresses that a manager is told: at first, after a restore, and on another host."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from common.errors import InvalidArgument
from common.net import host_addresses
from manager.address_flags import AddressFlags, foreign_address
from manager.config import DashboardConfig
from tests.unit.manager.test_backup import CONFIG


def test_the_flags_of_init_are_completed() -> None:
    made = AddressFlags("[2001:db8::1]:99").configure("n1")
    assert (made.advertise_addr, made.listen_addr) == ("[2001:db8::1]:99", ":99")
    for advertise, port in (("192.0.2.1", 2399), ("192.0.2.1:2377", 2377)):
        made = AddressFlags(advertise, "192.0.2.1:2399").configure("n1")
        assert (made.advertise_addr, made.listen_addr) == (f"192.0.2.1:{port}", "192.0.2.1:2399")
    with pytest.raises(InvalidArgument, match="one address"):
        AddressFlags("0.0.0.0").configure("n1")
    with pytest.raises(InvalidArgument, match="--advertise-addr eth0: expected an IP address of this host"):
        AddressFlags("eth0").configure("n1")
    with pytest.raises(InvalidArgument, match=r"224\.0\.0\.1: expected an IP address"):
        AddressFlags("224.0.0.1").configure("n1")


@pytest.mark.parametrize(
    ("own", "advertise", "listen", "expected"),
    [
        (["192.0.2.1", "10.1.1.1"], None, None, ("192.0.2.1:2377", ":2377")),
        (["192.0.2.2"], None, None, ("192.0.2.2:2377", ":2377")),
        (["192.0.2.2"], "192.0.2.3", None, ("192.0.2.3:2377", ":2377")),
        (["192.0.2.1"], "192.0.2.1:2399", None, ("192.0.2.1:2399", ":2399")),
        (["192.0.2.2"], "192.0.2.2", "0.0.0.0:2400", ("192.0.2.2:2400", "0.0.0.0:2400")),
        (["192.0.2.2"], "192.0.2.2:2377", "0.0.0.0:2400", ("192.0.2.2:2377", "0.0.0.0:2400")),
        (["192.0.2.1"], None, "192.0.2.1", ("192.0.2.1:2377", "192.0.2.1:2377")),
    ],
)
def test_what_is_not_given_is_as_before(
    monkeypatch: pytest.MonkeyPatch,
    own: list[str],
    advertise: str | None,
    listen: str | None,
    expected: tuple[str, str],
):
    monkeypatch.setattr(host_addresses, "addresses", lambda: dict.fromkeys(own, "eth0"))
    config = AddressFlags(advertise, listen).configure_again(CONFIG)
    assert (config.advertise_addr, config.listen_addr) == expected
    assert (config.hosts, config.tls_names) == (CONFIG.hosts, CONFIG.tls_names)


@pytest.mark.parametrize(
    ("own", "hosts", "there", "expected"),
    [
        (["192.0.2.1"], (), True, (("tcp://192.0.2.1:8443", "tcp://0.0.0.0:8444"), True)),
        (["192.0.2.1"], (), False, (("tcp://192.0.2.1:8443", "tcp://0.0.0.0:8444"), False)),
        (["192.0.2.2"], (), True, (("tcp://0.0.0.0:8444",), True)),
        (["192.0.2.1"], ("unix:///tmp/try.sock",), True, None),
    ],
)
def test_the_shared_dashboard_stays_where_it_can(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    own: list[str],
    hosts: tuple[str, ...],
    there: bool,
    expected: tuple[tuple[str, ...], bool] | None,
):
    monkeypatch.setattr(host_addresses, "addresses", lambda: dict.fromkeys(own, "eth0"))
    files = [tmp_path / name for name in ("cert.pem", "key.pem")]
    for file in files if there else ():
        file.write_text("PEM")
    dashboard = DashboardConfig(
        hosts=("tcp://192.0.2.1:8443", "tcp://0.0.0.0:8444"),
        origins=("https://dash.example.org",),
        certificate=str(files[0]),
        key=str(files[1]),
    )
    before = replace(CONFIG, dashboard=dashboard)
    found = AddressFlags(own[0], hosts=hosts).configure_again(before).dashboard
    kept = None if found is None else (found.hosts, bool(found.certificate and found.key))
    assert kept == expected
    assert found is None or found.origins == dashboard.origins


def test_a_dashboard_without_an_address_here_is_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(host_addresses, "addresses", lambda: {"192.0.2.2": "eth0"})
    before = replace(CONFIG, dashboard=DashboardConfig(hosts=("tcp://192.0.2.1:8443",)))
    assert AddressFlags().configure_again(before).dashboard is None


@pytest.mark.parametrize("address", ["127.0.0.1:2377", "[::1]:2377"])
def test_an_address_of_this_host_is_fine(address: str) -> None:
    assert foreign_address(address) == ""


@pytest.mark.parametrize("address", ["192.0.2.1:2377", "[2001:db8::1]:2377"])
def test_an_address_of_another_host_is_warned_of(address: str) -> None:
    assert "is not an address of this host: other hosts find the manager only where" in foreign_address(address)
