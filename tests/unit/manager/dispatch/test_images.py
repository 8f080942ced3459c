"""Who gets an image from whom: the manager's part, on channels in memory."""

import asyncio
import math
import socket
from collections import Counter

import pytest

from common.errors import NotFound, PermissionDenied
from common.model import Task
from common.model.container import ContainerSpec
from common.model.service import TaskSpec
from common.model.task import TaskState
from common.tls import ROLE_WORKER, Identity
from common.wire.channel import ChannelClosed, PeerInfo
from common.wire.image_messages import (
    BringImage,
    Brought,
    FetchImage,
    ImageGrant,
    ImageHeld,
    ImageSeen,
    ImageSources,
    RelayHello,
    SeekImage,
)
from common.wire.memory import memory_channel_pair
from common.wire.messages import Heartbeat, Refused
from manager.dispatch import images
from manager.dispatch.images import ImageQuestions
from tests.fakes.dispatching import CLUSTER, Manager, Worker
from tests.fakes.virtual_loop import run_virtual

IMAGE = "sha256:" + "ab" * 32
NEEDED = f"web:1@{IMAGE}"


class Nodes:
    """Connected workers: each answers whether it has the image, and notes the tickets that it is told."""

    def __init__(self, manager: Manager) -> None:
        self.manager = manager
        self.workers: dict[str, Worker] = {}
        self.asked: Counter[str] = Counter()
        self.grants: dict[str, list[ImageGrant]] = {}
        self.has: set[str] = set()
        self.deaf: set[str] = set()
        # What nodes answer whatever they are asked for.
        self.lies: dict[str, str] = {}
        self._answers: dict[str, asyncio.Future[ImageSources]] = {}
        self._jobs: list[asyncio.Task[None]] = []

    async def add(self, *names: str, needs: str = NEEDED) -> None:
        for name in names:
            self.workers[name] = await self.manager.session(name)
            self.grants[name] = []
            self._jobs.append(asyncio.create_task(self._serve(name)))
            if needs:
                await self.manager.put(
                    Task(
                        id=f"task-{name}",
                        node_id=name,
                        spec=TaskSpec(container_spec=ContainerSpec(image=needs)),
                        desired_state=TaskState.RUNNING,
                    )
                )

    async def _serve(self, name: str) -> None:
        worker = self.workers[name]
        while True:
            number, message = await worker.channel.receive()
            if isinstance(message, SeekImage):
                self.asked[name] += 1
                if name not in self.deaf:
                    seen = self.lies.get(name, IMAGE if name in self.has else "")
                    await worker.say(ImageSeen(image_id=seen, tagged_at=math.inf), number)
            elif isinstance(message, ImageGrant):
                self.grants[name].append(message)
            elif isinstance(message, ImageSources):
                self._answers[name].set_result(message)

    async def fetch(self, name: str, *failed: str) -> list[str]:
        answer = self._answers[name] = asyncio.get_running_loop().create_future()
        await self.workers[name].say(FetchImage(image_id=IMAGE, failed=failed), 9)
        self.last = await answer
        return [source.node_id for source in self.last.sources]

    async def live(self, seconds: float) -> None:
        """Let time pass for workers that send heartbeats."""
        for _ in range(round(seconds)):
            for worker in self.workers.values():
                await worker.say(Heartbeat())
            await asyncio.sleep(1)

    def end(self) -> None:
        for job in self._jobs:
            job.cancel()


def scenario(body) -> None:
    async def run() -> None:
        manager = Manager()
        async with manager.running():
            nodes = Nodes(manager)
            try:
                await body(nodes)
            finally:
                nodes.end()

    run_virtual(run())


def test_sources_are_those_that_have_it_and_are_told_first() -> None:
    async def body(nodes: Nodes) -> None:
        await nodes.add("a", "b", "c", "d")
        nodes.has = {"b", "c"}
        assert sorted(await nodes.fetch("a")) == ["b", "c"]
        for source in nodes.last.sources:
            grant = ImageGrant(ticket=source.ticket, image_id=IMAGE, node_id="a")
            assert nodes.grants[source.node_id] == [grant]
            assert source.addr == ""  # it does not listen
        assert nodes.grants["d"] == []

    scenario(body)


def test_a_node_gets_the_images_of_its_own_tasks_alone() -> None:
    async def body(nodes: Nodes) -> None:
        await nodes.add("a", needs="web:1@sha256:" + "cd" * 32)
        await nodes.add("b")
        nodes.has = {"b"}
        assert await nodes.fetch("a") == []
        assert nodes.grants["b"] == []

    scenario(body)


def test_when_many_ask_at_once_nodes_are_asked_once() -> None:
    async def body(nodes: Nodes) -> None:
        names = [f"n{number}" for number in range(20)]
        await nodes.add(*names)
        nodes.has = {"n0"}
        found = await asyncio.gather(*(nodes.fetch(name) for name in names[1:]))
        assert found == [["n0"]] * 19
        assert set(nodes.asked.values()) == {1}
        await nodes.live(images.KNOWN_SECONDS + 1)
        await nodes.fetch("n1")
        assert set(nodes.asked.values()) == {2}

    scenario(body)


def test_who_has_fetched_it_is_a_source_and_the_work_is_spread() -> None:
    async def body(nodes: Nodes) -> None:
        await nodes.add("a", "b", "c", "d", "e")
        nodes.has = {"a"}
        assert await nodes.fetch("b") == ["a"]
        await nodes.workers["b"].say(ImageHeld(image_id=IMAGE))
        await asyncio.sleep(0.1)
        firsts = Counter([(await nodes.fetch(name))[0] for name in "cde"])
        assert firsts.keys() == {"a", "b"}
        assert max(firsts.values()) <= 2

    scenario(body)


def test_a_failed_source_is_not_named_again_but_nodes_are_asked() -> None:
    async def body(nodes: Nodes) -> None:
        await nodes.add("a", "b", "c")
        nodes.has = {"b"}
        assert await nodes.fetch("a") == ["b"]
        nodes.has = {"b", "c"}
        await asyncio.sleep(2)
        assert await nodes.fetch("a", "b") == ["c"]

    scenario(body)


def test_a_node_that_does_not_answer_delays_but_does_not_stop() -> None:
    async def body(nodes: Nodes) -> None:
        await nodes.add("a", "b", "c")
        nodes.has, nodes.deaf = {"b", "c"}, {"c"}
        began = asyncio.get_running_loop().time()
        assert await nodes.fetch("a") == ["b"]
        assert asyncio.get_running_loop().time() - began < images.SEEK_SECONDS + 0.1

    scenario(body)


def test_a_node_is_believed_only_about_the_requested_image() -> None:
    async def body(nodes: Nodes) -> None:
        await nodes.add("a", "b", "c", "d", "e")
        nodes.has = {"b"}
        nodes.lies = {"c": "sha256:" + "ee" * 32, "d": "web:1", "e": IMAGE + "0"}
        assert await nodes.fetch("a") == ["b"]
        broker = nodes.manager.dispatcher.images
        assert await broker.holders(IMAGE[:20]) == {"b": IMAGE}
        assert await broker.holders(IMAGE[7:20]) == {"b": IMAGE}

    scenario(body)


def test_a_session_that_ends_is_no_source() -> None:
    async def body(nodes: Nodes) -> None:
        await nodes.add("a", "b", "c")
        nodes.has = {"b", "c"}
        assert len(await nodes.fetch("a")) == 2
        await nodes.workers["b"].channel.close()
        await asyncio.sleep(0.1)
        assert await nodes.fetch("a") == ["c"]
        assert nodes.manager.dispatcher.images._serving == {("a", IMAGE): "c"}

    scenario(body)


def test_nobody_reaches_a_source_without_a_ticket_of_its_own() -> None:
    async def body(nodes: Nodes) -> None:
        await nodes.add("a", "b", "c")
        nodes.has = {"b"}
        await nodes.fetch("a")
        stolen = nodes.last.sources[0].ticket
        for ticket in (stolen, "forged"):
            thief = nodes.manager.dial("c")
            await thief.say(RelayHello(ticket=ticket))
            answer = await thief.expect(Refused)
            assert answer.code == PermissionDenied.code

    scenario(body)


def test_expired_tickets_are_forgotten() -> None:
    async def body(nodes: Nodes) -> None:
        await nodes.add("a", "b")
        nodes.has = {"b"}
        await nodes.fetch("a")
        await nodes.live(images.TICKET_SECONDS / 2)
        await nodes.fetch("a")
        tickets = nodes.manager.dispatcher.images._tickets
        assert len(tickets) == 2
        await nodes.live(images.TICKET_SECONDS / 2 + 1)
        await nodes.fetch("a")
        assert len(tickets) == 2
        assert nodes.last.sources[0].ticket in tickets

    scenario(body)


async def test_a_relay_without_its_fetcher_closes_the_source(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    await manager.session("source")
    await manager.node("fetcher")
    broker = manager.dispatcher.images
    broker._tickets["t"] = images._Ticket("source", "fetcher", IMAGE, math.inf)
    ours, source = socket.socketpair()
    far = await asyncio.open_connection(sock=ours)

    async def opened(*_: object) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return far

    monkeypatch.setattr(broker._streams, "open", opened)
    _, fetcher = memory_channel_pair(client=PeerInfo(Identity("fetcher", ROLE_WORKER, CLUSTER, "7")))
    await fetcher.close()
    with source, pytest.raises(ChannelClosed):
        await broker.relay(fetcher, RelayHello(ticket="t"), lambda: None)
    assert far[1].is_closing()


async def test_bytes_that_go_through_the_manager_are_counted(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    await manager.session("source")
    await manager.node("fetcher")
    broker, counted = manager.dispatcher.images, list[int]()
    broker._tickets["t"] = images._Ticket("source", "fetcher", IMAGE, math.inf)
    (ours, source), (near, fetching) = socket.socketpair(), socket.socketpair()
    far, near_streams = await asyncio.open_connection(sock=ours), await asyncio.open_connection(sock=near)

    async def opened(*_: object) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return far

    monkeypatch.setattr(broker._streams, "open", opened)
    monkeypatch.setattr(images, "open_raw", lambda _: near_streams)
    monkeypatch.setattr(broker, "_relayed", counted.append)
    _, fetcher = memory_channel_pair(client=PeerInfo(Identity("fetcher", ROLE_WORKER, CLUSTER, "7")))
    source.sendall(b"image" * 100)
    fetching.sendall(b"want")
    for end in (source, fetching):
        end.shutdown(socket.SHUT_WR)
    await broker.relay(fetcher, RelayHello(ticket="t"), lambda: None)
    with source, fetching:
        assert fetching.recv(1000) == b"image" * 100
    assert sum(counted) == 504


async def test_answers_find_their_questions_in_any_order() -> None:
    near, far = memory_channel_pair()
    questions = ImageQuestions("n1", near)
    seeking = asyncio.ensure_future(questions.seek("abc"))
    bringing = asyncio.ensure_future(questions.bring("def"))
    (one, seek), (two, bring) = await far.receive(), await far.receive()
    assert isinstance(seek, SeekImage)
    assert isinstance(bring, BringImage)
    questions.answered(two, Brought(name="def:latest"))
    questions.answered(one, ImageSeen(image_id="abc"))
    assert await bringing == "def:latest"
    assert (await seeking).image_id == "abc"


async def test_an_image_that_cannot_be_had_is_not_found() -> None:
    near, far = memory_channel_pair()
    questions = ImageQuestions("n1", near)
    bringing = asyncio.ensure_future(questions.bring("def"))
    frame = await far.receive()
    questions.answered(frame.id, Brought(error="no such image"))
    with pytest.raises(NotFound, match="no such image"):
        await bringing


async def test_the_answer_to_another_question_is_not_one() -> None:
    near, far = memory_channel_pair()
    questions = ImageQuestions("n1", near)
    seeking, bringing = asyncio.ensure_future(questions.seek("abc")), asyncio.ensure_future(questions.bring("def"))
    (one, _), (two, _) = await far.receive(), await far.receive()
    questions.answered(one, Brought(name="abc"))
    questions.answered(two, ImageSeen(image_id="def"))
    assert (await seeking).image_id == ""
    with pytest.raises(NotFound, match="node n1 does not say whether it has fetched def"):
        await bringing


async def test_who_asks_when_the_session_has_ended_is_told() -> None:
    """Its connection may still be there, for a moment."""
    near, _ = memory_channel_pair()
    questions = ImageQuestions("n1", near)
    questions.close()
    with pytest.raises(ChannelClosed, match="session of node n1 has ended"):
        async with asyncio.timeout(1):
            await questions.bring("abc")


async def test_who_waits_when_the_session_ends_is_told() -> None:
    near, far = memory_channel_pair()
    questions = ImageQuestions("n1", near)
    seeking = asyncio.ensure_future(questions.seek("abc"))
    await far.receive()
    questions.close()
    with pytest.raises(ChannelClosed, match="session of node n1 has ended"):
        await seeking


async def test_an_answer_that_nobody_waits_for_is_dropped() -> None:
    near, _ = memory_channel_pair()
    ImageQuestions("n1", near).answered(7, ImageSeen())
