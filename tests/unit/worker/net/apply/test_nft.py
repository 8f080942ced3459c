"""Tables are brought to the kernel side by side, and each on its own; what the kernel answers to commands."""

import asyncio
import errno
import struct
from collections import deque

import pytest

from common.errors import Unavailable
from tests.unit.worker.net.worlds import packed
from worker.host import command
from worker.intake.addresses import Protocol
from worker.intake.identifiers import ChainName
from worker.net.apply import nft
from worker.net.apply.nft import NftSocket, NftTables
from worker.net.plan.nf_messages import Table
from worker.net.plan.ruleset import IP, IP6, Chain, Nft, Ruleset
from worker.net.plan.service_table import Choice, ServiceTable, removal, whole


def tables(rule: str) -> list[Ruleset]:
    return [Ruleset(chains={Nft("c"): Chain((Nft(rule),))}, family=family) for family in (IP, IP6)]


async def test_no_table_waits_for_another(monkeypatch: pytest.MonkeyPatch):
    both = asyncio.Barrier(2)

    async def must(*_: str, **__: object) -> str:
        await both.wait()
        return ""

    monkeypatch.setattr(command, "must", must)
    await asyncio.wait_for(NftTables().apply(tables("accept")), 5)


async def test_a_refused_table_is_rewritten_and_the_others_exist(monkeypatch: pytest.MonkeyPatch):
    written: list[str] = []
    refused = True

    async def must(*_: str, stdin: str, **__: object) -> str:
        written.append(stdin)
        if refused and "ip6" in stdin:
            raise Unavailable("nft failed: no room")
        return ""

    monkeypatch.setattr(command, "must", must)
    kernel = NftTables()
    with pytest.raises(Unavailable, match="no room"):
        await kernel.apply(tables("accept"))
    written.clear()
    refused = False
    await kernel.apply(tables("drop"))
    assert sorted(text.splitlines()[0] for text in written) == ["flush chain ip orc c", "table ip6 orc"]
    await kernel.apply(tables("drop"))
    assert len(written) == 2, "nothing differs"


async def test_the_return_path_is_rewritten_only_after_links_are_lost(
    monkeypatch: pytest.MonkeyPatch,
):
    written: list[str] = []

    async def must(*_: str, stdin: str, **__: object) -> str:
        written.append(stdin.partition("\n")[0])
        return ""

    monkeypatch.setattr(command, "must", must)
    kernel, way_back = NftTables(), Ruleset(chains={Nft("c"): Chain((Nft("accept"),))}, family=Nft("netdev"))
    await kernel.apply(tables("accept"))
    await kernel.apply_way_back(way_back)
    written.clear()
    await kernel.apply(tables("accept"))
    await kernel.apply_way_back(way_back)
    assert not written
    kernel.links_lost()
    await kernel.apply(tables("accept"))
    await kernel.apply_way_back(way_back)
    await kernel.apply_way_back(None)
    await kernel.apply_way_back(None)
    assert written == ["table netdev orc"] * 2, "made anew, removed"


async def test_services_are_sent_as_differences_or_whole_after_a_loss(monkeypatch: pytest.MonkeyPatch):
    sent: list[object] = []
    refused = False

    async def send(_: NftSocket, commands: object) -> None:
        sent.append(commands)
        if refused:
            raise Unavailable("no room")

    monkeypatch.setattr(NftSocket, "send", send)
    kernel = NftTables()
    choices = (Choice((address,), Protocol.TCP, 80) for address in packed("10.1.0.2", "10.1.0.3"))
    first, second = (ServiceTable(IP, {ChainName("m_tcp_80"): choice}) for choice in choices)
    await kernel.apply((), [first])
    await kernel.apply((), [second])
    assert sent.pop(0) == whole(first)
    assert len(sent.pop(0)) == 2, "the chain is emptied and has another rule"
    refused = True
    with pytest.raises(Unavailable, match="no room"):
        await kernel.apply((), [first])
    refused = False
    sent.clear()
    await kernel.apply((), [second])
    kernel.lost()
    await kernel.apply((), [second])
    await kernel.apply((), [second])
    await kernel.apply((), ())
    assert sent == [whole(second), whole(second), removal("ip")]


async def test_a_loss_while_tables_are_written_is_not_forgotten(monkeypatch: pytest.MonkeyPatch):
    kernel, written = NftTables(), list[object]()

    async def must(*_: str, stdin: str, **__: object) -> str:
        written.append(stdin)
        return ""

    async def send(_: NftSocket, commands: object) -> None:
        written.append(commands)
        if len(written) == 2:
            kernel.lost()

    monkeypatch.setattr(command, "must", must)
    monkeypatch.setattr(NftSocket, "send", send)
    wanted, services = tables("accept")[:1], [ServiceTable(IP)]
    await kernel.apply(wanted, services)
    await kernel.apply(wanted, services)
    await kernel.apply(wanted, services)
    assert written[:2] == written[2:], "all services' tables anew, and then nothing"


COMMANDS = [Table("ip", "orc-services").add(), Table("ip", "orc-services").delete()]


def answer(place: int, error: int = 0) -> bytes:
    return struct.pack("=IHHIIiIHHII", 36, 2, 0, place, 7, -error, 20, 0xA00, 5, place, 7)


class Kernel:
    """A socket that has these answers, in turn, once it was sent something."""

    def __init__(self, *answers: bytes | OSError) -> None:
        self.sent: list[bytes] = []
        self._answers = deque(answers)

    def getsockname(self) -> tuple[int, int]:
        return (4711, 0)

    def setsockopt(self, *_: int) -> None: ...

    def send(self, data: bytes) -> None:
        self.sent.append(data)

    def recv(self, _size: int, _flags: int) -> bytes:
        assert self.sent
        found = self._answers.popleft() if self._answers else BlockingIOError()
        if isinstance(found, OSError):
            raise found
        return found


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch):
    def make(*answers: bytes | OSError) -> Kernel:
        kernel = Kernel(*answers)
        monkeypatch.setattr(nft, "_connect", lambda: kernel)
        return kernel

    return make


async def test_what_was_taken_is_told_by_one_answer_and_known_as_ours(answering):
    kernel = answering(answer(1))
    sender = NftSocket()
    await sender.send(COMMANDS)
    assert len(kernel.sent) == 1
    assert sender.process == 4711


async def test_a_refusal_says_which_command_and_why(answering):
    answering(answer(0, errno.EPERM), answer(1, errno.ENOENT))
    with pytest.raises(Unavailable, match=r"command 1 of 2, of kind 0\): Operation not permitted"):
        await NftSocket().send(COMMANDS)


async def test_more_refusals_than_fit_are_one_too(answering):
    answering(OSError(errno.ENOBUFS, "no room"), answer(1, errno.ENOENT))
    with pytest.raises(Unavailable, match="No such file"):
        await NftSocket().send(COMMANDS)


async def test_no_answer_is_no_success(answering):
    answering()
    with pytest.raises(Unavailable, match="did not confirm"):
        await NftSocket().send(COMMANDS)
    answering(OSError(errno.EPERM, "Operation not permitted"))
    with pytest.raises(Unavailable, match="Operation not permitted"):
        await NftSocket().send(COMMANDS)
