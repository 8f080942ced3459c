"""Fetching an image from the workers that the manager says have it, one after the other until one gives it.

A source must be fast enough: a slow one would hold a place that others wait for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import shutil
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

from common.errors import NotFound, ProtocolError, SwarmError, Unavailable
from common.text.quantities import human_size
from common.wire.allowances import fitting
from common.wire.channel import Channel, open_raw
from common.wire.handshake import error_of_refusal
from common.wire.image_messages import FetchImage, ImageOffer, ImageRequest, ImageSource, ImageWant
from common.wire.messages import Refused
from common.wire.transports import keep_alive
from worker.images.archive import ImageTar, WrongImage
from worker.images.cleanup import FetchedImages
from worker.intake.identifiers import brief
from worker.interfaces.engine import Engine, EngineDown, EngineError
from worker.link.requests import Requests

# Each fills the disk's queue: more at once are not faster.
MAX_FETCHES = 2
# How long to wait for a source that serves others: after that another source may be quicker.
OFFER_SECONDS = 10.0
# A source that sends nothing for so long is given up, and the image is fetched anew from the next one.
STALL_SECONDS = 15.0
# Before the first byte an engine writes the image to its disk, at least at this speed (bytes a second) and in this time
# (seconds), whatever size its worker says that it has.
SLOWEST_DISK = 10 << 20
LONGEST_WRITE = 1800.0
# An archive may be so much larger than the source says its image is: twice, and this (bytes).
SLACK = 64 << 20
# A node that could not give an image, or was too slow, is asked after all others for so long.
DOUBTED_SECONDS = 3600.0
PIECE = 256 * 1024
RETRY_SECONDS = (0.5, 1.5)
_TOLD = 10

# Bytes a second. The slowest line that an image is worth sending over takes nine hours for a gibibyte.
SLOWEST_PEER = 32 * 1024

_log = logging.getLogger(__name__)


class Busy(Unavailable):
    """The source serves others at the moment."""


class TooSlow(Unavailable):
    """The peer's throughput is below the minimum."""


@dataclass(slots=True)
class ThroughputCheck:
    """Checks a peer's throughput over the time that this end waits for it: what this end's own disk needs is left out.

    After `window` seconds of waiting in all it must have moved `least` bytes for each of them; then it is checked anew.
    """

    window: float
    least: int = SLOWEST_PEER
    _waited: float = 0.0
    _moved: int = 0

    def moved(self, size: int, waited: float) -> None:
        """Note that so many bytes have come or gone after so many seconds.

        Raises:
            TooSlow: the peer is.

        """
        self._waited += waited
        self._moved += size
        if self._waited < self.window:
            return
        if self._moved < self.least * self._waited:
            raise TooSlow(f"only {self._moved} bytes in {self._waited:.2g} s, which is too slow")
        self._waited, self._moved = 0.0, 0


class ImageFetcher:
    """Brings images to this host's engine. `dial` connects to a source; `fetched` remembers which images have come."""

    def __init__(
        self,
        engine: Engine,
        requests: Requests,
        dial: Callable[[ImageSource], Awaitable[Channel]],
        rng: random.Random,
        fetched: FetchedImages,
    ) -> None:
        self._engine = engine
        self._requests = requests
        self._dial = dial
        self._rng = rng
        self._fetched = fetched
        self._slots = asyncio.Semaphore(MAX_FETCHES)
        # Bytes of images that have come, those of fetches that failed among them.
        self.received = 0
        # When a node last failed to give an image (loop time).
        self._failed_at: dict[str, float] = {}

    async def fetch(self, image_id: str, tell: Callable[[str], None]) -> str:
        """Fetch an image (`sha256:…`); return its id on this engine, empty when no connected node has it.

        `tell` is called with what is being done, in words.

        Raises:
            NotFound: nodes have it, but none could give it; the message is the last one's.
            EngineDown: the engine here does not answer.

        """
        async with self._slots:
            known = self._fetched.name(image_id)
            if known and await self._engine.image(known) is not None:
                return known
            failed: dict[str, str] = {}
            while sources := await self._sources(image_id, failed):
                if name := await self._try_all(image_id, sources, failed, tell):
                    self._fetched.note(image_id, name)
                    if name == image_id:  # under another id it can be given to nobody
                        self._requests.held(image_id)
                    return name
                await asyncio.sleep(self._rng.uniform(*RETRY_SECONDS))
        if failed:
            first, more = list(failed.values())[:_TOLD], len(failed) - _TOLD
            others = f"; and {more} more cannot give it" if more > 0 else ""
            raise NotFound(f"image {image_id} cannot be fetched: {'; '.join(first)}{others}")
        return ""

    async def _sources(self, image_id: str, failed: Collection[str]) -> Sequence[ImageSource]:
        question = FetchImage(image_id=image_id, failed=fitting(failed))
        return (await self._requests.sources(question)).sources

    async def _try_all(
        self, image_id: str, sources: Sequence[ImageSource], failed: dict[str, str], tell: Callable[[str], None]
    ) -> str:
        for source in sorted(sources, key=lambda each: self._is_doubted(each.node_id)):
            try:
                name = await self._fetch_from(source, image_id, tell, whole=bool(failed))
            except EngineDown:
                raise
            except Busy:
                tell(f"waiting for {brief(source.hostname)}, which gives the image to others first")
            except SwarmError as error:
                why = f"{brief(source.hostname)}: {brief(error.message)}"  # it may be the source's own words
                _log.warning("image %s from %s", image_id, why)
                failed[source.node_id] = why
                self._failed_at[source.node_id] = _now()
            else:
                self._failed_at.pop(source.node_id, None)
                return name
        return ""

    def _is_doubted(self, node_id: str) -> bool:
        return _now() - self._failed_at.get(node_id, -math.inf) < DOUBTED_SECONDS

    async def _fetch_from(self, source: ImageSource, image_id: str, tell: Callable[[str], None], *, whole: bool) -> str:
        channel = await self._dial(source)
        try:
            offer = await _request_offer(channel, ImageRequest(ticket=source.ticket, image_id=image_id))
            most = await self._most(offer.size)
            tell(f"fetching image from {brief(source.hostname)} ({human_size(offer.size)})")
            # What failed once may have failed for a layer that has gone since: then all of it is sent.
            present = 0 if whole else await self._present(offer.layers)
            await channel.send(ImageWant(present=present))
            loaded = await self._load(channel, image_id, offer.size, most)
        finally:
            await channel.close()
        # What came was the image; an engine with another kind of image store than the source's calls it otherwise.
        name = image_id if await self._engine.image(image_id) is not None else loaded
        if not name or await self._engine.image(name) is None:
            raise WrongImage(f"the engine loaded the archive, but has no image {name or image_id}")
        _log.info("image %s fetched from %s, %d of its layers were here", image_id, brief(source.hostname), present)
        return name

    async def _present(self, layers: tuple[str, ...]) -> int:
        """Count the lowest layers that are here: an engine finds a layer only on top of the same ones."""
        here = await self._engine.layers()
        return max((_common_prefix(layers, other) for other in here), default=0)

    async def _most(self, size: int) -> int:
        """Return how many bytes to accept for an image that is said to have `size`, so that none fills this disk.

        Raises:
            Unavailable: the disk has no room for `size` bytes.

        """
        root = str((await self._engine.info()).get("DockerRootDir") or "")
        try:
            free = shutil.disk_usage(root).free
        except OSError as error:
            _log.warning("cannot check the free space for an image on the disk of %r: %s", root, error)
            return 2 * size + SLACK
        if size > free:
            raise Unavailable(f"the image has {human_size(size)}, and {root} only {human_size(free)} left")
        return min(2 * size + SLACK, free * 9 // 10)

    async def _load(self, channel: Channel, image_id: str, size: int, most: int) -> str:
        reader, writer = open_raw(channel)
        keep_alive(writer.transport)
        first = STALL_SECONDS + min(size / SLOWEST_DISK, LONGEST_WRITE)
        archive = _Archive(reader, ImageTar(image_id), first, most)
        try:
            async with contextlib.aclosing(archive.pieces()) as pieces:
                return await self._engine.load(pieces)
        except (EngineDown, EngineError):
            if archive.failure is not None:
                raise archive.failure from None
            raise
        finally:
            self.received += archive.received
            writer.transport.abort()


class _Archive:
    """The bytes of an archive as they come, checked, at most so many; `failure` is what was wrong with them.

    The first byte is waited for so many seconds, each further one for `STALL_SECONDS`.
    """

    def __init__(self, reader: asyncio.StreamReader, tar: ImageTar, first_seconds: float, most: int) -> None:
        self.received = 0
        self._most = most
        self.failure: SwarmError | None = None
        self._reader = reader
        self._tar = tar
        self._patience = first_seconds
        self._throughput = ThroughputCheck(STALL_SECONDS)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        try:
            while not self._tar.ended:
                data = await self._read()
                self.received += len(data)
                if self.received > self._most:
                    raise WrongImage(f"it sends more than {human_size(self._most)}: the image cannot have so much")
                for piece in self._tar.feed(data):
                    yield piece
        except SwarmError as error:
            self.failure = error
            raise

    async def _read(self) -> bytes:
        began = _now()
        try:
            async with asyncio.timeout(self._patience):
                data = await self._reader.read(PIECE)
        except TimeoutError:
            what = "any more" if self.received else "at all"
            raise Unavailable(f"it sent nothing {what} for {self._patience:.2g} s") from None
        except OSError as error:
            raise Unavailable(f"the connection broke after {self.received} bytes: {error}") from error
        self._patience = STALL_SECONDS
        if not data:
            raise Unavailable(f"it ended after {self.received} bytes, before the image was complete")
        if self.received:
            self._throughput.moved(len(data), _now() - began)
        return data


def _now() -> float:
    return asyncio.get_running_loop().time()


def _common_prefix(one: Sequence[str], other: Sequence[str]) -> int:
    """Return the length of the longest common prefix of two sequences."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((number for number, (left, right) in pairs if left != right), min(len(one), len(other)))


async def _request_offer(channel: Channel, request: ImageRequest) -> ImageOffer:
    await channel.send(request)
    try:
        async with asyncio.timeout(OFFER_SECONDS):
            answer = (await channel.receive()).message
    except TimeoutError:
        raise Busy("it serves others") from None
    if isinstance(answer, Refused):
        raise error_of_refusal(answer)
    if not isinstance(answer, ImageOffer):
        raise ProtocolError(f"expected an ImageOffer, got {type(answer).__name__}")
    if answer.size < 0:
        raise ProtocolError(f"an image of {answer.size} bytes is offered")
    return answer
