"""The local Docker engine, as the worker's core sees it: what it can be asked, what it says, how it fails."""

from __future__ import annotations

import enum
from collections.abc import AsyncGenerator, AsyncIterable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeAlias

from common.errors import SwarmError, Unavailable
from common.model.service import PortConfig

JSON: TypeAlias = dict[str, Any]

# Labels of a task's container. The first six are Docker Swarm's own; the last marks the containers that we may touch.
LABEL_TASK = "com.docker.swarm.task"
LABEL_TASK_ID = "com.docker.swarm.task.id"
LABEL_TASK_NAME = "com.docker.swarm.task.name"
LABEL_SERVICE_ID = "com.docker.swarm.service.id"
LABEL_SERVICE_NAME = "com.docker.swarm.service.name"
LABEL_NODE_ID = "com.docker.swarm.node.id"
LABEL_AGENT = "swarm.x.agent"
# Of what stands for a plain container here: it has another way out of the host than the cluster's gateway network.
LABEL_NO_GATEWAY = "swarm.x.no-gateway"
# What a plain container, as a task, calls other containers: JSON, name → name.
LABEL_LINKS = "swarm.x.links"

# What can change a task's container.
WATCHED_ACTIONS = ("start", "die", "kill", "oom", "rename", "destroy", "health_status")


class EngineError(SwarmError):
    """The engine refused a call. `http_status` is its answer's, the message its own."""

    http_status: int

    def __init__(self, http_status: int, message: str) -> None:
        super().__init__(message)
        self.http_status = http_status


class EngineDown(Unavailable):
    """The engine does not answer: wait until it is back, then look what became of the call."""

    code: ClassVar[str] = "Unavailable"


class EngineSilent(EngineDown):
    """The engine has taken the call and not answered it in its time."""


class Phase(enum.IntEnum):
    """How far a container is. A task's container only moves forward: nobody starts it twice."""

    CREATED = 1
    RUNNING = 2
    EXITED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """What the engine says of a container.

    health: "" without a check, else starting, healthy or unhealthy; health_said: what its last bad check wrote.
    error: why the engine could not start it, in its words.
    signal: the last deadly signal that was sent through the engine (15 for `docker stop`), 0 if none was.
    addresses: the address in each Docker network, by the network's name; `addresses6`: the IPv6 one, where it has one.
    ports: host-mode ports as the engine bound them.
    agent: the node whose task it is, empty if it is nobody's of this cluster.
    reserved_cpus, reserved_memory: what a plain container reserves (billionths of a core, bytes); not in lists.
    name: without the slash; hostname: its own name for itself.
    resolv_conf: the engine's file for it, on the host; mounts: where something is mounted.
    anonymous_volumes: by name.
    """

    id: str
    task_id: str = ""
    phase: Phase = Phase.CREATED
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    health: str = ""
    health_said: str = ""
    signal: int = 0
    pid: int = 0
    addresses: Mapping[str, str] = field(default_factory=dict)
    addresses6: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[PortConfig, ...] = ()
    name: str = ""
    hostname: str = ""
    resolv_conf: str = ""
    mounts: frozenset[str] = frozenset()
    agent: str = ""
    reserved_cpus: int = 0
    reserved_memory: int = 0
    anonymous_volumes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ContainerUsage:
    """The processor time (seconds) that a container has used since its start, and its memory (bytes) without cache."""

    cpu: float
    memory: float


@dataclass(frozen=True, slots=True)
class EngineConnected:
    """The event stream is open (again): what happened before may be missed, so list the containers after this."""


@dataclass(frozen=True, slots=True)
class EngineLost:
    """The event stream has ended, or could not be opened; `why` is for a person. `EngineConnected` follows one day."""

    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerEvent:
    """One event of a container; `task_id` is empty where it is no task's, `agent` the node whose task it is.

    `action` is the engine's: start, die, kill, oom, rename, destroy, health_status, update.
    """

    container_id: str
    task_id: str
    action: str
    exit_code: int = 0
    signal: int = 0
    health: str = ""
    agent: str = ""


EngineEvent: TypeAlias = EngineConnected | EngineLost | ContainerEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A local image. Without `repo_digests` it never came from a registry nor went to one.

    size: in bytes, of all its `layers` (their digests, the lowest first).
    """

    id: str
    repo_digests: tuple[str, ...] = ()
    size: int = 0
    layers: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineVolume:
    """A volume of the engine. `mountpoint`: where its data is on the host; `scope`: local, or global for all hosts."""

    name: str
    mountpoint: str = ""
    driver: str = "local"
    scope: str = "local"
    options: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


class Engine(Protocol):
    """The local Docker engine. Every call raises EngineDown when it does not answer and EngineError when it refuses."""

    async def info(self) -> JSON:
        """Return the answers of /info and /version, the latter under `Version`."""

    def events(
        self, labels: Mapping[str, str], actions: Collection[str] = WATCHED_ACTIONS
    ) -> AsyncGenerator[EngineEvent, None]:
        """Yield the events of containers with these labels, for ever; reconnects by itself."""

    async def create(self, name: str, body: JSON) -> str:
        """Create a container and return its id."""

    async def start(self, container_id: str) -> None: ...

    async def stop(self, container_id: str, grace: float | None) -> None:
        """Send the stop signal, after `grace` seconds (None: the container's own) kill; return when it has ended.

        A container that has ended or does not exist is not an error.
        """

    async def signal(self, container_id: str, name: str) -> None:
        """Send a signal, by its name, to the first process of a container."""

    async def remove(self, container: str, *, volumes: bool = True) -> None:
        """Remove a container, by id or name; one that does not exist is not an error.

        volumes: its anonymous volumes, too.
        """

    async def inspect(self, container: str) -> Container | None: ...

    async def last_logs(self, container: str, lines: int) -> bytes:
        """Return the last lines that a container wrote, as the engine answers; nothing of one that does not exist."""

    async def usage(self, container: str) -> ContainerUsage:
        """Return what a running container has used so far."""

    async def containers(self, labels: Mapping[str, str]) -> tuple[Container, ...]:
        """List all containers with these labels, running or not; exit codes, addresses and ports are not filled in."""

    async def image(self, reference: str) -> Image | None: ...

    async def pull(self, reference: str, auth: str) -> None:
        """Pull an image; `auth` is the JSON that the registry's client was given, or empty."""

    def save(self, image_id: str) -> AsyncGenerator[bytes, None]:
        """Yield an image's archive, as `docker save` writes it."""

    async def load(self, archive: AsyncIterable[bytes]) -> str:
        """Load an archive's image without a name; return its id here, which may not be that of where it comes from.

        When the archive raises, nothing is loaded, and the engine's error says little.
        """

    async def remove_image(self, image_id: str) -> bool:
        """Remove an image that nothing uses; False when something does, or it has a name."""

    async def layers(self) -> Collection[tuple[str, ...]]:
        """Return the layers of every local image that need not be sent again, the lowest first."""

    async def volumes(self) -> tuple[EngineVolume, ...]:
        """List all volumes, anonymous ones too."""

    async def volume(self, name: str) -> EngineVolume | None: ...

    async def mounting(self, volume: str) -> tuple[Container, ...]:
        """List all containers that mount a volume, running or not, as `containers` does."""

    async def create_volume(self, name: str) -> EngineVolume:
        """Make a volume of the engine's own driver; one that is there already is returned."""

    async def remove_volume(self, name: str) -> None:
        """Remove a volume; one that does not exist is not an error."""

    async def networks(self, labels: Mapping[str, str]) -> tuple[JSON, ...]: ...

    async def create_network(self, body: JSON) -> str: ...

    async def remove_network(self, network: str) -> None:
        """Remove a network; one that does not exist is not an error."""

    async def empty_network(self, network: str) -> None:
        """Disconnect all containers from a network."""
