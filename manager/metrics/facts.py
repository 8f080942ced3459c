"""What the pages are made of, taken from the counters a part at a time: plain values, which a thread may read.

`Vitals` are what this manager's files say: how long certificates are valid, the store's size, when a backup was last
written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias, TypeVar

from cryptography import x509

from common.aio.steady import in_pieces
from common.model import Node, Service, TaskState
from common.model.service import Reservations
from common.spec import autoscale
from common.text.quantities import NANO_CPUS
from common.tls import Identity
from manager.ca.authority import Authority
from manager.config import DataDir
from manager.domain.update_status import state_of
from manager.metrics.contacts import Contact
from manager.overview.counters import Counters, NodeTally, ServiceTally, stack_of
from manager.overview.marks import Mark
from manager.overview.usage import HostSample
from manager.store.view import View

N = TypeVar("N", "NodeFacts", "ServiceFacts")
# Others have their turn after so many nodes or services.
_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A node; `name` is the one that it alone has: its host name, its id where another has that."""

    name: str
    node_id: str
    hostname: str
    role: str
    version: str
    state: str
    availability: str
    running: int
    reserved_cores: float
    reserved_memory: int
    cores: float
    memory: int
    host: HostSample | None = None
    contact: Contact | None = None


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """A service. `reserved_cores` and `reserved_memory` (bytes) are what all its tasks that run reserve.

    `cpu` (cores) and `memory` (bytes) are what those tasks used last that are measured. `limits` are an
    autoscaled one's least and most tasks; `job` is there for jobs.
    """

    name: str
    stack: str
    desired: int
    running: int
    waiting: int
    failures: int
    update: str
    reserved_cores: float = 0.0
    reserved_memory: int = 0
    cpu: float | None = None
    memory: float | None = None
    limits: tuple[int, int] | None = None
    job: JobFacts | None = None


@dataclass(frozen=True, slots=True)
class JobFacts:
    """How many tasks of a job's last execution completed, and when one last did, last failed, is due (0: never)."""

    completed: int
    succeeded_at: float
    failed_at: float
    next_at: float


@dataclass(frozen=True, slots=True)
class Facts:
    """The cluster. `leads`: whether this manager decides; `counts` has how many there are of each other kind."""

    nodes: tuple[NodeFacts, ...]
    services: tuple[ServiceFacts, ...]
    states: Mapping[TaskState, int]
    counts: Mapping[str, int]
    leads: bool
    version: str
    cluster_id: str


async def gather(
    counters: Counters,
    view: View,
    hosts: Mapping[str, HostSample | None],
    used: Callable[[str], tuple[float | None, ...]],
    version: str,
    *,
    leads: bool,
    contacts: Mapping[str, Contact] = MappingProxyType({}),
) -> Facts:
    """Take the facts; `hosts` has what nodes' hosts used last, `contacts` when workers were heard, both by nodes' ids.

    `used` says what a service's tasks used last, by `SERVICE_COLUMNS`; `leads`: whether this manager does.
    """
    cluster = next(iter(view.clusters), None)
    services = [
        _service(tally, tally.service, used(tally.service.id))
        async for tally in in_pieces(list(counters.services.values()), _AT_ONCE)
        if tally.service is not None and not tally.leaves
    ]
    nodes = [
        _node(tally, tally.node, hosts.get(tally.node.id), contacts.get(tally.node.id))
        async for tally in in_pieces(list(counters.nodes.values()), _AT_ONCE)
        if tally.node is not None
    ]
    return Facts(
        nodes=_once(nodes),
        services=_once(services),
        states=dict(counters.states),
        counts={
            "services": len(services),
            "networks": len(view.networks),
            "secrets": len(view.secrets),
            "configs": len(view.configs),
        },
        leads=leads,
        version=version,
        cluster_id=cluster.id if cluster is not None else "",
    )


def _once(found: Iterable[N]) -> tuple[N, ...]:
    """Return each name's last: one may have passed from one node to another meanwhile."""
    return tuple({each.name: each for each in found}.values())


def _node(tally: NodeTally, node: Node, host: HostSample | None, contact: Contact | None) -> NodeFacts:
    resources = node.description.resources
    return NodeFacts(
        name=node.id if node.hostname_taken or not node.name else node.name,
        node_id=node.id,
        hostname=node.description.hostname,
        role=node.spec.role,
        version=node.description.agent_version,
        state=node.status.state,
        availability=node.spec.availability,
        running=0 if node.status.state == "down" else tally.marks.get(Mark.RUNNING, 0),
        reserved_cores=tally.cpu / NANO_CPUS,
        reserved_memory=tally.memory,
        cores=resources.nano_cpus / NANO_CPUS,
        memory=resources.memory_bytes,
        host=host,
        contact=contact,
    )


def _service(tally: ServiceTally, service: Service, used: tuple[float | None, ...]) -> ServiceFacts:
    policy = autoscale.of(service.spec)
    resources = service.spec.task_template.resources
    reserved = (resources.reservations if resources is not None else None) or Reservations()
    job = None
    if tally.is_job:
        due = service.schedule_status.next_at if service.schedule_status is not None else 0.0
        job = JobFacts(tally.marks.get(Mark.COMPLETED, 0), tally.completed_at, tally.failures.last_at, due)
    return ServiceFacts(
        name=service.name,
        stack=stack_of(service),
        desired=tally.desired,
        running=tally.running,
        waiting=sum(task.finds_no_node for task in tally.complaints.values()),
        failures=tally.failures.total,
        update=state_of(service),
        reserved_cores=tally.running * reserved.nano_cpus / NANO_CPUS,
        reserved_memory=tally.running * reserved.memory_bytes,
        cpu=used[0],
        memory=used[1],
        limits=(policy.minimum, policy.maximum) if policy is not None else None,
        job=job,
    )


@dataclass(frozen=True, slots=True)
class Validity:
    """From when until when a certificate is valid, in Unix seconds."""

    not_before: float
    not_after: float


@dataclass(frozen=True, slots=True)
class Vitals:
    """`certificates` are this manager's by name, `backed_up_at` (Unix seconds) is 0 where no backup is known of."""

    certificates: Mapping[str, Validity] = field(default_factory=dict)
    store_bytes: int = 0
    backed_up_at: float = 0.0


# Reads files: it is called in a thread.
ReadVitals: TypeAlias = Callable[[], Vitals]


def read_vitals(data: DataDir, own: Identity, authority: Authority) -> Vitals:
    """Read for how long certificates are valid, how large the store's files are, when a backup was last written."""
    root = x509.load_pem_x509_certificate(authority.root_certificate)
    return Vitals(
        certificates={
            "manager": Validity(own.not_before, own.not_after),
            "root": Validity(root.not_valid_before_utc.timestamp(), root.not_valid_after_utc.timestamp()),
        },
        store_bytes=sizes(data.store.parent.glob(f"{data.store.name}*")),
        backed_up_at=changed_at(data.last_backup),
    )


def sizes(files: Iterable[Path]) -> int:
    """Return the size of all files in bytes; a missing one counts nothing."""
    return sum(file.stat().st_size for file in files if file.exists())


def changed_at(file: Path) -> float:
    """Return when a file was last written, in Unix seconds; 0 where it does not exist."""
    return file.stat().st_mtime if file.exists() else 0.0
