"""Random operators and random misfortune: what a seed does to a cluster."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from common.clock import SECOND
from common.errors import Unavailable
from common.model import Service
from common.model.container import ContainerSpec
from common.model.service import (
    EndpointSpec,
    Global,
    GlobalJob,
    Placement,
    PortConfig,
    Replicated,
    ReplicatedJob,
    Reservations,
    Resources,
    RestartPolicy,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
    UpdateConfig,
)
from manager.orchestrate.progress import HALTED
from manager.state.executions import is_job
from tests.fakes.world import replace
from tests.sim.cluster import Cluster
from tests.sim.host import BAD_IMAGE
from tests.sim.startorder import LABEL

ZONES = ("a", "b")
_SERVICES = 4
# What never comes to rest: updates that hold, jobs that run again.
_RESTLESS = ("swarm.x.canary", "swarm.x.schedule")
_NODES = 7


class Chaos:
    """One seed's sequence of operations."""

    def __init__(self, cluster: Cluster, rng: random.Random) -> None:
        self._cluster = cluster
        self._rng = rng
        self._made = 0
        self._hosts = 0
        self.log: list[str] = []

    async def build(self, nodes: int) -> None:
        for _ in range(nodes):
            await self._add_host()

    async def happen(self) -> None:
        """Let one thing happen."""
        operation = self._rng.choices(list(_OPERATIONS), list(_OPERATIONS.values()))[0]
        self.log.append(f"{self._cluster.clock.now():.2f} {operation.__name__.strip('_')}")
        try:
            await operation(self)
        except Unavailable as error:
            self.log.append(f"  {error.message}")

    async def calm_down(self) -> None:
        """End all misfortune but for hosts that stay dead, and give updates that were halted an image that works."""
        cluster = self._cluster
        cluster.habits.rejected = cluster.habits.failing = cluster.backend.failing = 0.0
        spare = len(cluster.hosts) > 2 and self._rng.random() < 0.5
        for host in list(cluster.hosts.values()):
            host.dead = spare and (host.cut or not host.powered)
            if not host.dead:
                host.cut_off(False)
                if not host.powered:
                    host.power_on()
        for service in list(cluster.view.services):
            if any(label.startswith(_RESTLESS) for label in service.spec.labels):
                labels = {k: v for k, v in service.spec.labels.items() if not k.startswith(_RESTLESS)}
                await cluster.change(service.id, labels=labels)
            halted = service.update_status is not None and service.update_status.state in HALTED
            specs = [spec for spec in (service.spec, service.previous_spec) if spec is not None]  # it may roll back
            if halted or any(spec.task_template.container_spec == ContainerSpec(image=BAD_IMAGE) for spec in specs):
                await cluster.change(service.id, task_template=self._image(service, "good"))

    # --- operators ---

    async def _create(self) -> None:
        if sum(not service.pending_delete for service in self._cluster.view.services) >= _SERVICES:
            return
        self._made += 1
        name = f"service{self._made}"
        mode, updates = self._mode(), (self._update_config(), self._update_config())
        spec = ServiceSpec(
            name=name,
            labels=self._dependencies() | (self._schedule() if is_job(mode) else self._canary() | self._bound()),
            mode=mode,
            task_template=self._template(),
            update_config=None if is_job(mode) else updates[0],
            rollback_config=None if is_job(mode) else updates[1],
            endpoint_spec=self._ports(),
        )
        await self._cluster.create(Service(id=name, spec=spec))

    async def _scale(self) -> None:
        service = self._service()
        if service is not None and service.spec.mode.replicated is not None:
            await self._cluster.change(service.id, mode=self._replicas())

    async def _update(self) -> None:
        service = self._service()
        if service is not None:
            image = self._rng.choice(["v1", "v2", "v3", BAD_IMAGE])
            await self._cluster.change(service.id, task_template=self._image(service, image))

    async def _move(self) -> None:
        service = self._service()
        if service is not None:
            template = replace(service.spec.task_template, placement=self._placement())
            await self._cluster.change(service.id, task_template=template)

    async def _roll_back(self) -> None:
        service = self._service()
        if service is not None:
            await self._cluster.roll_back(service.id)

    async def _roll(self) -> None:
        service = self._service()
        if service is not None:
            await self._cluster.roll(service.id, self._rng.choice(["pause", "continue", "continue", "abort"]))

    async def _remove(self) -> None:
        service = self._service()
        if service is not None:
            await self._cluster.remove(service.id)

    async def _change_availability(self) -> None:
        availability = self._rng.choice(["active", "active", "drain", "pause"])
        await self._cluster.change_node(self._node(), availability=availability)

    async def _label(self) -> None:
        await self._cluster.change_node(self._node(), labels={"zone": self._rng.choice(ZONES)})

    async def _remove_node(self) -> None:
        if len(self._cluster.hosts) > 2:
            await self._cluster.remove_node(self._node())

    async def _rebalance(self) -> None:
        service = self._service()
        if service is not None:
            await self._cluster.rebalance(service.id)

    async def _set_rebalancing(self) -> None:
        await self._cluster.set_rebalancing(self._rng.choice(["auto", "off"]))

    async def _add_host(self) -> None:
        if len(self._cluster.hosts) < _NODES:
            self._hosts += 1
            await self._cluster.add_host(f"node{self._hosts}", labels={"zone": self._rng.choice(ZONES)})

    # --- misfortune ---

    async def _power_cut(self) -> None:
        host = self._cluster.hosts[self._node()]
        if host.powered:
            await host.power_off()
        else:
            host.power_on()

    async def _network_cut(self) -> None:
        host = self._cluster.hosts[self._node()]
        host.cut_off(not host.cut)

    async def _lose_connection(self) -> None:
        self._cluster.hosts[self._node()].lose_connection()

    async def _restart_manager(self) -> None:
        await self._cluster.stop_manager()
        await asyncio.sleep(self._rng.choice([0.0, 0.5, 5.0]))
        await self._cluster.start_manager()

    # --- choices ---

    def _service(self) -> Service | None:
        services = [service for service in self._cluster.view.services if not service.pending_delete]
        return self._rng.choice(services) if services else None

    def _node(self) -> str:
        return self._rng.choice(list(self._cluster.hosts))

    def _mode(self) -> ServiceMode:
        chance = self._rng.random()
        if chance < 0.05:
            return ServiceMode(global_job=GlobalJob())
        if chance < 0.2:
            most, total = self._rng.randint(1, 3), self._rng.randint(0, 6)
            return ServiceMode(replicated_job=ReplicatedJob(max_concurrent=most, total_completions=total))
        return ServiceMode(global_=Global()) if chance < 0.4 else self._replicas()

    def _replicas(self) -> ServiceMode:
        return ServiceMode(replicated=Replicated(replicas=self._rng.randint(0, 6)))

    def _template(self) -> TaskSpec:
        memory = self._rng.choice([0, 0, 100, 300])
        delay = self._rng.choice([0, 1, 3])
        return TaskSpec(
            container_spec=ContainerSpec(image="v1"),
            resources=Resources(reservations=Reservations(memory_bytes=memory)) if memory else None,
            restart_policy=RestartPolicy(delay=delay * SECOND),
            placement=self._placement(),
        )

    def _placement(self) -> Placement | None:
        constraints = (f"node.labels.zone=={self._rng.choice(ZONES)}",) if self._rng.random() < 0.4 else ()
        most = self._rng.choice([0, 0, 0, 1, 2])
        return Placement(constraints=constraints, max_replicas=most) if constraints or most else None

    def _dependencies(self) -> dict[str, str]:
        """Let a service depend on one that is there already: so there is never a circle."""
        other = self._service()
        if other is None or self._rng.random() < 0.6:
            return {}
        conditions = ["started", "completed"] if is_job(other.spec.mode) else ["started", "healthy"]
        return {LABEL: f"{other.name}={self._rng.choice(conditions)}"}

    def _update_config(self) -> UpdateConfig:
        rng = self._rng
        return UpdateConfig(
            parallelism=rng.randint(0, 2),
            delay=rng.choice([0, 0, 2]) * SECOND,
            monitor=rng.choice([0, 2, 5]) * SECOND,
            failure_action=rng.choice(["pause", "continue", "rollback"]),
            max_failure_ratio=rng.choice([0.0, 0.0, 0.5]),
            order=rng.choice(["stop-first", "stop-first", "start-first"]),
        )

    def _canary(self) -> dict[str, str]:
        if self._rng.random() >= 0.3:
            return {}
        period = {"swarm.x.canary-period": "10s"} if self._rng.random() < 0.5 else {}
        return {"swarm.x.canary": str(self._rng.randint(1, 2)), **period}

    def _bound(self) -> dict[str, str]:
        most = self._rng.choice(["", "", "1", "2", "50%"])
        return {"swarm.x.max-unavailable": most} if most else {}

    def _schedule(self) -> dict[str, str]:
        if self._rng.random() >= 0.5:
            return {}
        concurrency = self._rng.choice(["allow", "forbid", "replace"])
        when = self._rng.choice(["* * * * *", "*/10 * * * * *"])
        return {"swarm.x.schedule": when, "swarm.x.schedule-concurrency": concurrency}

    def _ports(self) -> EndpointSpec | None:
        if self._rng.random() >= 0.15:
            return None
        port = PortConfig(target_port=80, published_port=8000 + self._made, publish_mode="host")
        return EndpointSpec(ports=(port,))

    @staticmethod
    def _image(service: Service, image: str) -> TaskSpec:
        return replace(service.spec.task_template, container_spec=ContainerSpec(image=image))


_OPERATIONS: dict[Callable[[Chaos], Awaitable[None]], int] = {
    Chaos._create: 6,
    Chaos._scale: 5,
    Chaos._update: 5,
    Chaos._move: 2,
    Chaos._roll_back: 1,
    Chaos._roll: 3,
    Chaos._remove: 2,
    Chaos._change_availability: 4,
    Chaos._label: 2,
    Chaos._remove_node: 1,
    Chaos._add_host: 1,
    Chaos._rebalance: 2,
    Chaos._set_rebalancing: 1,
    Chaos._power_cut: 3,
    Chaos._network_cut: 3,
    Chaos._lose_connection: 2,
    Chaos._restart_manager: 2,
}
