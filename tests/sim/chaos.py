"""Random operators and random misfortune: what a seed does to a cluster."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from common.errors import SwarmError
from common.model import Config, Secret, Service
from common.model.secret import ConfigSpec, SecretSpec
from common.model.update import HALTED
from manager.allocate.subnets import allocate_network
from manager.store.view import View
from tests.fakes.world import replace
from tests.sim import duetimes, scaling, updates
from tests.sim.choices import CONFIGS, SECRETS, ZONES, Choices
from tests.sim.cluster import Cluster
from tests.sim.host import BAD_IMAGE
from tests.sim.startorder import LABEL as DEPENDS_ON

_SERVICES = 4
_NODES = 7
# How far ahead of a due time the manager may be taken away for it (seconds).
_AHEAD = 10.0


class Chaos:
    """One seed's sequence of operations."""

    def __init__(self, cluster: Cluster, rng: random.Random) -> None:
        self._cluster = cluster
        self._rng = rng
        self._choose = Choices(rng, cluster.seed)
        self._made = 0
        self._hosts = 0
        self._files = 0
        self.log: list[str] = []

    async def build(self, nodes: int) -> None:
        for _ in range(nodes):
            await self._add_host()
        for name in (*SECRETS, *CONFIGS):
            await self._renew_file(name)
        network = self._choose.network()
        if network is not None:
            await self._cluster.update(lambda tx: tx.put(allocate_network(tx, network)))

    async def happen(self) -> None:
        """Let one thing happen."""
        operation = self._rng.choices(list(_OPERATIONS), list(_OPERATIONS.values()))[0]
        self.log.append(f"{self._cluster.clock.now():.2f} {operation.__name__.strip('_')}")
        try:
            await operation(self)
        except SwarmError as error:  # the store's, or what the API answers to what cannot be
            self.log.append(f"  {error.message}")

    async def calm_down(self) -> None:
        """End all misfortune but for hosts that stay dead, and give updates that were halted an image that works."""
        cluster = self._cluster
        habits = cluster.habits
        habits.rejected = habits.failing = habits.refusing = cluster.backend.failing = 0.0
        cluster.loads.measurable = True
        spare = len(cluster.hosts) > 2 and self._rng.random() < 0.5
        for host in list(cluster.hosts.values()):
            host.dead = spare and (host.cut or host.asleep or not host.powered)
            if not host.dead:
                host.cut_off(False)
                if not host.powered:
                    host.power_on()
                elif host.asleep:
                    host.start_agent()
        for service in [service for service in cluster.view.services if not service.pending_delete]:
            labels = _resting(service, cluster.view)
            if labels != service.spec.labels:
                await cluster.change(service.id, labels=labels)
            halted = service.update_status is not None and service.update_status.state in HALTED
            specs = [spec for spec in (service.spec, service.previous_spec) if spec is not None]  # it may roll back
            images = [each.task_template.container_spec.image for each in specs if each.task_template.container_spec]
            if halted or BAD_IMAGE in images:
                for good in (4, 5):  # so that there is a good one to roll back to
                    await cluster.change(service.id, task_template=self._choose.image(service, good))

    # --- operators ---

    async def _create(self) -> None:
        if sum(not service.pending_delete for service in self._cluster.view.services) >= _SERVICES:
            return
        self._made += 1
        service = self._choose.service(f"service{self._made}", self._made, self._cluster.view)
        self._cluster.loads.put(service.id, self._choose.load())
        await self._cluster.create(service)

    async def _scale(self) -> None:
        service = self._service()
        if service is not None and service.spec.mode.replicated is not None:
            await self._cluster.scale(service.id, self._choose.replicas())

    async def _update(self) -> None:
        service = self._service()
        if service is not None:
            await self._cluster.change(service.id, task_template=self._choose.image(service))

    async def _republish(self) -> None:
        """Publish other ports, which another service may have; what had them may want them back."""
        service = self._service()
        if service is not None:
            await self._cluster.change(service.id, endpoint_spec=self._choose.ingress_ports())

    async def _move(self) -> None:
        service = self._service()
        if service is not None:
            template = replace(service.spec.task_template, placement=self._choose.placement())
            await self._cluster.change(service.id, task_template=template)

    async def _force(self) -> None:
        service = self._service()
        if service is not None:
            template = service.spec.task_template
            forced = replace(template, force_update=template.force_update + 1)
            await self._cluster.change(service.id, task_template=forced)

    async def _roll_back(self) -> None:
        service = self._service()
        if service is not None:
            numbers = [past.revision for past in service.history]
            await self._cluster.roll_back(service.id, self._rng.choice([0, *numbers]))

    async def _roll(self) -> None:
        """Pause, continue or abort an update, rather one of those that hold at their canary."""
        held = [each for each in self._cluster.view.services if each.update_status and each.update_status.held_at]
        service = self._rng.choice(held) if held and self._rng.random() < 0.7 else self._service()
        if service is not None:
            await self._cluster.roll(service.id, self._rng.choice(["pause", "continue", "continue", "abort"]))

    async def _remove(self) -> None:
        service = self._service()
        if service is not None:
            await self._cluster.remove(service.id)

    async def _rotate(self) -> None:
        """Give new content once, or twice before all have the first."""
        name = self._rng.choice([*SECRETS, *CONFIGS])
        for _ in range(self._rng.choice([1, 1, 2])):
            await self._renew_file(name)

    async def _renew_file(self, name: str) -> None:
        """Give a secret or config new content, or make it."""
        self._files += 1
        new_id, data = f"{name}-{self._files}", f"content {self._files}".encode()
        view = self._cluster.view
        if view.secrets.named(name) or view.configs.named(name):
            await self._cluster.rotate(name, new_id, data)
        elif name in SECRETS:
            await self._cluster.update(lambda tx: tx.put(Secret(id=new_id, spec=SecretSpec(name=name, data=data))))
        else:
            await self._cluster.update(lambda tx: tx.put(Config(id=new_id, spec=ConfigSpec(name=name, data=data))))

    async def _remove_file(self) -> None:
        await self._cluster.remove_file(self._rng.choice([*SECRETS, *CONFIGS]))

    async def _use_files(self) -> None:
        service = self._service()
        if service is not None:
            await self._cluster.change(service.id, task_template=self._choose.files(service, self._cluster.view))

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

    async def _change_cluster(self) -> None:
        await self._cluster.change_cluster(rebalance=self._rng.choice(["auto", "off"]))
        await self._cluster.change_cluster(strategy=self._rng.choice(["spread", "spread", "binpack"]))

    async def _add_host(self) -> None:
        if len(self._cluster.hosts) < _NODES:
            self._hosts += 1
            zone, things = self._rng.choice(ZONES), self._choose.things()
            await self._cluster.add_host(f"node{self._hosts}", things, labels={"zone": zone})

    # --- the users of the services ---

    async def _change_load(self) -> None:
        for service in self._cluster.view.services:
            if scaling.LABEL in service.spec.labels and self._rng.random() < 0.7:
                self._cluster.loads.put(service.id, self._choose.load())

    async def _lose_measurements(self) -> None:
        self._cluster.loads.measurable = not self._cluster.loads.measurable

    # --- misfortune ---

    async def _power_cut(self) -> None:
        host = self._cluster.hosts[self._node()]
        if host.powered:
            await host.power_off()
        else:
            host.power_on()

    async def _shut_down(self) -> None:
        """Take a host down as its operator does: its agent can still say so."""
        host = self._cluster.hosts[self._node()]
        if host.powered and not host.asleep:
            await host.stop_agent(with_host=True)
            await host.power_off()

    async def _stop_or_start_agent(self) -> None:
        host = self._cluster.hosts[self._node()]
        if host.asleep and host.powered:
            host.start_agent()
        elif host.powered:
            await host.stop_agent()

    async def _lose_engine(self) -> None:
        """Take a host's engine away; its agent is as good as stopped until that is back."""
        host = self._cluster.hosts[self._node()]
        if host.powered and not host.asleep:
            await host.lose_engine()

    async def _network_cut(self) -> None:
        host = self._cluster.hosts[self._node()]
        host.cut_off(not host.cut)

    async def _lose_connection(self) -> None:
        self._cluster.hosts[self._node()].lose_connection()

    async def _restart_manager(self) -> None:
        await self._cluster.stop_manager()
        await asyncio.sleep(self._rng.choice([0.0, 0.5, 5.0]))
        await self._cluster.start_manager()

    async def _restart_manager_when_due(self) -> None:
        """Take the manager away just before, or just after, a job is due."""
        now = self._cluster.clock.now()
        due = [each.schedule_status.next_at for each in self._cluster.view.services if each.schedule_status]
        soon = [instant for instant in due if now < instant < now + _AHEAD]
        if soon:
            await asyncio.sleep(max(0.0, min(soon) - now + self._rng.uniform(-0.3, 0.1)))
            await self._restart_manager()

    # --- choices ---

    def _service(self) -> Service | None:
        services = [service for service in self._cluster.view.services if not service.pending_delete]
        return self._rng.choice(services) if services else None

    def _node(self) -> str:
        return self._rng.choice(list(self._cluster.hosts))


def _resting(service: Service, view: View) -> dict[str, str]:
    """Return a service's labels without what never comes to rest: canaries that hold, jobs that run again and again.

    And without a dependency that is gone, which its update would wait for.
    """
    labels = {key: value for key, value in service.spec.labels.items() if not key.startswith(updates.CANARY)}
    if duetimes.LABEL in labels:
        labels[duetimes.LABEL] = duetimes.NEVER
    needed = labels.get(DEPENDS_ON, "").partition("=")[0]
    if not any(not each.pending_delete for each in view.services.named(needed)):
        labels.pop(DEPENDS_ON, None)
    return labels


_OPERATIONS: dict[Callable[[Chaos], Awaitable[None]], int] = {
    Chaos._create: 7,
    Chaos._scale: 4,
    Chaos._update: 5,
    Chaos._republish: 4,
    Chaos._move: 2,
    Chaos._force: 1,
    Chaos._roll_back: 2,
    Chaos._roll: 3,
    Chaos._remove: 2,
    Chaos._rotate: 3,
    Chaos._remove_file: 1,
    Chaos._use_files: 2,
    Chaos._change_load: 3,
    Chaos._lose_measurements: 1,
    Chaos._change_availability: 4,
    Chaos._label: 2,
    Chaos._remove_node: 1,
    Chaos._add_host: 1,
    Chaos._rebalance: 2,
    Chaos._change_cluster: 1,
    Chaos._power_cut: 3,
    Chaos._shut_down: 1,
    Chaos._stop_or_start_agent: 3,
    Chaos._lose_engine: 1,
    Chaos._network_cut: 3,
    Chaos._lose_connection: 2,
    Chaos._restart_manager: 2,
    Chaos._restart_manager_when_due: 2,
}
