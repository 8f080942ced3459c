"""Clients whose connections were cut are sent a SYN; the lines are conntrack's own."""

import socket
import struct

import pytest

from worker.host.command import Output
from worker.net.apply import conntrack
from worker.net.apply.conntrack import Connection, redirected_connections, syn
from worker.net.plan.host_plan import Purge

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

    monkeypatch.setattr(conntrack.command, "run", run)
    monkeypatch.setattr(conntrack, "challenge", challenged.extend)
    await conntrack.cut(Purge(backends=("10.240.3.1", "10.240.3.2"), udp_ports=(53,)))
    assert challenged == [CLIENT]
