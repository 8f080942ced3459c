"""What the worker's core needs from the outside, as protocols: an engine, the host's networks, files for containers.

The core runs on these in production and on fakes in tests and in the simulation, in real and in virtual time.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random, SystemRandom
from typing import Any, ClassVar, Protocol, TypeAlias

from common.errors import SwarmError, Unavailable
from common.model.container import ContainerSpec, Mount
from common.model.service import PortConfig
from common.model.task import Task
from common.wire.messages import MESH, MESH6, Assignments, TaskReport
from worker.assignments import AssignmentSet
from worker.intake.world import NetworkWorld

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


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkEndpoint:
    """One Docker network for a container; `address` is fixed by the worker or, when empty, chosen by the engine.

    `address6` is its IPv6 address in a dual-stack network.
    """

    network: str
    network_id: str = ""
    address: str = ""
    address6: str = ""
    aliases: tuple[str, ...] = ()
    driver_opts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """What a task's container gets of networks.

    mode: `host`, `none` or `bridge` where the task has no network of the cluster; empty otherwise.
    endpoints: the Docker networks, the one for the default route first.
    dns, mounts: name servers, and files such as a resolv.conf that take their place.
    """

    mode: str = ""
    endpoints: tuple[NetworkEndpoint, ...] = ()
    dns: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    extra_hosts: tuple[str, ...] = ()

    def status_addresses(self) -> dict[str, str]:
        """Map network ids to the addresses that were assigned here, for the task's status.

        What the engine chose is an address of a bridge of this host alone: other hosts cannot use it.
        """
        found = {end.network_id: end.address for end in self.endpoints}
        found[MESH6] = next((end.address6 for end in self.endpoints if end.network_id == MESH), "")
        return {network_id: address for network_id, address in found.items() if network_id and address}


class Networks(Protocol):
    """The host's networks: the data plane, or plain bridges where there is none.

    For each task the supervisor calls in this order: attach, started, drain, release; `adopted` in place of attach for
    a container that outlived the agent.
    """

    async def run(self) -> None:
        """Bring the host into line with the newest world and keep it there; cancelled, leave the host as it is."""

    def update(self, world: NetworkWorld) -> None:
        """Take note of a new world. Called with each new assignment set; `attach` waits for what it needs of it."""

    async def in_line(self) -> None:
        """Wait until the host's rules are as the newest world has them."""

    def reserve(self, holder: str, addresses: Mapping[str, str]) -> None:
        """Note that a task or attachment has these addresses, by network id, or is to get them; others never do.

        Raises:
            AlreadyExists: one of them is another's.

        """

    async def attach(self, task: Task) -> Attachment:
        """Prepare what the task's container needs, networks and addresses; repeating it gives the same.

        Raises:
            SwarmError: it cannot be; the task is rejected with the message.

        """

    def hindrance(self, task: Task) -> str:
        """Say what `attach` waits for at the moment, with a tool's own error where one fails."""

    async def adopted(self, task: Task, container: Container) -> Attachment:
        """Recognise a container that runs already; its addresses are taken."""

    async def started(self, task: Task, container: Container) -> None:
        """Finish what needs the running container (its pid, its bridge ports), before it counts as started."""

    async def silent_ports(self, task: Task, container: Container) -> tuple[int, ...]:
        """Name the published TCP ports, as the container has them, on which its program does not listen yet.

        None of them where that cannot be seen.
        """

    async def drain(self, task: Task) -> None:
        """Take the task out of the load balancer; return when no new connection reaches it through any host."""

    async def release(self, task_id: str) -> None:
        """Give back the task's addresses and what was made for it alone. Its container has ended. Repeatable."""

    async def remove_all(self) -> None:
        """Leave the host as it was before the worker came."""

    def lacks(self) -> Collection[str]:
        """Name the rights or tools that the host misses, one sentence each."""

    def encryption(self) -> str:
        """Say what carries encrypted networks here, as `NodeDescription.encryption`; empty: nothing does."""

    async def looked(self) -> None:
        """Wait until the host was looked at once more: what it lacks may be something else then."""

    def ipv6(self) -> bool:
        """Whether tasks of dual-stack networks can be here, as `NodeDescription.ipv6`."""

    def ipv6_addresses(self) -> Collection[str]:
        """Return the host's own, as `NodeDescription.ipv6_addresses`."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Whose data is in a volume: its lineage and generation, as `common.model.Volume` has them.

    `task`: it is a snapshot that was made for the task with this id. `kept_of`: it is anonymous, and kept for the slot
    that is called so, from `kept_since` on (Unix seconds).
    """

    data_id: str
    generation: int
    task: str = field(default="", compare=False)
    kept_of: str = field(default="", compare=False)
    kept_since: float = field(default=0.0, compare=False)


class Marks(Protocol):
    """The marks beside the data of this host's volumes."""

    async def read(self, volume: EngineVolume) -> Mark | None:
        """Return a volume's mark; None where it has none, or can have none."""

    async def write(self, volume: EngineVolume, mark: Mark) -> bool:
        """Mark a volume, durably; return whether it can be marked."""


class VolumeGuard(Protocol):
    """Keeps a task from starting on other data than its own."""

    async def check(self, task: Task) -> None:
        """Look whether the task's volumes have the data that it is to find.

        Raises:
            SwarmError: one has not; the task is not to be started.

        """

    def look_soon(self) -> None:
        """Hear that the engine may have made volumes."""


class Snapshots(Protocol):
    """Makes the snapshots of volumes that a task mounts."""

    async def mounted(self, task: Task, spec: ContainerSpec) -> ContainerSpec:
        """Make a task's snapshots; return its specification, templates expanded, with them in their volumes' place.

        Raises:
            SwarmError: one cannot be made.

        """

    async def remove(self, task: Task, spec: ContainerSpec) -> None:
        """Remove a task's snapshots. Of one that an ended container still has, the content goes at once."""

    async def run(self, tasks: Callable[[], Collection[str]]) -> None:
        """Remove what has no task any more, until cancelled; `tasks` returns the ids of those of this host."""


class VolumeKeeper(Protocol):
    """Keeps anonymous volumes of containers that go."""

    async def keep(self, owner: str, container: Container) -> bool:
        """Keep those of a container that is to be removed; `owner` is what its slot is called.

        Returns whether the container is to be removed without its volumes. Raises SwarmError: nobody knows.
        """

    async def run(self) -> None:
        """Remove what need not be kept any longer, until cancelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeParts:
    """What cares for a host's volumes; a part that is None is one that this host does not have.

    marks: without them, nothing is reported of volumes, and no task's data is looked for.
    measure: returns how many bytes a folder takes; without it no size is known.
    rng: the source of lineages.
    """

    marks: Marks | None = None
    measure: Callable[[Path], Awaitable[int]] | None = None
    rng: Random = field(default_factory=SystemRandom)
    snapshots: Snapshots | None = None
    keeper: VolumeKeeper | None = None


NO_VOLUMES = VolumeParts()


class Memory(Protocol):
    """What outlives the agent: the last assignment set, without secrets, and the state of each task."""

    async def load(self) -> AssignmentSet: ...

    async def save(self, message: Assignments) -> None: ...

    async def save_states(self, reports: Collection[TaskReport]) -> None: ...


class TaskFiles(Protocol):
    """Files that exist in memory only: secrets and configs of one task."""

    def write(self, task_id: str, files: Collection[TaskFile]) -> Mapping[str, str]:
        """Write a task's files into a tmpfs of its own; return the host path of each, by target.

        Raises:
            SwarmError: no tmpfs can be had.

        """

    async def replace(
        self, task_id: str, files: Collection[TaskFile], pid: int, tell: Callable[[], Awaitable[None]]
    ) -> None:
        """Put other content into a task's files, if it is other; whoever reads them finds the old or the new, whole.

        The container whose first process is `pid` (0: it does not run) gets them at their targets. `tell` is awaited
        when it has them; the change counts only after that, so whoever was interrupted may begin again.

        Raises:
            SwarmError: the container cannot be given them.

        """

    def remove(self, task_id: str) -> None:
        """Forget a task's files. Repeatable."""

    def tasks(self) -> Collection[str]:
        """Return the tasks that have files, from before the agent's restart too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFile:
    """A file for a container: absolute path in it, owner, permission bits and content."""

    target: str
    data: bytes
    uid: int = 0
    gid: int = 0
    mode: int = 0o444

    def __repr__(self) -> str:
        return f"TaskFile(target={self.target!r}, data=<{len(self.data)} bytes>)"
