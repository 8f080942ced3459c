"""The containers' name server against anything that may be sent to it, and against dnspython."""

import asyncio
import random
import socket
from contextlib import suppress
from ipaddress import IPv4Address
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
from hypothesis import given
from hypothesis import strategies as st

from worker.net.dns.forward import Forwarder
from worker.net.dns.resolv_conf import HostResolution
from worker.net.dns.server import DnsServer
from worker.net.resolve import answers, messages
from worker.net.resolve.answers import Forward
from worker.net.resolve.zones import Client, Records, Zone, Zones

PACKETS = 20_000
HERE = "127.0.0.1"
LABELS = st.text("abcXYZ019-_", min_size=1, max_size=63)
NAMES = st.one_of(
    st.sampled_from(["web", "WEB", "tasks.web", "1.web", "2.Web", "9.web", "web.blue", "nosuch", "a.example"]),
    st.lists(LABELS, max_size=4).map(".".join).filter(lambda name: len(name) < 240),
)
KINDS = st.sampled_from(["A", "AAAA", "PTR", "MX", "ANY", "SRV", "HTTPS", "TXT"])


def zones_of(addresses: list[bytes]) -> Zones:
    members = {str(number): (address,) for number, address in enumerate(addresses, 1)}
    records = Records("web", "", (), tuple(addresses), tuple(addresses), members, {}, {})
    zone = Zone("blue", (records,), {"web": (records,)})
    return Zones(frozenset({HERE}), {"n": zone}, {HERE: Client(("n",))})


@given(
    name=NAMES,
    kind=KINDS,
    payload=st.one_of(st.none(), st.integers(0, 65535)),
    addresses=st.lists(st.binary(min_size=4, max_size=4), max_size=120, unique=True),
    limit=st.one_of(st.none(), st.just(65535)),
    seed=st.integers(0, 100),
)
def test_every_answer_is_a_right_message(name, kind, payload, addresses, limit, seed):
    """dnspython reads it, it answers the question in the same spelling, fits its size, and has no invented address."""
    edns = {} if payload is None else {"use_edns": 0, "payload": payload}
    message = dns.message.make_query(dns.name.from_text(name), kind, **edns)
    query = messages.parse(message.to_wire())
    assert query is not None
    assert query.rcode == messages.NOERROR
    assert query.name == name.lower()
    size = limit or query.datagram_size
    reply = answers.reply(query, zones_of(addresses), HERE, size, random.Random(seed))
    if isinstance(reply, Forward):
        assert "." in name or not name
        return
    assert len(reply) <= size
    answer = dns.message.from_wire(reply)
    assert message.is_response(answer)
    assert answer.question[0].name.to_text() == message.question[0].name.to_text()
    found = [IPv4Address(record.address).packed for rrset in answer.answer for record in rrset]
    assert set(found) <= set(addresses)
    if kind in ("A", "ANY") and name.lower() in ("web", "tasks.web", "web.blue"):
        cut = bool(answer.flags & dns.flags.TC)
        assert cut == (len(found) < len(addresses))
        assert not cut or len(reply) > size - 16


def mutations(rng: random.Random) -> bytes:
    """Return noise, or a good query with bytes changed, cut out or added."""
    if rng.random() < 0.2:
        return rng.randbytes(rng.randrange(600))
    edns: dict[str, Any] = {"use_edns": 0, "payload": rng.randrange(65536)} if rng.random() < 0.5 else {}
    name = rng.choice(["web.", "tasks.web.", "1.web.", "nosuch.", "a." * 60, "7.0.0.10.in-addr.arpa."])
    packet = bytearray(dns.message.make_query(name, rng.choice(["A", "PTR", "AAAA"]), **edns).to_wire())
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(packet) or 1)
        match rng.randrange(4):
            case 0:
                packet[at : at + 1] = bytes([rng.choice([0, 1, 0x3F, 0x40, 0xC0, 0xFF, rng.randrange(256)])])
            case 1:
                del packet[at : at + rng.randrange(1, 5)]
            case 2:
                packet[at:at] = rng.randbytes(rng.randrange(1, 70))
            case 3:
                del packet[max(1, at) :]
    return bytes(packet)


def test_no_packet_breaks_the_reader():
    """Whatever comes: an answer that a client can read, to its own number, or silence."""
    rng = random.Random(7)
    zones = zones_of([b"\x0a\0\0\x01", b"\x0a\0\0\x02"])
    silent = forwarded = 0
    for _ in range(PACKETS):
        packet = mutations(rng)
        query = messages.parse(packet)
        if query is None:
            silent += 1
            assert len(packet) < 12 or packet[2] & 0x80
            continue
        reply = answers.reply(query, zones, HERE, query.datagram_size, rng)
        if isinstance(reply, Forward):
            forwarded += 1
            continue
        assert reply[:2] == packet[:2]
        assert len(reply) <= query.datagram_size
        dns.message.from_wire(reply)
    assert 0 < silent + forwarded < PACKETS / 2


async def test_a_server_under_malformed_packets_goes_on_answering(tmp_path):
    """Datagrams and connections full of nonsense: no task is left of it, and good questions are answered."""
    rng = random.Random(11)
    host = tmp_path / "resolv.conf"
    host.write_text("")
    server = DnsServer(Forwarder(HostResolution(host), rng), rng, port=0)
    server.update(zones_of([b"\x0a\0\0\x01"]))
    running = asyncio.create_task(server.run())
    await asyncio.sleep(0)
    while not server.listens_at(HERE):  # the port that was free for datagrams was not for streams: another one
        server.listen()
    port = server._sockets[HERE][0].getsockname()[1]
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as client:
        client.connect((HERE, port))
        for number in range(2000):
            client.send(mutations(rng))
            if number % 50 == 0:
                await answered(loop, client, number)
    for _ in range(100):
        reader, writer = await asyncio.open_connection(HERE, port)
        nonsense = mutations(rng)
        writer.write(rng.choice([len(nonsense).to_bytes(2), rng.randbytes(2)]) + nonsense)
        writer.write_eof()
        with suppress(ConnectionResetError):
            await reader.read()
        writer.close()
    async with asyncio.timeout(10):
        while server._jobs:
            await asyncio.sleep(0.01)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def answered(loop: asyncio.AbstractEventLoop, client: socket.socket, number: int) -> None:
    message = dns.message.make_query("web", "A", id=number)
    async with asyncio.timeout(10):
        await loop.sock_sendall(client, message.to_wire())
        while True:
            with suppress(dns.exception.DNSException):
                answer = dns.message.from_wire(await loop.sock_recv(client, 65535))
                if message.is_response(answer) and answer.answer:
                    return
