"""Services: what a user asks for, and the specification that each of their tasks is made from."""

from __future__ import annotations

from common.clock import SECOND
from common.model.container import ContainerSpec, DriverConfig
from common.model.naming import Model, Specified, Version
from common.model.update import Awaited, UpdateStatus

# Labels with this prefix carry what goes beyond the Docker API, so that files stay valid for Docker.
EXTENSION_PREFIX = "swarm.x."
# The stack that a service, network, secret or config is of, as Docker's clients write and read it.
STACK_LABEL = "com.docker.stack.namespace"


class NamedResourceSpec(Model):
    kind: str = ""
    value: str = ""


class DiscreteResourceSpec(Model):
    kind: str = ""
    value: int = 0


class GenericResource(Model):
    """One of the two: a named device or a count."""

    named_resource_spec: NamedResourceSpec | None = None
    discrete_resource_spec: DiscreteResourceSpec | None = None


class Limits(Model):
    """The most a task may use: CPU in billionths of a core, memory in bytes, processes; 0 means no limit.

    A negative number of processes means no limit, too.
    """

    nano_cpus: int = 0
    memory_bytes: int = 0
    pids: int = 0


class Reservations(Model):
    """What a task is sure to get, and a node must have free: CPU in billionths of a core, memory in bytes."""

    nano_cpus: int = 0
    memory_bytes: int = 0
    generic_resources: tuple[GenericResource, ...] = ()


class Resources(Model):
    limits: Limits | None = None
    reservations: Reservations | None = None


class RestartPolicy(Model):
    """When and how a slot gets a replacement; None means the default (semantics.md), durations in nanoseconds."""

    condition: str = "any"
    delay: int | None = None
    max_attempts: int | None = None
    window: int | None = None


class SpreadOver(Model):
    spread_descriptor: str = ""


class PlacementPreference(Model):
    spread: SpreadOver | None = None


class Platform(Model):
    architecture: str = ""
    os: str = ""


class Placement(Model):
    constraints: tuple[str, ...] = ()
    preferences: tuple[PlacementPreference, ...] = ()
    max_replicas: int = 0
    platforms: tuple[Platform, ...] = ()


class NetworkAttachmentConfig(Model):
    """A network that a task joins; `target` is an id once stored, a name or id in a request."""

    target: str = ""
    aliases: tuple[str, ...] = ()
    driver_opts: dict[str, str] = {}


class TaskSpec(Model):
    container_spec: ContainerSpec | None = None
    resources: Resources | None = None
    restart_policy: RestartPolicy | None = None
    placement: Placement | None = None
    networks: tuple[NetworkAttachmentConfig, ...] = ()
    log_driver: DriverConfig | None = None
    force_update: int = 0
    runtime: str = ""


class Replicated(Model):
    replicas: int | None = None


class Global(Model):
    pass


class ReplicatedJob(Model):
    max_concurrent: int | None = None
    total_completions: int | None = None

    @property
    def at_once(self) -> int:
        """How many of its tasks run at once."""
        return 1 if self.max_concurrent is None else self.max_concurrent

    @property
    def total(self) -> int:
        """How many of its tasks are to complete."""
        return self.at_once if self.total_completions is None else self.total_completions


class GlobalJob(Model):
    pass


class ServiceMode(Model):
    """Exactly one of the four is set."""

    replicated: Replicated | None = None
    global_: Global | None = None
    replicated_job: ReplicatedJob | None = None
    global_job: GlobalJob | None = None

    @property
    def name(self) -> str:
        """The mode in Docker's words; empty where none is set."""
        names = {
            "replicated": self.replicated,
            "global": self.global_,
            "replicated-job": self.replicated_job,
            "global-job": self.global_job,
        }
        return next((name for name, mode in names.items() if mode is not None), "")

    @property
    def is_job(self) -> bool:
        """Whether its tasks are to complete."""
        return self.replicated_job is not None or self.global_job is not None

    @property
    def is_global(self) -> bool:
        """Whether it has a task on each node that fits."""
        return self.global_ is not None or self.global_job is not None

    def desired(self, wanted: int, lost: int, running: int) -> int:
        """Return how many tasks a service is to have that has `wanted` ones now, `lost` of them on nodes that are down.

        It is the number of replicas, and of other modes `wanted`. Of a global service no other node can have what is
        lost: that is not counted, unless no task is left that runs.
        """
        if self.replicated is not None:
            return self.replicas
        return wanted - lost if self.global_ is not None and running else wanted

    @property
    def replicas(self) -> int:
        """How many tasks a replicated service is to have: one where nothing is said."""
        return 1 if self.replicated is None or self.replicated.replicas is None else self.replicated.replicas


class UpdateConfig(Model):
    """How an update rolls; durations in nanoseconds (`api/defaults/service.go`)."""

    parallelism: int = 1
    delay: int = 0
    failure_action: str = "pause"
    monitor: int = 5 * SECOND
    max_failure_ratio: float = 0.0
    order: str = "stop-first"


class PortConfig(Model):
    """A published port. `host_ip` is ours (moby#26696): the one address it answers on, empty for all."""

    name: str = ""
    protocol: str = "tcp"
    target_port: int = 0
    published_port: int = 0
    publish_mode: str = "ingress"
    host_ip: str = ""


class EndpointSpec(Model):
    mode: str = "vip"
    ports: tuple[PortConfig, ...] = ()


class ServiceSpec(Model):
    name: str = ""
    labels: dict[str, str] = {}
    task_template: TaskSpec = TaskSpec()
    mode: ServiceMode = ServiceMode()
    update_config: UpdateConfig | None = None
    rollback_config: UpdateConfig | None = None
    networks: tuple[NetworkAttachmentConfig, ...] = ()
    endpoint_spec: EndpointSpec | None = None

    @property
    def ports(self) -> tuple[PortConfig, ...]:
        """Return what is to be published."""
        return self.endpoint_spec.ports if self.endpoint_spec is not None else ()

    @property
    def in_mesh(self) -> bool:
        """Whether it publishes a port in the routing mesh."""
        return any(port.publish_mode == "ingress" for port in self.ports)

    @property
    def attachments(self) -> tuple[NetworkAttachmentConfig, ...]:
        """Return the networks of its tasks; the specification's own list is the older place for them."""
        return self.task_template.networks or self.networks

    @property
    def ends(self) -> bool:
        """Whether its tasks may end for good: those of jobs, and those that are not restarted when they complete."""
        policy = self.task_template.restart_policy
        return self.mode.is_job or (policy is not None and policy.condition in ("none", "on-failure"))


class VirtualIP(Model):
    network_id: str = ""
    addr: str = ""


class Endpoint(Model):
    """What the allocator gave the service: its ports with chosen numbers, and a virtual address a network."""

    spec: EndpointSpec | None = None
    ports: tuple[PortConfig, ...] = ()
    virtual_ips: tuple[VirtualIP, ...] = ()


class PastSpec(Model):
    """A specification that a service had: the number it was called by, and when another took its place."""

    revision: int = 0
    spec: ServiceSpec = ServiceSpec()
    replaced_at: float = 0.0


class JobStatus(Model):
    """The present execution, and when it was begun; 0: none was yet.

    `beside` is ours: the iterations of earlier executions that go on beside it, the oldest first.
    """

    job_iteration: Version = Version()
    last_execution: float = 0.0
    beside: tuple[int, ...] = ()


class ScheduleStatus(Model):
    """Ours: the last due time that was decided on, and the next one."""

    last_at: float = 0.0
    next_at: float = 0.0


class AutoscaleStatus(Model):
    """Ours: the last change of the number of an autoscaled service's tasks, from `previous` to `replicas`, and why.

    `by_hand`: a client asked for it. `declared` is the number that a stack's file last said, None if it said none.
    `reading` is how the measurements stand now, in the API's answers only: it is never stored.
    """

    scaled_at: float = 0.0
    previous: int = 0
    replicas: int = 0
    by_hand: bool = False
    message: str = ""
    declared: int | None = None
    reading: str = ""


class Service(Specified):
    """A service as stored.

    `spec_version` is the store index at which `spec.task_template` (or what makes tasks differ) last changed; tasks
    made from it carry the same number. `pending_delete` marks a service whose tasks are being stopped before its
    record goes. `rebalancing` asks for its tasks to be moved until they are spread evenly. `waits_for` are the services
    that must be up before its tasks are made or changed, empty when it does not wait. `revision` numbers the present
    specification, from 1; `history` has the ones before it, the newest first. `schedule_status` is a scheduled job's,
    `autoscale_status` an autoscaled service's.
    """

    spec: ServiceSpec = ServiceSpec()
    spec_version: int = 0
    previous_spec: ServiceSpec | None = None
    endpoint: Endpoint | None = None
    update_status: UpdateStatus | None = None
    job_status: JobStatus | None = None
    pending_delete: bool = False
    rebalancing: bool = False
    waits_for: tuple[Awaited, ...] = ()
    schedule_status: ScheduleStatus | None = None
    autoscale_status: AutoscaleStatus | None = None
    revision: int = 1
    history: tuple[PastSpec, ...] = ()

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def published_ports(self) -> tuple[PortConfig, ...]:
        """Return the ports that it holds: those that it asks for by number, and those that were chosen for it."""
        chosen = self.endpoint.ports if self.endpoint is not None else ()
        return tuple(port for port in (*self.spec.ports, *chosen) if port.published_port)
