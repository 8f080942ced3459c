"""Saying everything wrong, one message after the other: in the simulation, and on real engines.

Where it takes place is a `Testbed`. What a message may name is learnt from what the evil node was told.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from common.errors import ResourceExhausted, SwarmError
from common.model import TaskState
from common.model.node import NodeDescription
from common.wire.channel import ChannelClosed
from common.wire.codec import encode
from common.wire.image_messages import ImageSeen, SeekImage
from common.wire.membership_messages import Withdraw
from common.wire.message import Message
from common.wire.messages import (
    MESH,
    MESH6,
    PROTOCOL_VERSION,
    AnyMessage,
    Assignments,
    Hello,
    JoinRequest,
    Leave,
    Refused,
    RootRequest,
)
from tests.hostile.evil_engine import EvilEngine
from tests.hostile.evil_worker import EvilWorker, own_address
from tests.hostile.lines import Line
from tests.hostile.mutations import Mutator, Vocabulary, kinds, paths

# How often each message is said: those that a session takes are what is behind the first door.
SESSION, OPENING, FOREIGN = 12, 2, 1
# And as often as it has places to be made wrong, and some more.
_LEAST = 5
# They end the node, and another joins, or have nothing to do with workers: seldom, or there is nothing else.
_SELDOM = {Leave.__name__: 0.2, Withdraw.__name__: 0.2, Assignments.__name__: 0.2}
# What is said by those who have no certificate.
_OF_STRANGERS = (RootRequest.__name__, JoinRequest.__name__)
_PAUSES = (0.0, 0.0, 0.005, 0.02, 0.1)


class Testbed(Protocol):
    """A cluster that is attacked. Nodes are known by their host names."""

    def now(self) -> float:
        """Return the time of the manager's clock."""

    async def join(self, name: str) -> EvilWorker:
        """Let another evil node join; it says nothing yet. Raises SwarmError when the manager refuses."""

    async def stranger(self) -> Line:
        """Open a connection without a certificate."""

    async def node_id(self, name: str) -> str:
        """Return a node's id, empty when it is none any more."""

    async def others(self, name: str) -> Mapping[str, Sequence[str]]:
        """Return what there is that is not that node's, as a `Vocabulary` has it."""

    async def prepare(self, name: str) -> None:
        """Have everything there that an evil node may speak of, such as a plain container of its own."""

    def forgive(self) -> None:
        """Let what evil nodes are kept out for be over, where that can be."""


class Attack:
    """One evil node after the other, and what is said by it. `ended` counts what the manager ended sessions over."""

    def __init__(self, testbed: Testbed, seed: int) -> None:
        self.ended: Counter[str] = Counter()
        self.joined = 0
        self._testbed = testbed
        self._rng = random.Random(seed)
        self._engine = EvilEngine(Path("/nonexistent"), seed=seed, others=("web", "vault", "alice", "bob"))
        self._known = Vocabulary(now=testbed.now)
        self._mallory: EvilWorker | None = None
        self._roles: dict[str, int] = {}
        self._weights: list[float] = []
        self.mutator = Mutator(seed, self._known, kinds())

    @property
    def tried(self) -> Mapping[tuple[str, tuple[str, ...]], int]:
        return self.mutator.tried

    async def begin(self, first: EvilWorker | None = None, name: str = "") -> None:
        """Begin as `first`, a node of this name, or as one that joins; find out which message is said when."""
        self._name = name
        self._mallory = first
        if first is None:
            await self._join()
        else:
            self._arm(first)
        for kind in kinds().values():
            self._roles[kind.__name__] = await self._role(kind)
        said = {often: {name for name, each in self._roles.items() if each == often} for often in self._roles.values()}
        assert {"StatusReport", "NodeReport", "Usage", "AttachmentReport"} <= said[SESSION]
        assert {"Hello", "JoinRequest", "StreamHello"} <= said[OPENING]
        assert {"Assignments", "Welcome"} <= said[FOREIGN]
        self._weights = [
            often * _SELDOM.get(name, 1.0) * (_LEAST + len(paths(kinds()[name]))) for name, often in self._roles.items()
        ]
        await self.back()

    async def say(self) -> None:
        """Say one thing."""
        (name,) = self._rng.choices(list(self._roles), self._weights)
        frame = self.mutator.frame(name)
        if self._roles[name] == OPENING:
            await self._open_with(name, frame)
            return
        if not self.mallory.connected:
            await self.back()
        try:
            await self.mallory.sends(frame)
        except ChannelClosed:
            await self.back()
        await asyncio.sleep(self._rng.choice(_PAUSES))
        if self.mallory.ended is not None:
            self.ended[f"{type(self.mallory.ended).__name__} after {name}"] += 1

    async def back(self) -> None:
        """Have a session, as this node or, if it is none any more, as the next; learn what there is by now."""
        while not self.mallory.connected or not await self._testbed.node_id(self._name):
            self._testbed.forgive()
            try:
                await self.mallory.hello(self._name)
            except SwarmError:
                await self._join()
            except TimeoutError:
                await asyncio.sleep(1.0)
        await self._testbed.prepare(self._name)
        await self._learn()

    # --- inside -------------------------------------------------------------------------------------------------------

    @property
    def mallory(self) -> EvilWorker:
        assert self._mallory is not None, "`begin` sets it"
        return self._mallory

    async def _join(self) -> None:
        if self._mallory is not None:
            await self._mallory.hangs_up()
            self._mallory.forgets()
        while True:
            name = f"evil{self.joined}"
            self.joined += 1
            try:
                self._mallory = await self._testbed.join(name)
            except ResourceExhausted:
                await asyncio.sleep(5.0)  # who joins too often waits
                continue
            self._name = name
            self._arm(self._mallory)
            return

    def _arm(self, mallory: EvilWorker) -> None:
        mallory.answers[SeekImage] = lambda _: ImageSeen()
        mallory.engine = self._engine._serve

    async def _role(self, kind: type[Message]) -> int:
        """Say how often a kind is said, by what the manager does with one as it should be."""
        await self.back()
        with contextlib.suppress(ChannelClosed):
            await self.mallory.says(self._plain(kind))
        await asyncio.sleep(0.5)
        if not re.search("does not say|no such message", str(self.mallory.ended)):
            return SESSION
        line = await self.mallory._dial()
        try:
            await line.send(encode(self._plain(kind)))
            return FOREIGN if "cannot begin" in await _why_ended(line) else OPENING
        finally:
            await line.close()

    def _plain(self, kind: type[Message]) -> AnyMessage:
        """Make a message with nothing but what it must have."""
        if kind is Hello:
            return Hello(protocol=PROTOCOL_VERSION, description=NodeDescription(hostname=self._name))
        needed = (each for each in msgspec.structs.fields(kind) if each.required)
        return kind(**{each.name: _EMPTY.get(each.type, ()) for each in needed})  # type: ignore[return-value]

    async def _learn(self) -> None:
        """Learn the names of what there is by now."""
        node_id, assigned = await self._testbed.node_id(self._name), self.mallory.assigned
        networks = [MESH, MESH6, *assigned.networks]
        live = [task.id for task in assigned.tasks.values() if task.desired_state <= TaskState.RUNNING]
        self._known.own = {
            "taskid": live or ["none"],
            "attachmentid": list(assigned.attachments) or ["none"],
            "nodeid": [node_id],
            "addresses{key}": networks,
            "addresses{value}": [own_address(assigned, node_id, each) for each in networks],
            "state": [TaskState.RUNNING] * 18 + [TaskState.READY, TaskState.FAILED],
            "protocol": [PROTOCOL_VERSION],
            "hostname": [self._name],
        }
        self._known.others = {
            **await self._testbed.others(self._name),
            "addresses{key}": networks,
        }

    async def _open_with(self, name: str, frame: bytes) -> None:
        line = await (self._testbed.stranger() if name in _OF_STRANGERS else self.mallory._dial())
        try:
            with contextlib.suppress(TimeoutError, SwarmError):
                await line.send(frame)
                async with asyncio.timeout(0.1):
                    await line.receive()
        finally:
            await line.close()
        if name == Hello.__name__:
            await asyncio.sleep(0.05)  # if it was one, it has ended the session before


_EMPTY: dict[Any, Any] = {str: "", int: 0, float: 0.0, bytes: b"", bool: False}


async def _why_ended(line: Line) -> str:
    """Return why the manager refuses a connection, empty where it does not at once."""
    with contextlib.suppress(SwarmError, TimeoutError):
        async with asyncio.timeout(0.5):
            while True:
                message = (await line.receive()).message
                if isinstance(message, Refused):
                    return message.message
    return ""
