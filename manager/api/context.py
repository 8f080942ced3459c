"""What handlers work with: the store, and what is not in it. The composition root provides both.

`Host` is the machine that the manager runs on, as `/info` and `/version` name it.
"""

from __future__ import annotations

import platform
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from common.clock import Clock
from common.errors import InvalidArgument
from common.model import Cluster
from manager.api.containers.index import ContainerIndex
from manager.api.engine.connections import Engines
from manager.api.engine.presence import Presence
from manager.api.events.log import EventLog
from manager.api.http.answer_memory import Lease
from manager.api.leader.quorum import Quorum, SingleManager
from manager.api.logs.stream import FollowedLogs
from manager.api.overview.feed import Feed
from manager.api.overview.observer import Observer
from manager.api.render import JsonCache
from manager.ca.authority import Authority
from manager.metrics.facts import ReadVitals, Vitals
from manager.metrics.families import Pages
from manager.metrics.instruments import Instruments
from manager.metrics.soft_state import SoftState
from manager.schedule.load import ClusterLoad
from manager.store.store import Records


@dataclass(frozen=True, slots=True)
class Identity:
    """This manager: its node's id, the address that it advertises, and the program's version.

    `hosts` are the `tcp://ADDRESS:PORT` at which clients from elsewhere reach its API, `dashboards` where browsers find
    the shared dashboard.
    """

    node_id: str
    address: str
    version: str
    hosts: tuple[str, ...] = ()
    dashboards: tuple[str, ...] = ()


class ReadAudit(Protocol):
    """Reads the audit log, as `AuditLog.read` does."""

    def __call__(self, before: str, limit: int, *, changes: bool) -> Sequence[object]: ...


class Keys(Protocol):
    """The keys that this manager's files are opened with."""

    @property
    def locked(self) -> bool:
        """Whether they are locked, so that nothing about the cluster can be answered."""

    async def unlock(self, unlock_key: str) -> None:
        """Open them, and wait until the cluster's API answers.

        Raises:
            InvalidArgument: it is not the key that they are locked with.

        """

    def relock(self, cluster: Cluster) -> None:
        """Lock them with the cluster's present unlock key, or unlock them if it has none.

        Raises:
            Unavailable: they cannot be written.

        """


class OpenKeys:
    """Keys without files, which nothing locks."""

    locked = False

    async def unlock(self, unlock_key: str) -> None:
        raise InvalidArgument(f"{len(unlock_key)} characters of a key for what is not locked")

    def relock(self, cluster: Cluster) -> None:
        """Do nothing: there is nothing to lock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThisManager:
    """The manager that an API belongs to.

    leave: awaited when a client makes this manager leave; it ends the cluster.
    keys: what its files are opened with.
    quorum: what it knows of the other managers, and asks their leader.
    """

    identity: Identity
    leave: Callable[[], Awaitable[None]]
    keys: Keys = field(default_factory=OpenKeys)
    quorum: Quorum = field(default_factory=SingleManager)


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry:
    """What is measured and not stored: of the cluster, as workers say it, and of this manager.

    instruments: measure this manager. vitals: reads what its files say.
    """

    soft: SoftState
    instruments: Instruments = field(default_factory=Instruments)
    vitals: ReadVitals = Vitals


class Context(msgspec.Struct, frozen=True, eq=False):
    """All that a handler may use.

    `quorum` is what this manager knows of the others, `load()` what the scheduler knows of nodes (None where it does
    not run), `leave()` ends the cluster. `keys` are what this manager's files are opened with. `answers` is charged for
    what engines say in the course of one request.
    """

    store: Records
    clock: Clock
    rng: random.Random
    engines: Engines
    identity: Identity
    authority: Authority
    host: Host
    quorum: Quorum
    leave: Callable[[], Awaitable[None]]
    events: EventLog
    cache: JsonCache
    presence: Presence
    containers: ContainerIndex
    followed: FollowedLogs
    soft: SoftState
    overview: Observer
    feed: Feed
    load: Callable[[], ClusterLoad | None]
    pages: Pages
    answers: Lease
    read_audit: ReadAudit
    keys: Keys


_GO_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


@dataclass(frozen=True, slots=True)
class Host:
    hostname: str
    os: str
    architecture: str
    kernel: str
    operating_system: str

    @property
    def go_architecture(self) -> str:
        """The architecture as Docker names it, such as amd64 or arm64."""
        return _GO_ARCHITECTURES.get(self.architecture, self.architecture)


def this_host() -> Host:
    """Describe the machine; reads /etc/os-release once."""
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        name = platform.system()
    return Host(platform.node(), platform.system().lower(), platform.machine(), platform.release(), name)
