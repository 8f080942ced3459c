"""Images from one worker's engine to another's, over real TLS on the loopback interface."""

import asyncio
import contextlib
import itertools
import random
import tarfile
from collections.abc import AsyncIterable, AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from common.clock import LoopClock, SystemClock
from common.errors import NotFound, PermissionDenied, Unauthenticated
from common.tls import client_context, peer_context, peer_name
from common.wire.channel import Channel, ChannelClosed
from common.wire.codec import Frame
from common.wire.handshake import error_of_refusal
from common.wire.image_messages import (
    FetchImage,
    ImageGrant,
    ImageOffer,
    ImageRequest,
    ImageSource,
    ImageSources,
    ImageWant,
)
from common.wire.messages import Refused
from common.wire.server import Server, dial, serve
from tests.fakes.archives import Archive
from tests.fakes.certificates import Pki
from tests.fakes.engine import FakeEngine
from worker.images import fetch as image_fetch
from worker.images import serve as image_server
from worker.images.cleanup import FetchedImages
from worker.images.fetch import ImageFetcher, ThroughputCheck
from worker.images.serve import ImageLink, ImageServer
from worker.interfaces.engine import Image
from worker.link.requests import Requests

LAYERS = (b"base" * 1000, b"top" * 100_000)


class Node:
    """A worker that serves images, and fetches them from where `sources` says."""

    def __init__(self, name: str, pki: Pki) -> None:
        self.name = name
        self.engine = FakeEngine()
        self.server = ImageServer(self.engine, SystemClock())
        self.files = pki.files(name)
        self.requests = Requests()
        self.asked: list[FetchImage] = []
        self.held: list[object] = []
        self.said: list[str] = []
        self.sources: Callable[[FetchImage], list[ImageSource]] = lambda _: []
        context = client_context(self.files)
        link = ImageLink(lambda: context, lambda: "")
        fetched = FetchedImages(pki.directory / f"{name}.json", self.engine, self.requests, LoopClock(), 0)
        self.fetcher = ImageFetcher(self.engine, self.requests, link.dial, random.Random(1), fetched)
        self.listener: Server | None = None

    def has(self, archive: Archive, data: bytes | None = None) -> None:
        self.engine.archives[archive.image_id] = archive.tar() if data is None else data
        self.engine.details[archive.image_id] = Image(id=archive.image_id, layers=archive.layers, size=300_000)

    def will_load(self, archive: Archive, name: str = "") -> None:
        """Let the engine take what comes for this image, and call it by another id if so told."""

        def loaded(data: bytes) -> str:
            known = name or archive.image_id
            self.engine.details[known] = Image(id=known, layers=archive.layers)
            return known

        self.engine.on_load = loaded

    async def answer(self) -> None:
        while True:
            number, question = await self.requests.take()
            if isinstance(question, FetchImage):
                self.asked.append(question)
                self.requests.answered(number, ImageSources(sources=tuple(self.sources(question))))
            else:
                self.held.append(question)

    async def fetch(self, archive: Archive) -> str:
        return await self.fetcher.fetch(archive.image_id, self.said.append)


class World:
    def __init__(self, folder: Path) -> None:
        self.pki = Pki(folder)
        self.nodes: dict[str, Node] = {}
        self._stack = contextlib.AsyncExitStack()

    async def node(self, name: str) -> Node:
        node = self.nodes[name] = Node(name, self.pki)
        node.listener = await self._stack.enter_async_context(
            await serve("127.0.0.1", 0, peer_context(node.files), node.server.handle, node.server.admission)
        )
        answering = asyncio.create_task(node.answer())
        self._stack.callback(answering.cancel)
        return node

    async def source(self, name: str, fetcher: str, archive: Archive, ticket: str = "") -> ImageSource:
        """Let a node fetch an image from another, as a manager does."""
        node = self.nodes[name]
        ticket = ticket or f"ticket-{name}-{fetcher}"
        await node.server.grant(ImageGrant(ticket=ticket, image_id=archive.image_id, node_id=fetcher))
        assert node.listener is not None
        return ImageSource(node_id=name, hostname=f"host-{name}", addr=f"127.0.0.1:{node.listener.port}", ticket=ticket)

    async def close(self) -> None:
        await self._stack.aclose()


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(image_fetch, "RETRY_SECONDS", (0.05, 0.1))
    world = World(tmp_path)
    yield world
    await world.close()


@pytest.fixture
def archive() -> Archive:
    return Archive(*LAYERS)


async def test_an_image_comes_whole_and_the_manager_hears_of_it(world: World, archive: Archive) -> None:
    there, here = await world.node("a"), await world.node("b")
    there.has(archive)
    here.will_load(archive)
    source = await world.source("a", "b", archive)
    here.sources = lambda _: [source]
    assert await here.fetch(archive)
    assert here.engine.loaded == [archive.tar()[: len(here.engine.loaded[0])]]
    assert here.said == ["fetching image from host-a (293KiB)"]
    assert len(here.engine.loaded[0]) <= here.fetcher.received <= len(archive.tar())
    await asyncio.sleep(0)
    assert [held.image_id for held in here.held] == [archive.image_id]  # type: ignore[attr-defined]


async def test_layers_that_are_here_are_not_sent(world: World, archive: Archive) -> None:
    there, here = await world.node("a"), await world.node("b")
    there.has(archive)
    here.will_load(archive)
    here.engine.details["another"] = Image(id="another", layers=(archive.layers[0], "sha256:else"))
    here.engine.details["topless"] = Image(id="topless", layers=(archive.layers[1],))
    source = await world.source("a", "b", archive)
    here.sources = lambda _: [source]
    assert await here.fetch(archive)
    assert LAYERS[0] not in here.engine.loaded[0]
    assert LAYERS[1] in here.engine.loaded[0]


@pytest.mark.parametrize("containerd", [False, True])
async def test_an_engine_with_another_image_store_has_another_id(
    world: World, archive: Archive, containerd: bool
) -> None:
    there, here = await world.node("a"), await world.node("b")
    pinned, local = archive.image_id, archive.manifest_id
    if containerd:  # there, not here
        pinned, local = local, pinned
        archive.image_id = pinned
    there.has(archive)
    here.will_load(archive, local)
    source = await world.source("a", "b", archive)
    here.sources = lambda _: [source]
    assert await here.fetch(archive) == local
    assert await here.fetch(archive) == local
    assert len(here.engine.loaded) == 1, "what it is called here is remembered"
    await asyncio.sleep(0)
    assert here.held == [], "it could not give it on by that id"
    here.engine.details.clear()
    assert await here.fetch(archive) == local
    assert len(here.engine.loaded) == 2, "somebody has removed it"


async def test_what_the_engine_says_it_loaded_must_be_there(world: World, archive: Archive) -> None:
    there, here = await world.node("a"), await world.node("b")
    there.has(archive)
    here.engine.on_load = lambda _: archive.manifest_id
    source = await world.source("a", "b", archive)
    here.sources = lambda asked: [] if asked.failed else [source]
    with pytest.raises(NotFound, match="has no image"):
        await here.fetch(archive)


async def test_no_source_is_no_error(world: World, archive: Archive) -> None:
    assert not await (await world.node("b")).fetch(archive)


async def test_wrong_bytes_are_not_loaded_and_the_next_source_is_taken(world: World, archive: Archive) -> None:
    bad, good, here = [await world.node(name) for name in "abc"]
    other = Archive(b"another")
    other.manifest[0]["RepoTags"] = ["nginx:latest"]
    bad.has(archive, other.tar())
    good.has(archive)
    here.will_load(archive)
    offered = {name: await world.source(name, "c", archive) for name in "ab"}
    here.sources = lambda asked: [source for name, source in offered.items() if name not in asked.failed]
    assert await here.fetch(archive)
    assert len(here.engine.loaded) == 1
    assert LAYERS[1] in here.engine.loaded[0]


async def test_when_all_sources_are_bad_it_says_what_each_did(world: World, archive: Archive) -> None:
    bad, here = [await world.node(name) for name in "ab"]
    bad.has(archive, archive.tar()[:200_000])
    source = await world.source("a", "b", archive)
    here.sources = lambda asked: [] if asked.failed else [source]
    with pytest.raises(NotFound, match=r"host-a: it ended after .* before the image was complete"):
        await here.fetch(archive)
    assert here.engine.loaded == []
    assert [question.failed for question in here.asked] == [(), ("a",)]


async def test_a_source_that_breaks_off_is_followed_by_another(world: World, archive: Archive) -> None:
    weak, good, here = [await world.node(name) for name in "abc"]
    for node in (weak, good):
        node.has(archive)
    here.will_load(archive)
    weak.engine.archives[archive.image_id] = archive.tar()[:150_000]
    sources = [await world.source(name, "c", archive) for name in "ab"]
    here.sources = lambda _: sources
    assert await here.fetch(archive)
    assert here.engine.loaded == [archive.tar()[: len(here.engine.loaded[0])]]


@pytest.mark.parametrize(("sent", "why"), [(0, "nothing at all"), (5000, "nothing any more")])
async def test_a_source_that_goes_silent_is_followed_by_another(
    world: World,
    archive: Archive,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    sent: int,
    why: str,
) -> None:
    monkeypatch.setattr(image_fetch, "STALL_SECONDS", 0.1)
    silent, good, here = [await world.node(name) for name in ("a", "b", "c")]

    async def save(image_id: str) -> AsyncIterator[bytes]:
        if sent:
            yield archive.tar()[:sent]
        await asyncio.Event().wait()

    monkeypatch.setattr(silent.engine, "save", save)
    for node in (silent, good):
        node.has(archive)
    here.will_load(archive)
    sources = [await world.source(name, "c", archive) for name in ("a", "b")]
    here.sources = lambda _: sources
    assert await here.fetch(archive)
    assert len(here.engine.loaded) == 1
    assert f"from host-a: it sent {why} for 0." in caplog.text


async def trickle(data: bytes) -> AsyncIterator[bytes]:
    """Send as much as shows that there is something, and then hardly anything."""
    yield data[:5000]
    for start in range(5000, len(data)):
        yield data[start : start + 1]
        await asyncio.sleep(0.01)


def in_large_pieces(archive: Archive) -> Callable[[str], AsyncIterator[bytes]]:
    async def save(_: str) -> AsyncIterator[bytes]:
        data = archive.tar()
        for start in range(0, len(data), 1 << 20):
            yield data[start : start + (1 << 20)]

    return save


async def test_a_trickling_source_is_replaced_and_asked_last_later(
    world: World, archive: Archive, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(image_fetch, "STALL_SECONDS", 0.2)
    slow, good, here = [await world.node(name) for name in ("a", "b", "c")]
    monkeypatch.setattr(slow.engine, "save", lambda _: trickle(archive.tar()))
    for node in (slow, good):
        node.has(archive)
    here.will_load(archive)
    sources = [await world.source(name, "c", archive) for name in ("a", "b")]
    here.sources = lambda _: sources
    assert await here.fetch(archive)
    assert "from host-a: only" in caplog.text
    here.engine.details.clear()
    caplog.clear()
    assert await here.fetch(archive)
    assert "host-a" not in caplog.text


async def test_a_size_that_nothing_has_is_not_waited_for(
    world: World, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_fetch, "STALL_SECONDS", 0.1)
    monkeypatch.setattr(image_fetch, "LONGEST_WRITE", 0.1)
    silent, here = [await world.node(name) for name in "ab"]
    silent.has(archive)
    silent.engine.details[archive.image_id] = Image(id=archive.image_id, layers=archive.layers, size=1 << 62)

    async def save(image_id: str) -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    monkeypatch.setattr(silent.engine, "save", save)
    source = await world.source("a", "b", archive)
    here.sources = lambda asked: [] if asked.failed else [source]
    with pytest.raises(NotFound, match=r"it sent nothing at all for 0\.2 s"):
        await here.fetch(archive)


@pytest.fixture
def large() -> Archive:
    """More than any buffer on the way takes."""
    return Archive(bytes(32 << 20))


async def test_one_node_alone_cannot_keep_an_image_from_the_others(
    world: World, large: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = large
    there, here = await world.node("a"), await world.node("b")
    there.has(archive)
    monkeypatch.setattr(there.engine, "save", in_large_pieces(archive))
    here.will_load(archive)
    greedy = client_context(world.pki.files("evil"))
    taken = await world.source("a", "evil", archive)
    channels = []
    for _ in range(image_server.MAX_SERVED + 1):
        channel = await ImageLink(lambda: greedy, lambda: "").dial(taken)
        await channel.send(ImageRequest(ticket=taken.ticket, image_id=archive.image_id))
        channels.append(channel)
    assert isinstance((await channels[0].receive()).message, ImageOffer)
    await channels[0].send(ImageWant())
    source = await world.source("a", "b", archive)
    here.sources = lambda _: [source]
    async with asyncio.timeout(5):
        assert await here.fetch(archive)
    for channel in channels:
        await channel.close()


async def test_a_node_holds_few_connections_without_a_ticket(world: World, archive: Archive) -> None:
    """Each costs a handshake and the memory of a TLS connection, and is waited for some seconds."""
    there = await world.node("a")
    there.has(archive)
    assert there.listener is not None
    evil, good = (client_context(world.pki.files(name)) for name in ("evil", "b"))
    address = ("127.0.0.1", there.listener.port)
    silent = [
        await dial(*address, evil, server_name=peer_name("a")) for _ in range(image_server.MOST_SILENT_OF_NODE + 1)
    ]
    refused = (await silent[-1].receive()).message
    assert isinstance(refused, Refused)
    assert "have not shown a ticket" in refused.message
    source = await world.source("a", "b", archive)
    channel = await ImageLink(lambda: good, lambda: "").dial(source)
    await channel.send(ImageRequest(ticket=source.ticket, image_id=archive.image_id))
    assert isinstance((await channel.receive()).message, ImageOffer)
    for each in (*silent, channel):
        await each.close()


async def test_who_is_no_worker_is_not_waited_for(world: World, archive: Archive) -> None:
    """A client of the API, say, whose certificate is of the same authority."""
    there = await world.node("a")
    assert there.listener is not None
    client = client_context(world.pki.files("alice", "swarm-viewer"))
    channel = await dial("127.0.0.1", there.listener.port, client, server_name=peer_name("a"))
    refused = (await channel.receive()).message
    assert isinstance(refused, Refused)
    assert refused.message.startswith("images are for workers: swarm-viewer alice")
    await channel.close()


async def test_connections_without_a_ticket_cost_their_address(world: World, archive: Archive) -> None:
    there = await world.node("a")
    there.has(archive)
    assert there.listener is not None
    evil, now = client_context(world.pki.files("evil")), asyncio.get_running_loop().time
    free = there.server.admission._failed.left("127.0.0.1", now())
    for _ in range(3):
        channel = await dial("127.0.0.1", there.listener.port, evil, server_name=peer_name("a"))
        await channel.close()
    async with asyncio.timeout(5):
        while there.listener.connections:
            await asyncio.sleep(0.01)
    assert there.server.admission._failed.left("127.0.0.1", now()) < free
    taken = await world.source("a", "evil", archive)
    channel = await ImageLink(lambda: evil, lambda: "").dial(taken)
    await channel.send(ImageRequest(ticket=taken.ticket, image_id=archive.image_id))
    assert isinstance((await channel.receive()).message, ImageOffer)
    await channel.close()


async def test_a_node_waits_for_its_turn_with_few_connections(world: World, archive: Archive) -> None:
    there = await world.node("a")
    there.has(archive)
    taken = await world.source("a", "evil", archive)
    greedy = client_context(world.pki.files("evil"))
    refused = 0
    channels = []
    for _ in range(image_server.MAX_WAITING + 1):
        channel = await ImageLink(lambda: greedy, lambda: "").dial(taken)
        await channel.send(ImageRequest(ticket=taken.ticket, image_id=archive.image_id))
        channels.append(channel)
    answers = [asyncio.create_task(channel.receive()) for channel in channels]
    done: set[asyncio.Task[Frame]] = set()
    async with asyncio.timeout(5):
        while len(done) < 2:
            done, _ = await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED, timeout=0.05)
    refused = sum(isinstance(each.result().message, Refused) for each in done)
    assert (refused, len(done)) == (1, 2), "one is offered the image, one is too many, the others wait"
    for each in answers:
        each.cancel()
    for channel in channels:
        await channel.close()


async def test_who_takes_an_image_too_slowly_is_given_up(
    world: World, large: Archive, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(image_server, "ThroughputCheck", lambda _: ThroughputCheck(0.1, least=1 << 40))
    caplog.set_level("INFO")
    there, here = await world.node("a"), await world.node("b")
    there.has(large)
    monkeypatch.setattr(there.engine, "save", in_large_pieces(large))
    source = await world.source("a", "b", large)
    here.sources = lambda asked: [] if asked.failed else [source]
    monkeypatch.setattr(here.engine, "load", taking_its_time)
    with pytest.raises(NotFound, match="before the image was complete"):
        await here.fetch(large)
    assert "which is too slow" in caplog.text


async def taking_its_time(archive: AsyncIterable[bytes]) -> str:
    async for _ in archive:
        await asyncio.sleep(0.01)
    return ""


@pytest.mark.parametrize(
    ("size", "why"), [(1000, "it sends more than 128KiB"), (1 << 62, "the image has .*, and / only .* left")]
)
async def test_a_source_cannot_fill_the_disk(
    world: World, archive: Archive, monkeypatch: pytest.MonkeyPatch, size: int, why: str
) -> None:
    """A layer may have no end: what an engine takes over is only known at the end of the archive."""
    monkeypatch.setattr(image_fetch, "SLACK", 126 << 10)
    evil, here = await world.node("a"), await world.node("b")

    async def save(image_id: str) -> AsyncIterator[bytes]:
        for number in itertools.count():
            layer = tarfile.TarInfo(f"blobs/sha256/{number:064x}")
            layer.size = 8192
            yield layer.tobuf() + bytes(layer.size)
            await asyncio.sleep(0)

    monkeypatch.setattr(evil.engine, "save", save)
    evil.has(archive)
    evil.engine.details[archive.image_id] = Image(id=archive.image_id, layers=archive.layers, size=size)
    here.engine.root = "/"
    source = await world.source("a", "b", archive)
    here.sources = lambda request: [] if request.failed else [source]
    with pytest.raises(NotFound, match=why):
        await here.fetch(archive)
    assert archive.image_id not in here.engine.details


@pytest.mark.parametrize(("ticket", "node"), [("ticket-a-b", "c"), ("forged", "b")])
async def test_only_who_has_a_ticket_gets_an_image(
    world: World, archive: Archive, ticket: str, node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_server, "_GRANT_WAIT", 0.1)
    there = await world.node("a")
    there.has(archive)
    await world.source("a", "b", archive)
    thief = client_context(world.pki.files(node))
    assert there.listener is not None
    channel = await dial("127.0.0.1", there.listener.port, thief, server_name=peer_name("a"))
    await channel.send(ImageRequest(ticket=ticket, image_id=archive.image_id))
    answer = (await channel.receive()).message
    await channel.close()
    assert isinstance(answer, Refused)
    assert isinstance(error_of_refusal(answer), PermissionDenied)
    assert there.engine.calls["save"] == 0


async def test_a_ticket_is_for_one_image(world: World, archive: Archive) -> None:
    there = await world.node("a")
    other = Archive(b"secret")
    there.has(archive)
    there.has(other)
    source = await world.source("a", "b", archive)
    channel = await ImageLink(lambda: client_context(world.pki.files("b")), lambda: "").dial(source)
    await channel.send(ImageRequest(ticket=source.ticket, image_id=other.image_id))
    answer = (await channel.receive()).message
    await channel.close()
    assert isinstance(answer, Refused)
    assert there.engine.calls["save"] == 0


async def test_a_ticket_may_come_before_the_managers_word(world: World, archive: Archive) -> None:
    there, here = await world.node("a"), await world.node("b")
    there.has(archive)
    here.will_load(archive)
    source = await world.source("a", "b", archive)
    there.server._grants.clear()
    here.sources = lambda _: [source]
    fetching = asyncio.create_task(here.fetch(archive))
    await asyncio.sleep(0.2)
    assert not fetching.done()
    await world.source("a", "b", archive)
    assert await fetching


async def test_workers_cannot_pose_as_managers_nor_as_each_other(world: World) -> None:
    there = await world.node("a")
    assert there.listener is not None
    context = client_context(world.pki.files("b"))
    with pytest.raises(Unauthenticated, match="is not a manager"):
        await dial("127.0.0.1", there.listener.port, context)
    with pytest.raises(Unauthenticated, match=r"is not c\.swarm-worker"):
        await dial("127.0.0.1", there.listener.port, context, server_name=peer_name("c"))


async def test_managers_cannot_be_taken_for_workers(world: World) -> None:
    async with await serve("127.0.0.1", 0, world.pki.server("a"), lambda channel: channel.close()) as manager:
        context = client_context(world.pki.files("b"))
        with pytest.raises(Unauthenticated):
            await dial("127.0.0.1", manager.port, context, server_name=peer_name("a"))


async def test_strangers_are_not_even_heard(world: World, tmp_path: Path, archive: Archive) -> None:
    there = await world.node("a")
    there.has(archive)
    await world.source("a", "b", archive)
    stranger = client_context(Pki(tmp_path / "other").files("b"))
    stranger.load_verify_locations(there.files.root)
    assert there.listener is not None
    # TLS 1.3 lets a client believe for a moment that it is connected.
    channel = await dial("127.0.0.1", there.listener.port, stranger, server_name=peer_name("a"))
    with pytest.raises(ChannelClosed):
        await channel.receive()
    assert there.engine.calls["save"] == 0


async def test_a_busy_source_serves_so_many_and_others_wait(
    world: World, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = await world.node("a")
    there.has(archive)
    go_on, begun = asyncio.Event(), 0
    save = there.engine.save

    async def slow(image_id: str) -> AsyncIterator[bytes]:
        nonlocal begun
        begun += 1
        await go_on.wait()
        async for piece in save(image_id):
            yield piece

    monkeypatch.setattr(there.engine, "save", slow)
    fetchers = [await world.node(f"n{number}") for number in range(5)]
    for node in fetchers:
        node.will_load(archive)
        sources = [await world.source("a", node.name, archive)]
        node.sources = lambda _, sources=sources: sources  # type: ignore[misc]
    served, others = fetchers[: image_server.MAX_SERVED], fetchers[image_server.MAX_SERVED :]
    fetches = [asyncio.create_task(node.fetch(archive)) for node in served]
    while begun < image_server.MAX_SERVED:
        await asyncio.sleep(0.01)
    with monkeypatch.context() as patch:  # the others need not wait long to find that it is busy
        patch.setattr(image_fetch, "OFFER_SECONDS", 0.1)
        fetches += [asyncio.create_task(node.fetch(archive)) for node in others]
        while not all(any(said.startswith("waiting for host-a") for said in node.said) for node in others):
            await asyncio.sleep(0.01)
    assert begun == image_server.MAX_SERVED
    go_on.set()
    assert all(await asyncio.gather(*fetches))
    assert begun == 5


@pytest.mark.parametrize(
    "addr",
    ["localhost:{port}", "not-an-ip:{port}", "127.0.0.1", "[127.0.0.1]:{port}", "::1:{port}", "127.0.0.1:x"],
)
async def test_a_source_is_an_address_and_nobody_is_asked_for_names(
    world: World, archive: Archive, addr: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, here = await world.node("a"), await world.node("b")
    there.has(archive)
    here.will_load(archive)
    source = await world.source("a", "b", archive)
    port = source.addr.rpartition(":")[2]
    odd = msgspec.structs.replace(source, addr=addr.format(port=port))
    here.sources = lambda asked: [] if asked.failed else [odd]
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", _ask_nobody)
    with pytest.raises(NotFound, match="no manager can be reached to join us with host-a"):
        await here.fetch(archive)


async def _ask_nobody(host: object, *_: object, **__: object) -> object:
    raise AssertionError(f"somebody was asked where {host!r} is")


@pytest.mark.parametrize("node_id", ["", ".", "a" * 300, "a\0b", "-", "é"])
async def test_a_source_that_is_no_node_is_followed_by_another(world: World, archive: Archive, node_id: str) -> None:
    there, here = await world.node("a"), await world.node("b")
    there.has(archive)
    here.will_load(archive)
    source = await world.source("a", "b", archive)
    here.sources = lambda _: [msgspec.structs.replace(source, node_id=node_id), source]
    assert await here.fetch(archive)


async def test_a_sources_own_words_are_few_and_can_be_read(world: World, archive: Archive) -> None:
    """They go to the task's status: a large one would be no message any more, and end this node's session."""
    here = await world.node("b")
    loud = Refused(code="NotFound", message="\x1b[31m\n" + "x" * 60_000)

    async def refuse(channel: Channel) -> None:
        await channel.receive()
        await channel.send(loud)
        await channel.close()

    files = world.pki.files("a")
    async with await serve("127.0.0.1", 0, peer_context(files), refuse) as listener:
        source = ImageSource(node_id="a", hostname="h\x07" * 5000, addr=f"127.0.0.1:{listener.port}", ticket="t")
        here.sources = lambda asked: [] if asked.failed else [source]
        with pytest.raises(NotFound) as refused:
            await here.fetch(archive)
    assert len(refused.value.message) < 1000
    assert refused.value.message.isprintable()


async def test_an_offer_is_small(world: World, archive: Archive) -> None:
    here = await world.node("b")

    async def offer(channel: Channel) -> None:
        await channel.receive()
        with contextlib.suppress(ChannelClosed):
            await channel.send(ImageOffer(size=1, layers=("sha256:" + "0" * 64,) * 100_000))
        await channel.close()

    files = world.pki.files("a")
    async with await serve("127.0.0.1", 0, peer_context(files), offer) as listener:
        source = ImageSource(node_id="a", hostname="a", addr=f"127.0.0.1:{listener.port}", ticket="t")
        here.sources = lambda asked: [] if asked.failed else [source]
        with pytest.raises(NotFound, match="oversize frame"):
            await here.fetch(archive)


async def test_questions_outlive_a_session() -> None:
    requests = Requests()
    asking = asyncio.create_task(requests.sources(FetchImage(image_id="x")))
    number, _ = await requests.take()
    requests.lost()
    again, question = await requests.take()
    assert (again, question) == (number, FetchImage(image_id="x"))
    requests.answered(again, ImageSources())
    assert await asking == ImageSources()
    requests.answered(again, ImageSources())  # nobody waits any more
