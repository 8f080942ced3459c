"""Which of conntrack's records lead to nobody, and clients that are sent a SYN when their connections are cut."""

import random
import socket
import struct
from ipaddress import ip_network
from pathlib import Path

import pytest

from common.clock import SystemClock
from tests.fakes.engine import FakeEngine
from tests.unit.worker.net.worlds import backend, endpoint, facts, world
from worker.host import command
from worker.host.command import Output
from worker.net.apply import conntrack
from worker.net.apply.conntrack import Connection, cut_forgotten, forgotten, redirected_connections, syn
from worker.net.dns.service import ClusterDns
from worker.net.ipam import TaskAddresses
from worker.net.plan.host_plan import Purge, plan
from worker.net.reconciler import HostSurvey, NetworkReconciler

RANGES = (ip_network("10.1.0.0/16"), ip_network("10.240.0.0/12"), ip_network("fd00:20::/64"))
IPV4 = (
    "tcp      6 431999 ESTABLISHED src=10.1.16.5 dst=10.1.0.9 sport=47650 dport=80 "
    "src=10.1.17.3 dst=10.1.16.5 sport=80 dport=47650 [ASSURED] mark=0 use=1\n"
    "tcp      6 431999 ESTABLISHED src=10.1.16.5 dst=10.1.0.9 sport=47651 dport=80 "
    "src=10.1.17.4 dst=10.1.16.5 sport=80 dport=47651 [ASSURED] mark=0 use=1\n"
    "udp      17 29 src=192.168.7.1 dst=192.168.7.2 sport=36708 dport=53 [UNREPLIED] "
    "src=10.240.2.7 dst=192.168.7.1 sport=53 dport=36708 mark=0 use=1\n"
    "tcp      6 12 TIME_WAIT src=192.168.7.1 dst=192.168.7.2 sport=36709 dport=8080 "
    "src=172.17.0.2 dst=192.168.7.1 sport=80 dport=36709 [ASSURED] mark=0 use=1\n"
)
IPV6 = (
    "udp      17 29 src=fd00:77::2 dst=fd00:77::3 sport=36708 dport=9 [UNREPLIED] "
    "src=fd00:20::af0:207 dst=fd00:77::2 sport=7777 dport=36708 mark=0 use=1\n"
)


def test_connections_to_our_unused_addresses_are_forgotten():
    assert forgotten(IPV4, RANGES, {"10.1.17.3"}) == ("10.1.17.4", "10.240.2.7")
    assert forgotten(IPV6, RANGES, ()) == ("fd00:20::af0:207",)


def test_other_programs_connections_and_live_ones_are_left_alone():
    known = {"10.1.17.3", "10.1.17.4", "10.240.2.7"}
    assert forgotten(IPV4, RANGES, known) == ()
    assert forgotten("", RANGES, ()) == ()


async def test_both_families_are_listed_and_each_address_is_cut_once(monkeypatch: pytest.MonkeyPatch):
    calls: list[str] = []

    async def run(*argv: str, **_: object) -> Output:
        calls.append(" ".join(argv))
        return Output(0, {"ipv4": IPV4, "ipv6": IPV6}.get(argv[-1], ""), "")

    monkeypatch.setattr(command, "run", run)
    await cut_forgotten(RANGES, {"10.1.17.3"})
    assert calls == [
        "conntrack -L --dst-nat -f ipv4",
        "conntrack -D --reply-src 10.1.17.4",
        "conntrack -D --reply-src 10.240.2.7",
        "conntrack -L --dst-nat -f ipv6",
        "conntrack -D --reply-src fd00:20::af0:207",
    ]


@pytest.mark.parametrize("code", [0, 1])
async def test_of_many_addresses_those_are_cut_that_something_leads_to(monkeypatch: pytest.MonkeyPatch, code: int):
    """All of them, where that cannot be told."""
    cut: list[str] = []

    async def run(*argv: str, **_: object) -> Output:
        if "-D" in argv:
            cut.append(argv[-1])
            return Output(0, "", "")
        return Output(code, {"ipv4": IPV4, "ipv6": IPV6}[argv[-1]], "")

    monkeypatch.setattr(command, "run", run)
    gone = ("10.1.17.1", "10.1.17.2", "10.1.17.3", "10.240.2.7", "10.240.2.8", "fd00:20::af0:207")
    await conntrack.cut(Purge(backends=gone))
    assert cut == (list(gone) if code else ["10.1.17.3", "10.240.2.7", "fd00:20::af0:207"])
    cut.clear()
    await conntrack.cut(Purge(backends=gone[:3]))
    assert cut == list(gone[:3])


async def test_connections_are_cut_once_manager_and_engine_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cut: list[str] = []

    async def run(*argv: str, **_: object) -> Output:
        cut.extend(argv[3:] if "-D" in argv else ())
        return Output(0, IPV4 if argv[-1] == "ipv4" else "", "")

    monkeypatch.setattr(command, "run", run)
    clock, dns = SystemClock(), ClusterDns(tmp_path / "resolv", random.Random(1))
    addresses = TaskAddresses(clock)
    reconciler = NetworkReconciler(FakeEngine(), HostSurvey("node1"), addresses, dns, tmp_path / "n")
    addresses.hold("guest", "blue", "10.240.2.7")
    web = endpoint(backend(3, node=2))  # 10.1.17.3

    async def look(keys: tuple[()] | None, *, settled: bool = True) -> None:
        reconciler.plan = plan(world(web, tunnel_keys=keys), (), (), facts())
        reconciler.passes.note()
        await reconciler.passes.end(await reconciler.passes.begin(), settled=settled, ruled=False)
        await reconciler._cut_forgotten()

    await look(())  # the engine has not said which containers there are
    reconciler.addresses_known.set()
    await look(None)  # this is what was on the disk
    await look((), settled=False)
    assert cut == []
    await look(())
    assert cut == ["10.1.17.4"]
    await look(())
    assert cut == ["10.1.17.4"]


CUT = (
    "tcp      6 431999 ESTABLISHED src=192.168.7.9 dst=192.168.7.1 sport=47650 dport=8080 "
    "src=10.240.3.2 dst=192.168.7.9 sport=80 dport=47650 [ASSURED] mark=0 use=1\n"
)


CUT6 = (
    "tcp      6 100 CLOSE_WAIT src=fd00:77::9 dst=fd00:77::1 sport=47651 dport=8080 "
    "src=fd00:20::af0:302 dst=fd00:77::9 sport=80 dport=47651 [ASSURED] mark=0 use=1\n"
)


# Not led anywhere; not yet open, or closed; no TCP.
OTHERS = (
    "tcp      6 431999 ESTABLISHED src=10.1.16.5 dst=10.240.3.2 sport=47652 dport=80 "
    "src=10.240.3.2 dst=10.1.16.5 sport=80 dport=47652 [ASSURED] mark=0 use=1\n"
    "tcp      6 119 SYN_SENT src=192.168.7.9 dst=192.168.7.1 sport=47653 dport=8080 [UNREPLIED] "
    "src=10.240.3.2 dst=192.168.7.9 sport=80 dport=47653 mark=0 use=1\n"
    "tcp      6 12 TIME_WAIT src=192.168.7.9 dst=192.168.7.1 sport=47654 dport=8080 "
    "src=10.240.3.2 dst=192.168.7.9 sport=80 dport=47654 [ASSURED] mark=0 use=1\n"
    "udp      17 29 src=192.168.7.9 dst=192.168.7.1 sport=36708 dport=8080 "
    "src=10.240.3.2 dst=192.168.7.9 sport=80 dport=36708 [ASSURED] mark=0 use=1\n"
)


CLIENT = Connection(("192.168.7.9", 47650), ("192.168.7.1", 8080))


CLIENT6 = Connection(("fd00:77::9", 47651), ("fd00:77::1", 8080))


def test_open_connections_that_were_led_elsewhere_are_found():
    assert redirected_connections(OTHERS + CUT + OTHERS + CUT6) == (CLIENT, CLIENT6)
    assert redirected_connections("") == ()


@pytest.mark.parametrize(("connection", "header"), [(CLIENT, 20), (CLIENT6, 40)])
def test_the_packet_is_the_servers_syn_with_a_valid_checksum(connection: Connection, header: int):
    packet = syn(connection)
    family, size = (socket.AF_INET6, 16) if header == 40 else (socket.AF_INET, 4)
    addresses, segment = packet[header - 2 * size : header], packet[header:]
    assert addresses == socket.inet_pton(family, connection.server[0]) + socket.inet_pton(family, connection.client[0])
    assert packet[0] >> 4 == (6 if header == 40 else 4)
    assert struct.unpack("!HH", segment[:4]) == (connection.server[1], connection.client[1])
    assert (segment[12] >> 4, segment[13]) == (5, 0x02), "no options, SYN alone"
    summed = addresses + struct.pack("!HH", socket.IPPROTO_TCP, len(segment)) + segment
    total = sum(struct.unpack(f"!{len(summed) // 2}H", summed))
    assert total % 0xFFFF == 0, "the checksum makes the whole a multiple of that (RFC 1071)"


async def test_clients_of_what_was_cut_are_challenged(monkeypatch: pytest.MonkeyPatch):
    challenged: list[Connection] = []

    async def run(*argv: str, **_: object) -> Output:
        return Output(0, CUT if argv[-1] == "10.240.3.2" else "", "")

    monkeypatch.setattr(command, "run", run)
    monkeypatch.setattr(conntrack, "challenge", challenged.extend)
    await conntrack.cut(Purge(backends=("10.240.3.1", "10.240.3.2"), udp_ports=(53,)))
    assert challenged == [CLIENT]
