"""The server on loopback addresses, with name servers of the outside that the tests play themselves."""

import asyncio
import errno
import logging
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from tests.fakes.loop_turns import turns
from worker.net.dns import forward
from worker.net.dns import server as dns_server
from worker.net.dns.forward import Forwarder
from worker.net.dns.resolv_conf import HostResolution
from worker.net.dns.server import DnsServer, explain
from worker.net.resolve import answers as dns_answers
from worker.net.resolve import messages
from worker.net.resolve.zones import Client, Records, Zone, Zones

HERE, OTHER, DEAD, UPSTREAM = "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"


def zones(*addresses: str, listen=(HERE,), nameservers=()) -> Zones:
    packed = tuple(socket.inet_aton(address) for address in addresses)
    records = Records("web", "", (), packed, packed, {}, {}, {})
    return Zones(
        listen=frozenset(listen),
        zones={"n": Zone("blue", (records,), {"web": (records,)})},
        clients={HERE: Client(("n",), nameservers=nameservers)},
    )


class Upstream(asyncio.DatagramProtocol):
    """Answers with its own name, or as `reply` says; None is silence."""

    def __init__(self, reply: Callable[[dns.message.Message], bytes | None]) -> None:
        self.reply = reply
        self.asked: list[dns.message.Message] = []

    def connection_made(self, transport) -> None:
        self.transport = transport

    def datagram_received(self, data, sender) -> None:
        message = dns.message.from_wire(data)
        self.asked.append(message)
        self.client = sender
        answer = self.reply(message)
        if answer is not None:
            self.transport.sendto(answer, sender)


def plain(message: dns.message.Message, address="192.0.2.7", flags=0) -> bytes:
    answer = dns.message.make_response(message)
    answer.flags |= flags
    name = message.question[0].name.to_text()
    answer.answer.append(dns.rrset.from_text(name, 60, "IN", "A", address))
    return answer.to_wire()


class World:
    """A server, its host's file, and upstream servers at one port of several loopback addresses."""

    def __init__(self, folder) -> None:
        self.file = folder / "resolv.conf"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((UPSTREAM, 0))
            self.upstream_port = probe.getsockname()[1]
        self.servers_are(UPSTREAM)
        forwarder = Forwarder(HostResolution(self.file), random.Random(1), self.upstream_port)
        self.server = DnsServer(forwarder, random.Random(2), port=0)

    def servers_are(self, *addresses: str) -> None:
        self.file.write_text("".join(f"nameserver {address}\n" for address in addresses))

    @property
    def port(self) -> int:
        return self.server._sockets[HERE][0].getsockname()[1]

    @asynccontextmanager
    async def upstream(self, reply=plain, address=UPSTREAM) -> AsyncIterator[Upstream]:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_datagram_endpoint(
            lambda: Upstream(reply), local_addr=(address, self.upstream_port)
        )
        try:
            yield protocol
        finally:
            transport.close()
            await asyncio.sleep(0)  # it closes its socket only then

    async def ask(self, name: str, kind="A", *, tcp=False, timeout=3.0, **more) -> dns.message.Message:
        how = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
        message = dns.message.make_query(name, kind, **more)
        return await how(message, HERE, port=self.port, source=HERE, timeout=timeout)


def addresses(message: dns.message.Message) -> list[str]:
    return [record.address for rrset in message.answer for record in rrset]


@pytest.fixture
async def world(tmp_path):
    world = World(tmp_path)
    world.server.update(zones("10.0.0.10"))
    running = asyncio.create_task(world.server.run())
    await asyncio.sleep(0)
    while not world.server.listens_at(HERE):  # the port that was free for datagrams was not for streams: another one
        world.server.listen()
    yield world
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert world.server._sockets == {}
    assert not world.server._jobs


async def test_answers_by_datagram_and_by_stream(world):
    for tcp in (False, True):
        answer = await world.ask("web", tcp=tcp)
        assert addresses(answer) == ["10.0.0.10"]
        assert answer.flags & dns.flags.AA
        assert answer.answer[0].ttl == 5
        assert (await world.ask("nosuch", tcp=tcp)).rcode() == dns.rcode.NXDOMAIN
        empty = await world.ask("web", "AAAA", tcp=tcp)
        assert (empty.rcode(), empty.answer) == (dns.rcode.NOERROR, [])


async def test_a_change_is_answered_at_once(world):
    world.server.update(zones("10.0.0.99"))
    assert addresses(await world.ask("web")) == ["10.0.0.99"]


async def test_a_hundred_addresses_are_cut_and_whole_over_tcp(world):
    many = {f"10.0.{n}.1" for n in range(100)}
    world.server.update(zones(*many))
    short = await world.ask("web")
    assert short.flags & dns.flags.TC
    assert len(short.to_wire()) <= 512
    larger = await world.ask("web", use_edns=0, payload=4096)
    assert larger.flags & dns.flags.TC
    assert len(addresses(short)) < len(addresses(larger)) < 100
    assert set(addresses(await world.ask("web", tcp=True))) == many


async def test_several_questions_over_one_connection(world):
    reader, writer = await asyncio.open_connection(HERE, world.port)
    asked = [dns.message.make_query("web", "A") for _ in range(3)]
    for message in asked:
        wire = message.to_wire()
        writer.write(len(wire).to_bytes(2) + wire)
    for message in asked:
        answer = dns.message.from_wire(await reader.readexactly(int.from_bytes(await reader.readexactly(2))))
        assert message.is_response(answer)
    writer.close()


async def test_a_stream_of_questions_leaves_others_their_turn(world, monkeypatch):
    """Else one container that asks as fast as it can has the whole worker to itself."""
    reply, seen = dns_answers.reply, []
    wire = dns.message.make_query("web", "A").to_wire()
    async with turns() as made:
        monkeypatch.setattr(dns_answers, "reply", lambda *more: (seen.append(made()), reply(*more))[1])
        reader, writer = await asyncio.open_connection(HERE, world.port)
        writer.write(200 * (len(wire).to_bytes(2) + wire))
        for _ in range(200):
            await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
        writer.close()
    assert len(set(seen)) == 200


async def test_a_flood_of_answers_leaves_others_their_turn(world, monkeypatch):
    """A name server may be a container's own, and its answers all be wrong."""
    answers_question, seen = messages.answers_question, []

    def flood(message):
        for _ in range(100):
            upstream.transport.sendto(b"junk", upstream.client)
        return plain(message)

    async with turns() as made, world.upstream(flood) as upstream:
        monkeypatch.setattr(
            messages, "answers_question", lambda *more: (seen.append(made()), answers_question(*more))[1]
        )
        assert addresses(await world.ask("a.example")) == ["192.0.2.7"]
    assert len(set(seen)) == 101


@pytest.mark.parametrize("own", ["127.0.0.53", "0.0.0.0", "0.0.0.1", "::1", "::", "::ffff:127.0.0.1", "::ffff:0.0.0.0"])
def test_the_hosts_own_loopback_is_not_asked_for_a_container(own):
    assert forward.usable([own, "192.0.2.53"]) == ["192.0.2.53"]


async def test_other_names_are_asked_of_the_hosts_servers(world):
    async with world.upstream() as upstream:
        answer = await world.ask("www.example.com")
        assert addresses(answer) == ["192.0.2.7"]
        assert addresses(await world.ask("www.example.com", tcp=True)) == ["192.0.2.7"]
        assert [message.question[0].name.to_text() for message in upstream.asked] == ["www.example.com."] * 2
        assert (await world.ask("nosuch")).rcode() == dns.rcode.NXDOMAIN
        assert len(upstream.asked) == 2, "a single word is nobody else's"


async def test_the_hosts_servers_may_change(world):
    world.servers_are(DEAD)
    assert (await world.ask("a.example")).rcode() == dns.rcode.SERVFAIL
    async with world.upstream():
        world.servers_are(UPSTREAM)
        assert addresses(await world.ask("a.example")) == ["192.0.2.7"]
    world.servers_are()
    assert (await world.ask("a.example")).rcode() == dns.rcode.SERVFAIL


async def test_a_containers_own_servers_go_before_the_hosts(world, monkeypatch):
    monkeypatch.setattr(forward, "usable", list)  # loopback stands for the world outside here
    world.server.update(zones("10.0.0.10", nameservers=(OTHER,)))
    async with world.upstream() as hosts, world.upstream(address=OTHER) as own:
        await world.ask("a.example")
        await world.ask("intranet")
        assert addresses(await world.ask("web")) == ["10.0.0.10"]
        assert (len(hosts.asked), len(own.asked)) == (0, 2)


async def test_a_silent_server_is_asked_last_from_then_on(world, monkeypatch):
    monkeypatch.setattr(forward, "ATTEMPT_SECONDS", 0.1)
    world.servers_are(OTHER, UPSTREAM)
    async with world.upstream(lambda _: None, OTHER) as silent, world.upstream():
        assert addresses(await world.ask("a.example")) == ["192.0.2.7"]
        assert addresses(await world.ask("b.example")) == ["192.0.2.7"]
        assert len(silent.asked) == 1


async def test_silence_of_all_is_a_failure_before_the_client_gives_up(world, monkeypatch):
    monkeypatch.setattr(forward, "ATTEMPT_SECONDS", 0.1)
    monkeypatch.setattr(forward, "TOTAL_SECONDS", 0.15)
    async with world.upstream(lambda _: None) as silent:
        for tcp in (False, True):
            assert (await world.ask("a.example", tcp=tcp)).rcode() == dns.rcode.SERVFAIL
        assert len(silent.asked) > 1
    assert forward.TOTAL_SECONDS < 5


async def test_another_server_is_asked_when_one_refuses(world):
    def refuse(message):
        answer = dns.message.make_response(message)
        answer.set_rcode(dns.rcode.REFUSED)
        return answer.to_wire()

    world.servers_are(OTHER, UPSTREAM)
    async with world.upstream(refuse, OTHER), world.upstream():
        assert addresses(await world.ask("a.example")) == ["192.0.2.7"]
    world.servers_are(OTHER)
    async with world.upstream(refuse, OTHER):
        assert (await world.ask("a.example")).rcode() == dns.rcode.REFUSED


async def test_forged_answers_are_ignored_and_clients_spelling_is_kept(world):
    def forge(message):
        number = message.id
        wrong_number = dns.message.make_query("www.example.com", "A", id=number ^ 1)
        wrong_name = dns.message.make_query("www.example.net", "A", id=number)
        for forged in (b"\0", plain(wrong_number, "6.6.6.6"), plain(wrong_name, "6.6.6.6")):
            upstream.transport.sendto(forged, upstream.client)
        return plain(dns.message.make_query("www.example.com", "A", id=number))

    async with world.upstream(forge) as upstream:
        answer = await world.ask("wWw.ExAmPlE.cOm")
        assert addresses(answer) == ["192.0.2.7"]
        assert answer.question[0].name.to_text() == "wWw.ExAmPlE.cOm."


async def test_a_cut_answer_is_fetched_whole_for_a_client_on_tcp(world):
    async def serve(reader, writer):
        asked = dns.message.from_wire(await reader.readexactly(int.from_bytes(await reader.readexactly(2))))
        wire = plain(asked, "192.0.2.8")
        writer.write(len(wire).to_bytes(2) + wire)
        writer.close()

    streams = await asyncio.start_server(serve, UPSTREAM, world.upstream_port)
    async with world.upstream(lambda message: plain(message, flags=dns.flags.TC)), streams:
        assert (await world.ask("a.example")).flags & dns.flags.TC
        assert addresses(await world.ask("a.example", tcp=True)) == ["192.0.2.8"]


async def test_one_container_has_so_many_questions_on_the_way(world, monkeypatch):
    monkeypatch.setattr(dns_server, "MOST_JOBS_OF_ONE", 3)
    monkeypatch.setattr(forward, "ATTEMPT_SECONDS", 0.3)
    monkeypatch.setattr(forward, "TOTAL_SECONDS", 0.3)
    async with world.upstream(lambda _: None) as silent:
        answers = await asyncio.gather(*[world.ask(f"{n}.example") for n in range(6)])
        assert {answer.rcode() for answer in answers} == {dns.rcode.SERVFAIL}
        assert len({message.question[0].name for message in silent.asked}) == 3
        assert addresses(await world.ask("web")) == ["10.0.0.10"]
    world.servers_are(UPSTREAM)
    async with world.upstream():
        assert addresses(await world.ask("a.example")) == ["192.0.2.7"], "they have ended, others may follow"


async def test_strangers_are_refused(world):
    message = dns.message.make_query("web", "A")
    answer = await dns.asyncquery.udp(message, HERE, port=world.port, source=OTHER, timeout=3)
    assert answer.rcode() == dns.rcode.REFUSED


async def test_it_listens_as_told_even_before_the_address_exists(world):
    server = world.server
    server.update(zones("10.0.0.10", listen=(HERE, OTHER, "192.0.2.77")))
    assert all(server.listens_at(address) for address in (HERE, OTHER, "192.0.2.77"))
    kept = server._sockets[HERE]
    server.update(zones("10.0.0.10"))
    assert server._sockets == {HERE: kept}
    assert server.refusal() is None


async def test_a_port_that_another_program_has(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as other:
        other.bind((HERE, 0))
        other.listen()
        forwarder = Forwarder(HostResolution(tmp_path / "none"), random.Random(1))
        server = DnsServer(forwarder, random.Random(1), other.getsockname()[1])
        running = asyncio.create_task(server.run())
        await asyncio.sleep(0)
        for _ in range(2):
            server.update(zones("10.0.0.10"))
        assert not server.listens_at(HERE)
        assert "another program" in explain(server.refusal())
        assert len(caplog.records) == 1
    server.listen()
    assert server.listens_at(HERE)
    assert server.refusal() is None
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


def test_what_the_host_lacks_is_said_in_a_sentence():
    assert "NET_BIND_SERVICE" in explain(PermissionError(errno.EACCES, "denied"))
    assert "cannot be bound (No" in explain(OSError(errno.ENOBUFS, "No buffer"))


async def test_a_query_that_meets_a_bug_is_the_only_one_unanswered(world, monkeypatch, caplog):
    reply = dns_answers.reply

    def reply_with_a_bug(query, *more):
        if query.name == "bad":
            raise RuntimeError("a bug")
        return reply(query, *more)

    async def ask_with_a_bug(*_, **__):
        raise RuntimeError("a bug")

    monkeypatch.setattr(dns_answers, "reply", reply_with_a_bug)
    monkeypatch.setattr(Forwarder, "ask", ask_with_a_bug)
    with pytest.raises(EOFError):
        await world.ask("bad", tcp=True)
    with pytest.raises(dns.exception.Timeout):
        await world.ask("example.org", timeout=0.2)
    for tcp in (False, True):
        assert addresses(await world.ask("web", tcp=tcp)) == ["10.0.0.10"]
    assert caplog.text.count(f"a bug ended answering {HERE}") == 2
