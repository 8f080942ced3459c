"""Moves over a real store, with workers that are not there: what each end of a move leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections.abc import AsyncIterator, Callable
from unittest.mock import Mock

import msgspec
import pytest
from msgspec.structs import replace

from common.clock import SystemClock
from common.errors import ProtocolError, Unavailable
from common.model import Node, StoredObject, Task, TaskState, Transfer
from common.wire.volume_copy import CONTROL, CopyCommand, CopyControl, CopyEvent, Ends, Order
from manager.domain import transfers as rules
from manager.domain.transfers import TransferProgress
from manager.loops import transfers
from manager.loops.transfers import Transfers
from manager.store.backends.memory import MemoryBackend
from manager.store.store import Store
from manager.store.view import View
from tests.fakes.virtual_loop import run_virtual
from tests.fakes.volumes import claim, copy, running, service
from tests.unit.manager.schedule.worlds import node

DB = service("db", "data")
MOVE = Transfer(id="m", volumes=("data",), source="a", target="b")
SLOW_SECONDS = 0.02
Says = Callable[[CopyCommand], list[CopyEvent] | None]


def usual(command: CopyCommand) -> list[CopyEvent] | None:
    """Answer as workers do with whom all is well."""
    match command.do:
        case "pass":
            return [CopyEvent(event="progress", done=5, left=5), CopyEvent(event="passed", next="last", rest=0.5)]
        case "last":
            return [CopyEvent(event="passed", digest="same")]
        case "mark":
            return [CopyEvent(event="marked")]
        case "verify":
            return [CopyEvent(event="verified")]
        case "remove":
            return [CopyEvent(event="removed")]
    return []


class Workers:
    """Both halves. `says` answers commands, None breaks the stream; `told` has what they were told."""

    def __init__(self) -> None:
        self.says: dict[str, Says] = {"send": usual, "receive": usual, "clone": usual}
        self.orders: list[Order] = []
        self.prepares: dict[str, CopyEvent] = {}
        self.ready: dict[str, CopyEvent] = {}
        self.told: list[tuple[str, str, int]] = []
        self.away: set[str] = set()
        self.missed = asyncio.Semaphore(0)
        self.stopped = asyncio.Event()
        self.tries = 0
        self.invents = False
        self.sends: list[bytes] = []
        self.say: dict[str, Callable[[CopyEvent], None]] = {}
        self._jobs: set[asyncio.Task[None]] = set()

    async def open(self, node_id: str, target: str) -> Ends:
        if node_id in self.away:
            self.missed.release()
            raise Unavailable(f"node {node_id} is not connected")
        ours, its = socket.socketpair()
        near, far = await asyncio.open_connection(sock=ours), await asyncio.open_connection(sock=its)
        serving = asyncio.create_task(self._serve(target, *far))
        self._jobs.add(serving)
        serving.add_done_callback(self._jobs.discard)
        return near

    async def _serve(self, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):  # a test may end before this does
            await (self._control if target == CONTROL else self._data)(reader, writer)

    async def _data(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if msgspec.json.decode(await reader.readline(), type=Order).part == "send":
            for piece in self.sends:
                await asyncio.sleep(SLOW_SECONDS)
                writer.write(piece)
        await reader.read()

    async def _invent(self, say: Callable[[CopyEvent], None]) -> None:
        """Say again and again that there is progress."""
        for done in itertools.count():
            say(CopyEvent(event="progress", done=done, left=5))
            await asyncio.sleep(SLOW_SECONDS)

    async def _control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        order = msgspec.json.decode(await reader.readline(), type=Order)
        self.orders.append(order)
        self.tries += order.part == "send"

        def say(event: CopyEvent) -> None:
            writer.write(msgspec.json.encode(event) + b"\n")

        self.say[order.part] = say

        say(self.prepares.get(order.part, CopyEvent(event="prepared")))
        say(self.ready.get(order.part, CopyEvent(event="ready")))
        while line := await reader.readline():
            command = msgspec.json.decode(line, type=CopyCommand)
            self.told.append((order.part, command.do, command.generation))
            events = self.says[order.part](command)
            if (order.part, command.do) == ("receive", "stop"):
                self.stopped.set()
            if events is None:
                break
            for event in events:
                say(event)
            if self.invents and order.part != "receive":
                self._jobs.add(asyncio.create_task(self._invent(say)))


def able(name: str) -> Node:
    found = node(name)
    return replace(found, description=replace(found.description, volumes=True, snapshots=True))


@contextlib.asynccontextmanager
async def moving(workers: Workers, backend: MemoryBackend | None = None) -> AsyncIterator[Store]:
    """Run the moves over a store; a service's task with the data runs on node `a`."""
    async with Store(backend or MemoryBackend(), SystemClock()) as store:
        job = asyncio.create_task(Transfers(store, SystemClock(), workers.open, TransferProgress()).run())
        try:
            yield store
        finally:
            job.cancel()
            await asyncio.wait({job})


async def put(store: Store, *values: StoredObject) -> None:
    await store.update(lambda tx: [tx.put(value) for value in values])


async def begin(store: Store, *more: StoredObject) -> None:
    await put(store, able("a"), able("b"), DB, claim("db.1", "data", "a"), copy("a", "data"), *more, MOVE)


async def until(store: Store, ready: Callable[[], bool]) -> None:
    with store.watch() as changes:
        async with asyncio.timeout(20):
            while not ready():
                await changes.next()


def phase(store: Store) -> str:
    found = store.view.transfers.get("m")
    return found.phase if found is not None else ""


def error(store: Store) -> str:
    found = store.view.transfers.get("m")
    return found.error if found is not None else ""


def place(store: Store) -> str:
    (found,) = store.view.volume_claims
    return found.node_id


async def test_a_move_copies_stops_compares_marks_and_commits() -> None:
    workers = Workers()
    async with moving(workers) as store:
        task: Task = running(DB, "a")
        await begin(store, task)
        await until(store, lambda: phase(store) == "last")
        assert workers.told == [("send", "pass", 0)]
        assert place(store) == "a"
        known = store.view.tasks.get(task.id)
        assert known is not None
        await put(store, replace(known, status=replace(known.status, state=TaskState.SHUTDOWN)))
        await until(store, lambda: phase(store) == "done")
        assert place(store) == "b"
        assert workers.told[:3] == [("send", "pass", 0), ("send", "last", 0), ("receive", "mark", 2)]


@pytest.mark.parametrize(
    ("part", "says", "why"),
    [
        (
            "send",
            lambda _: [CopyEvent(event="failed", code="ResourceExhausted", message="it is full")],
            "node a: it is full",
        ),
        ("send", lambda c: [CopyEvent(event="passed", next="last")], "the copy of volume data was not compared"),
        (
            "receive",
            lambda _: [CopyEvent(event="failed", code="FailedPrecondition", message="cannot be marked")],
            "node b: cannot be marked",
        ),
    ],
)
async def test_what_fails_ends_at_the_source(part: str, says: Says, why: str) -> None:
    workers = Workers()
    workers.says[part] = says
    async with moving(workers) as store:
        await begin(store)
        await until(store, lambda: phase(store) == "failed")
        assert error(store) == why
        assert place(store) == "a"


@pytest.mark.parametrize("part", ["send", "receive"])
async def test_a_half_that_dies_in_the_last_pass_ends_at_the_source(part: str) -> None:
    workers = Workers()
    workers.says[part] = lambda command: None if command.do in ("last", "mark") else usual(command)
    async with moving(workers) as store:
        await begin(store)
        await until(store, lambda: phase(store) == "failed")
        node = {"send": "a", "receive": "b"}[part]
        assert error(store) == f"node {node}: its worker, or the connection to it, is gone"
        assert place(store) == "a"


async def test_a_receiver_that_fails_knows_best_why() -> None:
    workers = Workers()
    full = CopyEvent(event="failed", code="ResourceExhausted", message="there is no room for it")
    workers.prepares["receive"] = CopyEvent(event="prepared")
    workers.ready["receive"] = full
    workers.says["send"] = lambda _: None
    async with moving(workers) as store:
        await begin(store)
        await until(store, lambda: phase(store) == "failed")
        assert error(store) == "node b: there is no room for it"
        assert workers.tries == 1


async def test_the_worker_that_is_lost_is_named_not_who_lost_it() -> None:
    """The receiver's process sees its sender go before the manager does."""
    workers = Workers()
    gone = CopyEvent(event="failed", code="Unavailable", message="the other side of the copy is gone")

    def lose(command: CopyCommand) -> list[CopyEvent] | None:
        if command.do != "last":
            return usual(command)
        workers.say["receive"](gone)
        return None

    workers.says["send"] = lose
    async with moving(workers) as store:
        await begin(store)
        await until(store, lambda: phase(store) == "failed")
        assert error(store) == "node a: its worker, or the connection to it, is gone"


async def test_a_node_that_is_down_while_tasks_run_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "RETRY_SECONDS", 0.01)
    workers, tried, away = Workers(), asyncio.Event(), rules.not_ready

    def not_ready(transfer: Transfer, view: View) -> str:
        tried.set()
        return away(transfer, view)

    monkeypatch.setattr(rules, "not_ready", not_ready)
    async with moving(workers) as store:
        down = able("b")
        await begin(store, replace(down, status=replace(down.status, state="down")))
        await asyncio.wait_for(tried.wait(), 20)
        assert phase(store) == "copying"
        await put(store, able("b"))
        await until(store, lambda: phase(store) == "done")


async def test_a_break_while_tasks_run_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "RETRY_SECONDS", 0.01)
    workers = Workers()
    workers.says["send"] = lambda command: None if workers.tries < 3 else usual(command)
    async with moving(workers) as store:
        await begin(store)
        await until(store, lambda: phase(store) == "done")
        assert workers.tries == 3
        assert place(store) == "b"


async def test_a_move_is_given_up_when_a_worker_stays_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "RETRY_SECONDS", 0.001)
    workers = Workers()
    workers.away.add("b")
    async with moving(workers) as store:
        await begin(store)
        await until(store, lambda: phase(store) == "failed")
        assert error(store) == "node b is not connected"
        assert place(store) == "a"


async def test_too_long_a_downtime_stops_no_task() -> None:
    workers = Workers()
    workers.says["send"] = lambda _: [CopyEvent(event="passed", next="last", rest=30.0)]
    async with moving(workers) as store:
        await put(store, able("a"), able("b"), DB, claim("db.1", "data", "a"), copy("a", "data"))
        await put(store, replace(MOVE, max_downtime=10.0))
        await until(store, lambda: phase(store) == "failed")
        assert error(store).startswith("its tasks would be stopped for about 30.0 s, longer than 10 s")
        found = store.view.transfers.get("m")
        assert found is not None
        assert not found.stopped_at


@pytest.mark.parametrize(("part", "at"), [("send", "last"), ("receive", "mark")])
async def test_the_next_manager_takes_a_move_to_its_end(part: str, at: str) -> None:
    """The first one ends while the tasks are stopped: the copy may be marked already, and not committed."""
    workers, backend = Workers(), MemoryBackend()
    held: asyncio.Event = asyncio.Event()

    def stuck(command: CopyCommand) -> list[CopyEvent] | None:
        if command.do == at and not held.is_set():
            held.set()
            return []
        return usual(command)

    workers.says[part] = stuck
    async with moving(workers, backend) as store:
        await begin(store)
        await asyncio.wait_for(held.wait(), 20)
    async with moving(workers, backend) as store:
        if at == "mark":  # as the target's worker has reported
            await put(store, copy("b", "data", generation=2))
        await until(store, lambda: phase(store) == "done")
        assert place(store) == "b"
    assert [each.resumes for each in workers.orders if each.part == "receive"] == [False, True]


@pytest.mark.parametrize("comes_back", [True, False])
async def test_a_new_leader_waits_for_nodes_in_the_last_pass(
    *, comes_back: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tasks stand still: a node that is not connected to it is so in a moment, or they start at the source."""
    monkeypatch.setattr(transfers, "TAKEOVER_SECONDS", 20.0 if comes_back else 0.05)
    monkeypatch.setattr(transfers, "TAKEOVER_RETRY_SECONDS", 0.001)
    workers = Workers()
    workers.away.add("b")
    async with moving(workers) as store:
        await put(store, able("a"), able("b"), DB, claim("db.1", "data", "a"), copy("a", "data"))
        await put(store, replace(MOVE, phase="last", stopped_at=1.0))
        for _ in range(transfers.MOST_TRIES if comes_back else 1):
            await asyncio.wait_for(workers.missed.acquire(), 20)
        if comes_back:
            workers.away.clear()
        await until(store, lambda: phase(store) in ("done", "failed"))
        assert (error(store), place(store)) == (("", "b") if comes_back else ("node b is not connected", "a"))


@pytest.mark.parametrize("target", ["b", "a"])
async def test_progress_without_bytes_is_not_believed(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "PATIENCE_SECONDS", 10 * SLOW_SECONDS)
    workers = Workers()
    workers.invents = True
    for part in workers.says:
        workers.says[part] = lambda _: []
    async with moving(workers) as store:
        await begin(store) if target == "b" else await put(
            store, able("a"), copy("a", "data", size=5), replace(COPY, target="a")
        )
        await until(store, lambda: phase(store) == "failed")
        slow = "node a sent nothing of it in" if target == "b" else "node a did not end a pass of it in"
        assert error(store).startswith(f"{slow} less than a second")
        workers.invents = False
        workers.says = dict.fromkeys(workers.says, usual)
        await put(store, able("b"), DB, claim("db.1", "data", "a"), copy("a", "data"), replace(MOVE, id="again"))
        await until(store, lambda: place(store) == "b")


async def test_an_invented_estimate_does_not_hold_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last pass has a minute and twice its estimate, which is its sender's word."""
    monkeypatch.setattr(transfers, "PATIENCE_SECONDS", 0.2)
    workers = Workers()
    workers.says["send"] = lambda command: (
        [CopyEvent(event="passed", next="last", rest=1e12)] if command.do == "pass" else []
    )
    async with moving(workers) as store:
        await begin(store)
        await until(store, lambda: phase(store) == "failed")
        assert error(store).startswith("node a sent nothing of it")
        assert place(store) == "a"


async def test_a_slow_pass_whose_bytes_come_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "PATIENCE_SECONDS", 10 * SLOW_SECONDS)
    workers = Workers()
    workers.sends = [bytes(1 << 20)] * 40
    passed = CopyEvent(event="passed", next="last", rest=0.5)
    slow = asyncio.Event()

    def says(command: CopyCommand) -> list[CopyEvent]:
        if command.do == "pass":
            slow.set()
            return []
        return usual(command) or []

    workers.says["send"] = says
    async with moving(workers) as store:
        await begin(store)
        await asyncio.wait_for(slow.wait(), 20)
        await asyncio.sleep(30 * SLOW_SECONDS)
        assert phase(store) == "copying"
        workers.say["send"](passed)
        await until(store, lambda: phase(store) == "done")


async def test_a_move_that_is_ended_on_request_is_over() -> None:
    workers = Workers()
    begun = asyncio.Event()

    def never(_: CopyCommand) -> list[CopyEvent]:
        begun.set()
        return []

    workers.says["send"] = never
    async with moving(workers) as store:
        await begin(store)
        await asyncio.wait_for(begun.wait(), 20)
        known = store.view.transfers.get("m")
        assert known is not None
        await put(store, replace(known, phase="failed", error="cancelled"))
        await put(store, replace(MOVE, id="again"))
        workers.says["send"] = usual
        await until(store, lambda: place(store) == "b")


async def test_what_a_worker_says_is_a_strangers_word() -> None:
    workers = Workers()
    workers.prepares["send"] = CopyEvent(event="failed", code="X", message="\x1b[31mred" + "x" * 5000)
    async with moving(workers) as store:
        await begin(store)
        await until(store, lambda: phase(store) == "failed")
        assert error(store).isprintable()
        assert len(error(store)) <= 1000


@pytest.mark.parametrize(
    "line",
    [
        b'{"event":"progress","done":%d}' % 10**30,
        b'{"event":"progress","left":-1}',
        b'{"event":"progress","seconds":1e300}',
        b'{"event":"passed","rest":-1.0}',
        b'{"event":"passed","next":"last","held":1e13}',
    ],
)
async def test_no_number_of_a_worker_spoils_what_others_are_told(line: bytes) -> None:
    """What a gauge has is in the answer of a route, beside all other moves."""
    ours, its = socket.socketpair()
    with its:
        reader, writer = await asyncio.open_connection(sock=ours)
        its.sendall(line + b"\n")
        with contextlib.closing(writer), pytest.raises(ProtocolError, match="malformed report of a copy"):
            await CopyControl(reader, writer, "a").event()


def test_a_worker_that_reports_without_end_is_read_slowly() -> None:
    async def read() -> float:
        reader, nobody = asyncio.StreamReader(), Mock(asyncio.StreamWriter)
        control = CopyControl(reader, nobody, "a")
        reader.feed_data(b'{"event":"x"}\n' * 1000)
        for _ in range(1000):
            await control.event()
        return asyncio.get_running_loop().time()

    assert run_virtual(read()) > 30


async def test_a_sender_that_comes_to_no_end_is_given_up() -> None:
    workers = Workers()
    workers.says["send"] = lambda _: [CopyEvent(event="passed", next="pass")]
    async with moving(workers) as store:
        await begin(store)
        await until(store, lambda: phase(store) == "failed")
        assert "does not come to an end" in error(store)


async def test_a_node_that_hangs_holds_up_its_own_moves_alone() -> None:
    workers = Workers()
    hangs = asyncio.Semaphore(0)

    async def open_stream(node_id: str, target: str) -> Ends:
        if node_id == "evil":
            hangs.release()
            await asyncio.Event().wait()
        return await workers.open(node_id, target)

    evil = [copy("evil", f"v{number}") for number in range(5)]
    moves = [Transfer(id=f"m{number}", volumes=(f"v{number}",), source="evil", target="b") for number in range(5)]
    async with Store(MemoryBackend(), SystemClock()) as store:
        job = asyncio.create_task(Transfers(store, SystemClock(), open_stream, TransferProgress()).run())
        await put(store, able("evil"), *map(able, "abcd"), *evil, *moves)
        for _ in range(transfers.MOST_OF_NODE):
            await hangs.acquire()
        await put(store, copy("c", "data"), replace(MOVE, source="c", target="d"))
        await until(store, lambda: phase(store) == "done")
        assert hangs.locked(), "no more than two of its moves have begun"
        await put(store, replace(moves[0], phase="failed"))
        await asyncio.wait_for(hangs.acquire(), 20)
        job.cancel()
        await asyncio.wait({job})


def test_what_is_overdue_holds_up_its_own_nodes_alone() -> None:
    """Else two nodes that send as slowly as they may, for as long as they may, have all the places among them."""

    async def lives() -> list[tuple[str, float]]:
        turns, begun = transfers.MoveLimit(), []

        async def move(source: str, target: str) -> None:
            async with turns.take({source, target}, 100.0):
                begun.append((source, asyncio.get_running_loop().time()))
                await asyncio.sleep(1e9 if source.startswith("evil") else 10.0)

        pairs = [("evil1", "a"), ("evil1", "b"), ("evil2", "c"), ("evil2", "d"), ("evil1", "e"), ("f", "g"), ("f", "h")]
        jobs = [asyncio.create_task(move(*each)) for each in pairs]
        await asyncio.sleep(1000.0)
        for job in jobs:
            job.cancel()
        await asyncio.wait(jobs)
        assert turns._are_free({"evil1", "evil2"})
        return begun

    begun = run_virtual(lives())
    assert begun[:4] == [("evil1", 0.0), ("evil1", 0.0), ("evil2", 0.0), ("evil2", 0.0)]
    assert begun[4:] == [("f", 100.0), ("f", 100.0)], "the third of evil1 waits"


NEW = "e" * 32
COPY = Transfer(
    id="m", operation="copy", volumes=("data",), source="a", target="b", as_name="again", data_id=NEW, hold="pause"
)


def held(command: CopyCommand) -> list[CopyEvent] | None:
    if command.do == "last":
        return [CopyEvent(event="passed", digest="same", held=0.7 if command.hold else 0.0)]
    return usual(command)


@pytest.mark.parametrize("works", [True, False])
async def test_the_source_is_removed_after_the_target_was_read_back(*, works: bool) -> None:
    workers = Workers()

    def refuse(command: CopyCommand) -> list[CopyEvent] | None:
        if command.do == "remove" and not works:
            return [CopyEvent(event="failed", code="EngineError", message="it is in use")]
        return usual(command)

    workers.says["send"] = refuse
    async with moving(workers) as store:
        await put(store, able("a"), able("b"), DB, claim("db.1", "data", "a"), copy("a", "data"))
        await put(store, replace(MOVE, delete_source=True))
        await asyncio.wait_for(workers.stopped.wait(), 20)
        found = store.view.transfers.get("m")
        assert found is not None
        assert (found.phase, found.note) == ("done", "" if works else "the old copy stays on a: node a: it is in use")
        assert [do for part, do, _ in workers.told if part == "send"][:4] == ["pass", "last", "verify", "remove"]
        assert place(store) == "b"
