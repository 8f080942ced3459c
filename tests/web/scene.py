"""A cluster to look at: twelve nodes, three stacks, and what goes wrong in clusters. Nothing in it moves by itself."""

import math
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import msgspec

from common.ids import new_id
from common.model import Config, Network, Node, Secret, Service, Task, TaskState, TaskStatus
from common.model.container import ContainerSpec, DriverConfig, FileTarget, SecretReference
from common.model.network import IpamConfig, NetworkSpec
from common.model.node import NodeStatus
from common.model.secret import ConfigSpec, SecretSpec
from common.model.service import (
    STACK_LABEL,
    Endpoint,
    EndpointSpec,
    Global,
    NetworkAttachmentConfig,
    PortConfig,
    Replicated,
    Reservations,
    Resources,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
    VirtualIP,
)
from common.model.task import ContainerStatus
from common.model.update import TasksFailed, UpdateProgress, UpdateState, UpdateStatus
from common.wire.usage_messages import HostUsage, TaskUsage
from manager.store.transaction import Transaction
from tests.fakes.api_cluster import ApiCluster, make_node

GIB = 1 << 30
WORKERS = tuple(f"w{number}" for number in range(1, 12))
DOWN, DRAINED = "w7", "w11"


def node_id(name: str) -> str:
    return name.ljust(25, "n")


@dataclass(frozen=True)
class Wanted:
    """A service of the scene."""

    name: str
    image: str
    replicas: int
    stack: str = ""
    memory: int = 256 << 20
    everywhere: bool = False
    port: int = 0
    secret: str = ""


SERVICES = (
    Wanted("shop_web", "shop/web:8.2", 12, "shop", port=8080),
    Wanted("shop_api", "shop/api:42", 6, "shop", memory=GIB, secret="shop_db-password"),
    Wanted("shop_worker", "shop/worker:42", 8, "shop"),
    Wanted("shop_cache", "redis:7.4", 2, "shop", memory=2 * GIB),
    Wanted("shop_db", "postgres:17", 1, "shop", memory=4 * GIB, secret="shop_db-password"),
    Wanted("blog_web", "ghost:5.9", 3, "blog", port=8081),
    Wanted("blog_db", "mariadb:11", 1, "blog", memory=GIB),
    Wanted("monitoring_prometheus", "prometheus:2.53", 1, "monitoring", memory=2 * GIB, port=9090),
    Wanted("monitoring_agent", "node-exporter:1.8", 0, "monitoring", everywhere=True, memory=64 << 20),
    Wanted("reports", "acme/reports:3", 4),
)


def add_nodes(tx: Transaction) -> None:
    for number, name in enumerate(WORKERS):
        node = make_node(node_id(name), name, f"10.1.1.{number + 1}")
        resources = msgspec.structs.replace(node.description.resources, nano_cpus=8_000_000_000, memory_bytes=16 * GIB)
        labels = {"zone": "abc"[number % 3]}
        description = msgspec.structs.replace(node.description, resources=resources)
        spec = msgspec.structs.replace(node.spec, labels=labels, availability="drain" if name == DRAINED else "active")
        tx.put(msgspec.structs.replace(node, description=description, spec=spec))


def remove_first_nodes(tx: Transaction) -> None:
    for node in list(tx.nodes):
        if node.agent:
            tx.remove(node)


def spec_of(wanted: Wanted, network: str, files: dict[str, str]) -> ServiceSpec:
    replicated = ServiceMode(replicated=Replicated(replicas=wanted.replicas))
    reference = SecretReference(
        secret_id=files.get(wanted.secret, ""), secret_name=wanted.secret, file=FileTarget(name="password")
    )
    ports = (PortConfig(target_port=80, published_port=wanted.port),) if wanted.port else ()
    return ServiceSpec(
        name=wanted.name,
        labels={STACK_LABEL: wanted.stack} if wanted.stack else {},
        mode=ServiceMode(global_=Global()) if wanted.everywhere else replicated,
        endpoint_spec=EndpointSpec(ports=ports),
        task_template=TaskSpec(
            container_spec=ContainerSpec(
                image=wanted.image, env=("PASSWORD=s3cr3t",), secrets=(reference,) if wanted.secret else ()
            ),
            resources=Resources(reservations=Reservations(nano_cpus=250_000_000, memory_bytes=wanted.memory)),
            networks=(NetworkAttachmentConfig(target=network),),
        ),
    )


def make_task(service: Service, slot: int, node: str, state: TaskState, now: float, **more: object) -> Task:
    """Make a task; `node` is a node's name, `err` what it says."""
    task_id = new_id(random.Random(f"{service.id} {slot} {node} {more.get('attempt', 0)}"))
    exit_code = 1 if state is TaskState.FAILED else 0
    seen = state >= TaskState.STARTING
    container = ContainerStatus(container_id=f"container-{task_id}", pid=100, exit_code=exit_code)
    return Task(
        id=task_id,
        spec=service.spec.task_template,
        spec_version=service.spec_version,
        service_id=service.id,
        service_name=service.name,
        slot=slot,
        node_id=node_id(node) if node else "",
        desired_state=TaskState.SHUTDOWN if state.terminal else TaskState.RUNNING,
        status=TaskStatus(
            timestamp=now,
            state=state,
            message="started" if state is TaskState.RUNNING else "",
            err=str(more.get("err", "")),
            container_status=container if seen and node else None,
            addresses={
                each.target: f"10.0.{each.target[3]}.{50 + slot}" for each in service.spec.task_template.networks
            },
        ),
    )


class Scene:
    """The cluster's changes, each as one transaction."""

    def __init__(self, cluster: ApiCluster) -> None:
        self.cluster = cluster
        self.store = cluster.store
        # What serves its API: closed, the manager is away.
        self.serving = AsyncExitStack()

    @property
    def now(self) -> float:
        return self.cluster.clock.now()

    def service(self, name: str) -> Service:
        return next(service for service in self.store.view.services if service.name == name)

    def task(self, service: str, slot: int) -> Task:
        tasks = self.store.view.tasks.in_slot(self.service(service).id, slot, "")
        return max((task for task in tasks), key=lambda task: task.created_at)

    def node(self, name: str) -> Node:
        return next(node for node in self.store.view.nodes if node.name == name)

    async def furnish(self) -> None:
        """Make nodes, networks, files, and services all of whose tasks run."""
        for node in WORKERS:
            await self.cluster.engines.add(node_id(node))
        await self.store.update(remove_first_nodes)
        await self.store.update(add_nodes)
        await self.store.update(self._objects)
        for number, wanted in enumerate(SERVICES):
            await self.store.update(lambda tx, number=number, wanted=wanted: self._service(tx, number, wanted))
            await self.store.update(lambda tx, wanted=wanted: self._tasks(tx, wanted))

    def _objects(self, tx: Transaction) -> None:
        for number, name in enumerate(("shop_default", "blog_default", "monitoring_default"), 1):
            options = {"encrypted": ""} if number == 1 else {}
            labels = {STACK_LABEL: name.removesuffix("_default")}
            spec = NetworkSpec(name=name, labels=labels, driver=DriverConfig(name="overlay", options=options))
            subnets = (IpamConfig(subnet=f"10.0.{number}.0/24", gateway=f"10.0.{number}.1"),)
            tx.put(Network(id=f"net{number}".ljust(25, "x"), spec=spec, subnets=subnets, vni=4096 + number))
        tx.put(Secret(id="secret".ljust(25, "s"), spec=SecretSpec(name="shop_db-password", data=b"hunter2")))
        tx.put(Config(id="config".ljust(25, "c"), spec=ConfigSpec(name="shop_nginx.conf", data=b"server {}")))

    def _service(self, tx: Transaction, number: int, wanted: Wanted) -> None:
        network = {"shop": "net1", "blog": "net2", "monitoring": "net3"}.get(wanted.stack, "net1").ljust(25, "x")
        spec = spec_of(wanted, network, {"shop_db-password": "secret".ljust(25, "s")})
        assert spec.endpoint_spec is not None
        addresses = (VirtualIP(network_id=network, addr=f"10.0.{network[3]}.{number + 10}"),)
        endpoint = Endpoint(ports=spec.endpoint_spec.ports, virtual_ips=addresses)
        tx.put(Service(id=f"service{number}".ljust(25, "z"), spec=spec, spec_version=1, endpoint=endpoint))

    def _tasks(self, tx: Transaction, wanted: Wanted) -> None:
        service = next(each for each in tx.services if each.name == wanted.name)
        nodes = [name for name in WORKERS if name != DRAINED]
        rng = random.Random(wanted.name)
        start = rng.randrange(len(nodes))
        if wanted.everywhere:
            for name in WORKERS:
                self.put_task(tx, service, 0, name, TaskState.RUNNING)
            return
        for slot in range(1, wanted.replicas + 1):
            self.put_task(tx, service, slot, nodes[(start + slot * 3) % len(nodes)], TaskState.RUNNING)

    def put_task(
        self, tx: Transaction, service: Service, slot: int, node: str, state: TaskState, **more: object
    ) -> Task:
        task = make_task(service, slot, node, state, tx.now, **more)
        tx.put(task)
        lines = [(1, f"{service.name}.{slot} listens on port 80\n"), (2, "\x1b[33mwarn\x1b[0m slow query: 812 ms\n")]
        self.say(task, lines)
        return task

    def say(self, task: Task, lines: Sequence[tuple[int, str]]) -> None:
        """Let a task's container have written these lines, each of a stream (1: output, 2: errors)."""
        engine, container = self.cluster.engines.engines.get(task.node_id), task.status.container_status
        if engine is not None and container is not None:
            engine.logs[container.container_id] = list(lines)

    async def have_container(self, name: str, slot: int, container_id: str) -> None:
        """Let a slot's task have a container of this id."""
        task = self.task(name, slot)
        status = msgspec.structs.replace(
            task.status, container_status=ContainerStatus(container_id=container_id, pid=7)
        )
        await self.store.update(lambda tx: tx.put(msgspec.structs.replace(task, status=status)))

    def measure(self, service: str) -> None:
        """Let the nodes have said for an hour what their hosts use, and for ten minutes what a service's tasks do."""
        usages, rng = self.cluster.api.context.soft.usages, random.Random(service)
        usages.ask(self.service(service).id, self.now)
        for step in range(360, -1, -1):
            for node in self.store.view.nodes:
                wave = 0.4 + 0.3 * math.sin(step / 30 + len(node.id)) + rng.random() * 0.1
                usage = HostUsage(
                    cpu=wave,
                    memory_total=16 * GIB,
                    memory_available=int(16 * GIB * (0.7 - wave / 3)),
                    disk_total=200 * GIB,
                    disk_available=80 * GIB + step * GIB // 10,
                    received=(360 - step) * 2_000_000,
                    sent=(360 - step) * 700_000,
                    pressure_cpu=wave / 10,
                )
                usages.record_host(node.id, usage, self.now - 10 * step)
            for task in self.store.view.tasks.of_service(self.service(service).id) if step < 60 else ():
                used = TaskUsage(task_id=task.id, cpu=0.2 + rng.random() / 5, memory=200e6 + rng.random() * 5e7)
                usages.record_tasks(task.node_id, [used], self.now - 10 * step)

    # --- what happens ---

    async def kill_node(self, name: str) -> None:
        status = NodeStatus(state="down", message="heartbeat failure", addr=self.node(name).status.addr)
        await self.store.update(lambda tx: tx.put(msgspec.structs.replace(self.node(name), status=status)))

    async def revive_node(self, name: str) -> None:
        status = NodeStatus(state="ready", addr=self.node(name).status.addr)
        await self.store.update(lambda tx: tx.put(msgspec.structs.replace(self.node(name), status=status)))

    async def scale(self, name: str, replicas: int) -> None:
        """Change how many tasks a service is to have; new ones run at once."""
        service = self.service(name)
        spec = msgspec.structs.replace(service.spec, mode=ServiceMode(replicated=Replicated(replicas=replicas)))

        def change(tx: Transaction) -> None:
            tx.put(msgspec.structs.replace(service, spec=spec))
            present = {task.slot: task for task in tx.tasks.of_service(service.id) if task.live}
            for slot in range(1, replicas + 1):
                if slot not in present:
                    self.put_task(tx, service, slot, WORKERS[slot % 10], TaskState.RUNNING, attempt="scaled")
            for slot, task in present.items():
                if slot > replicas:
                    tx.put(msgspec.structs.replace(task, desired_state=TaskState.REMOVE))

        await self.store.update(change)

    async def fail_task(self, name: str, slot: int, error: str, *, again: bool = True) -> None:
        """Let a slot's task fail; with `again` another one starts in its place."""
        task = self.task(name, slot)
        status = msgspec.structs.replace(task.status, state=TaskState.FAILED, err=error, timestamp=self.now)
        ended = msgspec.structs.replace(task, status=status, desired_state=TaskState.SHUTDOWN)
        await self.store.update(lambda tx: tx.put(ended))
        if again:
            node = next(node.name for node in self.store.view.nodes if node.id == task.node_id)

            def start(tx: Transaction) -> None:
                self.put_task(tx, self.service(name), slot, node, TaskState.STARTING, attempt=self.now)

            await self.store.update(start)

    async def wait(self, name: str, slot: int, error: str) -> None:
        """Let a slot's task be replaced by one that no node takes."""
        service, task = self.service(name), self.task(name, slot)

        def change(tx: Transaction) -> None:
            ended = msgspec.structs.replace(task.status, state=TaskState.SHUTDOWN)
            tx.put(msgspec.structs.replace(task, status=ended, desired_state=TaskState.SHUTDOWN))
            waiting = make_task(service, slot, "", TaskState.PENDING, tx.now, err=error, attempt="waits")
            tx.put(waiting)

        await self.store.update(change)

    async def update(self, name: str, image: str, state: UpdateState, *, done: int, of: int, error: str = "") -> None:
        """Let a service be in the middle of an update to an image."""
        service = self.service(name)
        container = service.spec.task_template.container_spec
        assert container is not None
        template = msgspec.structs.replace(
            service.spec.task_template, container_spec=msgspec.structs.replace(container, image=image)
        )
        spec = msgspec.structs.replace(service.spec, task_template=template)
        reason = TasksFailed(task=self.task(name, 1).id, failed=2, of=of, error=error) if error else None
        progress = UpdateProgress(done=done, of=of, batch=1)
        status = UpdateStatus(state=state, started_at=self.now - 40, reason=reason, progress=progress)
        updated = msgspec.structs.replace(
            service,
            spec=spec,
            previous_spec=service.spec,
            update_status=status,
            spec_version=service.spec_version + 1,
        )

        def change(tx: Transaction) -> None:
            tx.put(updated)
            for slot in range(1, done + 1):
                before = self.task(name, slot)
                node = next(node.name for node in tx.nodes if node.id == before.node_id)
                tx.put(msgspec.structs.replace(before, desired_state=TaskState.REMOVE))
                self.put_task(tx, updated, slot, node, TaskState.RUNNING, attempt=image)

        await self.store.update(change)

    async def trouble(self) -> None:
        """Let go wrong what goes wrong: a node is down, an update halts, a task fits nowhere, another crashes."""
        await self.kill_node(DOWN)
        error = "task: non-zero exit (1): cannot reach db:5432"
        await self.update("shop_api", "shop/api:43", UpdateState.PAUSED, done=2, of=6, error=error)
        await self.fail_task("reports", 2, "task: non-zero exit (137): out of memory")
        await self.wait("shop_cache", 2, "no suitable node (insufficient memory on 10 nodes; 1 node is down)")
