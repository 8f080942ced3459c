"""Random services: what a seed's operators ask for. Every capability that the simulation covers is in here."""

from __future__ import annotations

import random

from common.clock import SECOND
from common.model import Network, Service
from common.model.container import ConfigReference, ContainerSpec, FileTarget, SecretReference
from common.model.network import IpamConfig, IpamOptions, NetworkSpec
from common.model.service import (
    DiscreteResourceSpec,
    EndpointSpec,
    GenericResource,
    Global,
    GlobalJob,
    NamedResourceSpec,
    NetworkAttachmentConfig,
    Placement,
    PlacementPreference,
    PortConfig,
    Replicated,
    ReplicatedJob,
    Reservations,
    Resources,
    RestartPolicy,
    ServiceMode,
    ServiceSpec,
    SpreadOver,
    TaskSpec,
    UpdateConfig,
)
from manager.store.view import View
from tests.fakes.world import replace
from tests.sim import duetimes, rotations, scaling, startorder, updates
from tests.sim.host import BAD_IMAGE, ONCE
from tests.sim.placement import PARTS

ZONES = ("a", "b")
SECRETS = ("key", "token")
CONFIGS = ("page",)
SUBNETS = tuple(PARTS)
JOINING = 0.4
INGRESS_PORTS = (9000, 9001, 9002)
ON_ROTATE = ("restart", "file", "signal:SIGHUP")


class Choices:
    """What the dice say. Those about networks are others, so that clusters without any live as they always did."""

    def __init__(self, rng: random.Random, seed: int) -> None:
        self._rng = rng
        self._networks_rng = random.Random(f"{seed}/networks")

    def chance(self, part: float) -> bool:
        return self._rng.random() < part

    def service(self, name: str, number: int, view: View) -> Service:
        """Make up a service, which may depend on, like or avoid those that there are."""
        mode, once = self.mode(), self.chance(0.1)
        job, autoscaled = mode.is_job, mode.replicated is not None and not once and self.chance(0.25)
        labels = self._dependencies(view) | self._affinity(view) | self._on_rotate()
        labels |= self._schedule() if job else self._canary() | self._bound() | self._deadline()
        labels |= {scaling.LABEL: self._rng.choice(scaling.POLICIES)} if autoscaled else {}
        spec = ServiceSpec(
            name=name,
            labels=labels,
            mode=ServiceMode(replicated=Replicated(replicas=2)) if autoscaled else mode,
            task_template=self._template(view, cores=1 if autoscaled else 0, once=once and not job),
            update_config=None if job else self._update_config(),
            rollback_config=None if job else self._update_config(),
            endpoint_spec=self._ports(number),
        )
        return Service(id=name, spec=spec)

    def mode(self) -> ServiceMode:
        chance = self._rng.random()
        if chance < 0.06:
            return ServiceMode(global_job=GlobalJob())
        if chance < 0.25:
            most, total = self._rng.randint(1, 3), self._rng.randint(0, 6)
            return ServiceMode(replicated_job=ReplicatedJob(max_concurrent=most, total_completions=total))
        return (
            ServiceMode(global_=Global())
            if chance < 0.4
            else ServiceMode(replicated=Replicated(replicas=self.replicas()))
        )

    def replicas(self) -> int:
        """Choose few, and now and then more than may move at once."""
        return self._rng.randint(12, 24) if self.chance(0.04) else self._rng.randint(0, 6)

    def image(self, service: Service, good: int = 0) -> TaskSpec:
        """Choose another image, that one with `good`, which works; a program that ends by itself stays one."""
        template = service.spec.task_template
        assert template.container_spec is not None
        kind = ONCE if template.container_spec.image.startswith(ONCE) else "v"
        name = f"{kind}{good}" if good else self._rng.choice([f"{kind}1", f"{kind}2", f"{kind}3", BAD_IMAGE])
        return replace(template, container_spec=replace(template.container_spec, image=name))

    def files(self, service: Service, view: View) -> TaskSpec:
        """Choose which secrets and configs are in the same places, or in others."""
        template = service.spec.task_template
        assert template.container_spec is not None
        return replace(template, container_spec=self._filed(template.container_spec, view))

    def placement(self) -> Placement | None:
        constraints = (f"node.labels.zone=={self._rng.choice(ZONES)}",) if self.chance(0.4) else ()
        most = self._rng.choice([0, 0, 0, 1, 2])
        spread = (PlacementPreference(spread=SpreadOver(spread_descriptor="node.labels.zone")),)
        preferences = spread if self.chance(0.15) else ()
        if not (constraints or most or preferences):
            return None
        return Placement(constraints=constraints, max_replicas=most, preferences=preferences)

    def things(self) -> tuple[GenericResource, ...]:
        """Choose what a host has beside CPU and memory: named devices, and a count of something."""
        names = [f"gpu{number}" for number in range(self._rng.choice([0, 1, 2, 3]))]
        named = (GenericResource(named_resource_spec=NamedResourceSpec(kind="gpu", value=name)) for name in names)
        return (*named, _counted("slot", self._rng.choice([1, 4])))

    def network(self) -> Network | None:
        """Choose a network that has parts for fewer nodes than there are, mostly; or none."""
        subnet = self._networks_rng.choice([*SUBNETS, None])
        if subnet is None:
            return None
        spec = NetworkSpec(name="tight", ipam=IpamOptions(configs=(IpamConfig(subnet=subnet),)))
        return Network(id="tight", spec=spec)

    def load(self) -> float:
        return self._rng.choice([0.0, 0.3, 0.9, 1.4, 2.6, 5.0])

    # --- parts of a service ---

    def _template(self, view: View, *, cores: int, once: bool) -> TaskSpec:
        rng = self._rng
        things = [
            _counted(kind, rng.randint(1, 2)) for kind, often in (("gpu", 0.2), ("slot", 0.08)) if self.chance(often)
        ]
        wanted = Reservations(
            nano_cpus=(cores or rng.choice([0, 0, 0, 1, 3])) * SECOND,
            memory_bytes=rng.choice([0, 0, 100, 300]),
            generic_resources=tuple(things),
        )
        conditions = ["on-failure", "on-failure", "none"] if once else ["any"] * 8 + ["on-failure", "none"]
        policy = RestartPolicy(
            condition=rng.choice(conditions),
            delay=rng.choice([0, 1, 3]) * SECOND,
            max_attempts=rng.choice([0] * 9 + [2]),
            window=rng.choice([None, None, 5 * SECOND]),
        )
        container = ContainerSpec(image=f"{ONCE}1" if once else "v1")
        return TaskSpec(
            container_spec=self._filed(container, view) if self.chance(0.35) else container,
            resources=Resources(reservations=wanted) if wanted != Reservations() else None,
            restart_policy=policy,
            placement=self.placement(),
            networks=self._networks(view),
        )

    def _networks(self, view: View) -> tuple[NetworkAttachmentConfig, ...]:
        there = [network for network in view.networks if self._networks_rng.random() < JOINING]
        return tuple(NetworkAttachmentConfig(target=network.id) for network in there)

    def _filed(self, container: ContainerSpec, view: View) -> ContainerSpec:
        """Give a container files, in one of two places each."""
        secrets = [each for name in SECRETS for each in view.secrets.named(name) if self.chance(0.6)]
        configs = [each for name in CONFIGS for each in view.configs.named(name) if self.chance(0.6)]
        place = self._rng.choice(["file", "file", "file", "other"])
        return replace(
            container,
            secrets=tuple(
                SecretReference(file=FileTarget(name=f"{place}{n}"), secret_id=each.id, secret_name=each.name)
                for n, each in enumerate(secrets)
            ),
            configs=tuple(
                ConfigReference(file=FileTarget(name=f"/{place}{n}"), config_id=each.id, config_name=each.name)
                for n, each in enumerate(configs)
            ),
        )

    def _dependencies(self, view: View) -> dict[str, str]:
        """Let a service depend on one that is there already: so there is never a cycle."""
        other = self._other(view)
        if other is None or self.chance(0.6):
            return {}
        policy = other.spec.task_template.restart_policy
        ends = other.spec.mode.is_job or (policy is not None and policy.condition != "any")
        conditions = ["started", *(["completed"] if ends else []), *([] if other.spec.mode.is_job else ["healthy"])]
        return {startorder.LABEL: f"{other.name}={self._rng.choice(conditions)}"}

    def _affinity(self, view: View) -> dict[str, str]:
        other = self._other(view)
        if other is None or self.chance(0.85):
            return {"swarm.x.strategy": self._rng.choice(["spread", "binpack"])} if self.chance(0.15) else {}
        how = self._rng.choice(["affinity", "anti-affinity"])
        return {f"swarm.x.{how}": f"{other.name}={self._rng.randint(1, 3)}"}

    def _other(self, view: View) -> Service | None:
        there = [service for service in view.services if not service.pending_delete]
        return self._rng.choice(there) if there else None

    def _on_rotate(self) -> dict[str, str]:
        return {rotations.LABEL: self._rng.choice(ON_ROTATE)}

    def _update_config(self) -> UpdateConfig:
        rng = self._rng
        return UpdateConfig(
            parallelism=rng.randint(0, 2),
            delay=rng.choice([0, 0, 2]) * SECOND,
            monitor=rng.choice([1, 2, 5]) * SECOND,
            failure_action=rng.choice(["pause", "continue", "rollback"]),
            max_failure_ratio=rng.choice([0.0, 0.0, 0.5]),
            order=rng.choice(["stop-first", "stop-first", "start-first"]),
        )

    def _canary(self) -> dict[str, str]:
        if self._rng.random() >= 0.3:
            return {}
        period = {f"{updates.CANARY}-period": "10s"} if self.chance(0.5) else {}
        return {updates.CANARY: str(self._rng.randint(1, 2)), **period}

    def _bound(self) -> dict[str, str]:
        most = self._rng.choice(["", "", "1", "2", "50%"])
        return {"swarm.x.max-unavailable": most} if most else {}

    def _deadline(self) -> dict[str, str]:
        return {updates.DEADLINE: "20s"} if self.chance(0.3) else {}

    def _schedule(self) -> dict[str, str]:
        if self.chance(0.4):
            return {}
        labels = {
            duetimes.LABEL: self._rng.choice(list(duetimes.PERIODS)),
            f"{duetimes.LABEL}-concurrency": self._rng.choice(["allow", "forbid", "replace"]),
        }
        labels |= {f"{duetimes.LABEL}-deadline": "3s"} if self.chance(0.3) else {}
        return labels | ({f"{duetimes.LABEL}-history": "2"} if self.chance(0.3) else {})

    def _ports(self, number: int) -> EndpointSpec | None:
        if self._rng.random() >= 0.15:
            return None
        port = PortConfig(target_port=80, published_port=8000 + number, publish_mode="host")
        return EndpointSpec(ports=(port,))

    def ingress_ports(self) -> EndpointSpec:
        """Choose ports that every node answers on, of so few that services meet there."""
        numbers = self._rng.sample(INGRESS_PORTS, self._rng.choice([0, 1, 1, 2]))
        return EndpointSpec(ports=tuple(PortConfig(target_port=80, published_port=number) for number in numbers))


def _counted(kind: str, count: int) -> GenericResource:
    return GenericResource(discrete_resource_spec=DiscreteResourceSpec(kind=kind, value=count))
