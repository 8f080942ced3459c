"""Published ports are kept from other programs, and left to those that have them."""

import errno
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.ports import free_port
from worker.intake.addresses import port
from worker.net.ports.loopback import LoopbackRelay
from worker.net.ports.reservations import PortReservations


class Carried(LoopbackRelay):
    """A relay that is not run; `targets`: where it would carry to."""

    @property
    def targets(self) -> list[tuple[str, int]]:
        return list(self._targets.values())


@pytest.fixture
def other() -> Iterator[tuple[socket.socket, int]]:
    """Another program's listening socket, and its port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening, listening.getsockname()[1]


@pytest.fixture
def reservations() -> Iterator[PortReservations]:
    ports = PortReservations(LoopbackRelay())
    yield ports
    ports.close()


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_nobody_else_gets_a_reserved_port_until_it_is_given_back(reservations: PortReservations, protocol: str):
    number = free_port()
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    reservations.keep({port(protocol, number, "127.0.0.1")})
    with socket.socket(socket.AF_INET, kind) as late:
        with pytest.raises(OSError, match="in use") as refused:
            late.bind(("127.0.0.1", number))
        assert refused.value.errno == errno.EADDRINUSE
        reservations.keep(())
        late.bind(("127.0.0.1", number))


def test_a_reserved_port_refuses_instead_of_letting_clients_wait(reservations: PortReservations):
    number = free_port()
    reservations.keep({port("tcp", number, "")})
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", number), timeout=2)


def test_a_port_of_another_program_is_held_until_that_ends(
    reservations: PortReservations, other: tuple[socket.socket, int], caplog: pytest.LogCaptureFixture
):
    listening, number = other
    taken = port("tcp", number, "127.0.0.1")
    reservations.keep({taken})
    reservations.keep({taken})
    assert reservations.held == {taken}
    assert len([record for record in caplog.records if "another program" in record.message]) == 1
    listening.close()
    reservations.keep({taken})
    assert not reservations.held


def test_an_address_of_another_host_needs_no_reservation(reservations: PortReservations):
    reservations.keep({port("tcp", 8080, "192.0.2.1"), port("sctp", 8080, "")})
    assert not reservations.held


def test_a_port_may_be_of_one_ipv6_address(reservations: PortReservations):
    number = free_port()
    reservations.keep({port("tcp", number, "::1")})
    with socket.socket(socket.AF_INET6) as late, pytest.raises(OSError, match="in use"):
        late.bind(("::1", number))


@pytest.mark.parametrize(("address", "carried"), [("", "127.0.0.1"), ("::1", "127.0.0.6")])
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_what_comes_to_the_loopback_address_is_carried(protocol: str, address: str, carried: str):
    relay, number = Carried(), free_port()
    ports = PortReservations(relay)
    ports.keep({port(protocol, number, address)})
    assert relay.targets == [(carried, number)]
    ports.close()
    assert relay.targets == []


def test_nobody_else_gets_the_ipv6_side_of_a_port(reservations: PortReservations):
    number = free_port()
    reservations.keep({port("tcp", number, "")})
    with socket.socket(socket.AF_INET6) as late, pytest.raises(OSError, match="in use"):
        late.bind(("::", number))


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_half_of_the_files_are_left_to_the_rest_of_the_worker(
    reservations: PortReservations, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """A service may publish thousands of ports: the worker must still reach its manager and its engine."""
    monkeypatch.setattr("worker.net.ports.reservations.resource.getrlimit", lambda _: (20, 20))
    wanted = {port("udp", number, "127.0.0.1") for number in range(40_000, 40_030)}
    before = open_files()
    for _ in range(2):
        reservations.keep(wanted)
        assert open_files() - before <= 10
    assert ["21 published ports are not kept" in each.message for each in caplog.records] == [True]
    few = set(sorted(wanted, key=str)[-9:])
    reservations.keep(few)
    reservations.keep(wanted)
    assert len(caplog.records) == 2
