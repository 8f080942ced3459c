"""Facts as families of samples, under Docker's names where the meaning is. No label is a task's or a container's.

`docs/monitoring.md` lists them; a test compares the two.

The page that Prometheus reads is made of them in a thread, at most once a second for all who ask.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, UntypedMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from common.model import TaskState
from common.wire.usage_messages import HostUsage
from manager.metrics.facts import Facts, NodeFacts, ReadVitals, ServiceFacts, Vitals
from manager.metrics.instruments import Instruments

_NODE_STATES = ("unknown", "down", "ready", "disconnected")


class Families(Collector):
    """The families of one moment."""

    def __init__(self, facts: Facts, vitals: Vitals) -> None:
        self._facts = facts
        self._vitals = vitals

    def collect(self) -> Iterator[Metric]:
        """Yield what this manager says: of the cluster only while it leads, so that of several one does."""
        yield from _of_this(self._facts)
        if self._facts.leads:
            yield from _of_cluster(self._facts)
            yield from _of_services(self._facts.services)
            yield from _of_jobs(self._facts.services)
            yield from _of_nodes(self._facts.nodes)
        yield from _of_manager(self._vitals)


def gauge(
    name: str, text: str, labels: Sequence[str] = (), samples: Iterable[tuple[Sequence[str], float]] = ()
) -> Metric:
    """Return a family of gauges."""
    return _filled(GaugeMetricFamily(name, text, labels=labels), samples)


def dockers_total(
    name: str, text: str, labels: Sequence[str] = (), samples: Iterable[tuple[Sequence[str], float]] = ()
) -> Metric:
    """Return a family of gauges that Docker calls as counters are, without a type: neither would be right."""
    return _filled(UntypedMetricFamily(name, text, labels=labels), samples)


def _filled(family: GaugeMetricFamily | UntypedMetricFamily, samples: Iterable[tuple[Sequence[str], float]]) -> Metric:
    for values, number in samples:
        family.add_metric(values, number)
    return family


def _of_this(facts: Facts) -> Iterator[Metric]:
    yield gauge(
        "swarm_info", "The release of this manager.", ("version", "cluster"), [((facts.version, facts.cluster_id), 1)]
    )
    yield gauge("swarm_manager_leader", "Whether this manager leads.", (), [((), facts.leads)])


def _of_cluster(facts: Facts) -> Iterator[Metric]:
    present = [node.state for node in facts.nodes]
    yield gauge(
        "swarm_manager_nodes",
        "Nodes by their state.",
        ("state",),
        [((state,), present.count(state)) for state in _NODE_STATES],
    )
    yield dockers_total(
        "swarm_manager_tasks_total",
        "Tasks by the state that was last seen, those that have ended and are kept among them.",
        ("state",),
        [((state.name.lower(),), facts.states.get(state, 0)) for state in TaskState],
    )
    for kind, count in facts.counts.items():
        yield dockers_total(f"swarm_manager_{kind}_total", f"The number of {kind}.", (), [((), count)])


def _of_services(services: Sequence[ServiceFacts]) -> Iterator[Metric]:
    labels = ("service", "stack")

    def each(number: Callable[[ServiceFacts], float]) -> list[tuple[Sequence[str], float]]:
        return [((service.name, service.stack), number(service)) for service in services]

    desired = each(lambda service: service.desired)
    running = each(lambda service: service.running)
    waiting = each(lambda service: service.waiting)
    yield gauge("swarm_service_tasks_desired", "Tasks that a service is to have.", labels, desired)
    yield gauge("swarm_service_tasks_running", "Tasks of a service that run.", labels, running)
    yield gauge("swarm_service_tasks_waiting", "Tasks of a service that fit on no node.", labels, waiting)
    reserved_cores = each(lambda service: service.reserved_cores)
    reserved_memory = each(lambda service: service.reserved_memory)
    yield gauge("swarm_service_reserved_cpu_cores", "Cores that running tasks reserve.", labels, reserved_cores)
    yield gauge("swarm_service_reserved_memory_bytes", "Memory that running tasks reserve.", labels, reserved_memory)
    cores = [((each.name, each.stack), each.cpu) for each in services if each.cpu is not None]
    memory = [((each.name, each.stack), each.memory) for each in services if each.memory is not None]
    yield gauge("swarm_service_cpu_cores", "Cores that a service's measured tasks use.", labels, cores)
    yield gauge("swarm_service_memory_bytes", "Memory that a service's measured tasks use.", labels, memory)
    failures = CounterMetricFamily(
        "swarm_service_task_failures", "Tasks of a service that failed or were rejected.", labels=labels
    )
    for values, number in each(lambda service: service.failures):
        failures.add_metric(values, number)
    yield failures
    yield gauge(
        "swarm_service_update_state",
        "1 for the state that a service's last update is in.",
        (*labels, "state"),
        [((service.name, service.stack, service.update), 1) for service in services if service.update],
    )
    scaled = [(service, service.limits) for service in services if service.limits is not None]
    for name, text, place in (("min", "fewest", 0), ("max", "most", 1)):
        yield gauge(
            f"swarm_service_autoscale_{name}",
            f"The {text} tasks that an autoscaled service may have.",
            labels,
            [((service.name, service.stack), limits[place]) for service, limits in scaled],
        )


def _of_jobs(services: Sequence[ServiceFacts]) -> Iterator[Metric]:
    jobs = [(service, service.job) for service in services if service.job is not None]
    completed = [((service.name, service.stack), job.completed) for service, job in jobs]
    yield gauge("swarm_job_tasks_completed", "Slots of a job that completed.", ("service", "stack"), completed)
    for name, text, instants in (
        ("last_success", "When a task of a job last completed.", [job.succeeded_at for _, job in jobs]),
        ("last_failure", "When a task of a job last failed.", [job.failed_at for _, job in jobs]),
        ("next", "When a scheduled job is due next.", [job.next_at for _, job in jobs]),
    ):
        samples = [((service.name, service.stack), at) for (service, _), at in zip(jobs, instants, strict=True) if at]
        yield gauge(f"swarm_job_{name}_timestamp_seconds", text, ("service", "stack"), samples)


def _of_nodes(nodes: Sequence[NodeFacts]) -> Iterator[Metric]:
    yield gauge(
        "swarm_node_info",
        "A node's host name, role and the release of its worker.",
        ("node", "id", "hostname", "role", "version"),
        [((node.name, node.node_id, node.hostname, node.role, node.version), 1) for node in nodes],
    )
    yield gauge(
        "swarm_node_state",
        "1 for the state and availability that a node has.",
        ("node", "state", "availability"),
        [((node.name, node.state, node.availability), 1) for node in nodes],
    )
    for name, text, number in _NODE_NUMBERS:
        yield gauge(f"swarm_node_{name}", text, ("node",), [((node.name,), number(node)) for node in nodes])
    contacts = [(node.name, node.contact) for node in nodes if node.contact is not None]
    ages = [((node,), contact.age) for node, contact in contacts]
    yield gauge("swarm_node_heartbeat_age_seconds", "How long ago a worker was last heard.", ("node",), ages)
    offsets = [((node,), contact.clock_offset) for node, contact in contacts if contact.clock_offset is not None]
    yield gauge(
        "swarm_node_clock_offset_seconds",
        "By how much a worker's clock is ahead of the leader's; negative: behind.",
        ("node",),
        offsets,
    )
    connects = CounterMetricFamily("swarm_node_connects", "Times that a worker connected.", labels=("node",))
    for node, contact in contacts:
        connects.add_metric((node,), contact.connects)
    yield connects
    yield from _of_hosts([(node.name, node.host.usage) for node in nodes if node.host is not None])


def _of_hosts(hosts: Sequence[tuple[str, HostUsage]]) -> Iterator[Metric]:
    """Yield what hosts use, of those that say so."""
    for name, text, amount in _HOST_NUMBERS:
        found = [((node,), value) for node, usage in hosts if (value := amount(usage)) is not None]
        yield gauge(f"swarm_node_{name}", text, ("node",), found)
    pressures = [
        ((node, resource), value)
        for node, usage in hosts
        for resource, value in (
            *(("cpu", usage.pressure_cpu), ("memory", usage.pressure_memory), ("io", usage.pressure_io)),
        )
        if value is not None
    ]
    yield gauge(
        "swarm_node_pressure_ratio",
        "Share of the last ten seconds in which something waited for a resource (PSI, some).",
        ("node", "resource"),
        pressures,
    )
    network = CounterMetricFamily(
        "swarm_node_network_bytes", "Bytes that a host's own interfaces passed.", labels=("node", "way")
    )
    for node, usage in hosts:
        network.add_metric((node, "in"), usage.received)
        network.add_metric((node, "out"), usage.sent)
    yield network


_HOST_NUMBERS: tuple[tuple[str, str, Callable[[HostUsage], float | None]], ...] = (
    ("cpu_usage_ratio", "Share of a host's cores that was busy in the last ten seconds.", lambda usage: usage.cpu),
    ("memory_available_bytes", "Memory that a host could still give.", lambda usage: usage.memory_available),
    ("disk_total_bytes", "Size of the disk of a node's engine.", lambda usage: usage.disk_total or None),
    (
        "disk_available_bytes",
        "Room on the disk of a node's engine.",
        lambda usage: usage.disk_available if usage.disk_total else None,
    ),
)


_NODE_NUMBERS: tuple[tuple[str, str, Callable[[NodeFacts], float]], ...] = (
    ("tasks_running", "Tasks that run on a node.", lambda node: node.running),
    ("cpu_cores", "Processor cores of a node.", lambda node: node.cores),
    ("reserved_cpu_cores", "Processor cores that a node's tasks reserve.", lambda node: node.reserved_cores),
    ("memory_total_bytes", "Memory of a node.", lambda node: node.memory),
    ("reserved_memory_bytes", "Memory that a node's tasks reserve.", lambda node: node.reserved_memory),
)


def _of_manager(vitals: Vitals) -> Iterator[Metric]:
    for name, text, instants in (
        ("not_before", "When a certificate began.", {of: each.not_before for of, each in vitals.certificates.items()}),
        ("not_after", "When a certificate ends.", {of: each.not_after for of, each in vitals.certificates.items()}),
    ):
        samples = [((of,), at) for of, at in instants.items()]
        yield gauge(f"swarm_certificate_{name}_timestamp_seconds", text, ("of",), samples)
    backup = [((), vitals.backed_up_at)] if vitals.backed_up_at else []
    yield gauge(
        "swarm_backup_last_success_timestamp_seconds", "When the last backup was written on this host.", (), backup
    )
    yield gauge("swarm_store_bytes", "Size of the store's files.", (), [((), vitals.store_bytes)])


CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
KEPT_SECONDS = 1.0
# Most of a page repeats itself: more effort saves little.
_EFFORT = 1


@dataclass(frozen=True, slots=True)
class Page:
    """A page as text, and packed with gzip."""

    text: bytes
    packed: bytes


def make_page(facts: Facts, instruments: Instruments, vitals: ReadVitals) -> Page:
    """Write the page. That takes its time: it is called in a thread."""
    registry = CollectorRegistry()
    registry.register(Families(facts, vitals()))
    text = generate_latest(registry) + generate_latest(instruments.registry)
    return Page(text, gzip.compress(text, _EFFORT))


class Pages:
    """Hands out pages. `gather` takes what a page is made of, on the event loop."""

    def __init__(self, gather: Callable[[], Awaitable[Facts]], instruments: Instruments, vitals: ReadVitals) -> None:
        self._gather = gather
        self._instruments = instruments
        self._vitals = vitals
        self._made: asyncio.Task[Page] | None = None
        self._made_at = 0.0

    async def take(self) -> Page:
        """Return a page that is not older than `KEPT_SECONDS`."""
        now = asyncio.get_running_loop().time()
        if self._made is None or (self._made.done() and now - self._made_at >= KEPT_SECONDS):
            self._made_at = now
            self._made = asyncio.create_task(self._make(), name="metrics-page")
        return await asyncio.shield(self._made)

    async def _make(self) -> Page:
        return await asyncio.to_thread(make_page, await self._gather(), self._instruments, self._vitals)
