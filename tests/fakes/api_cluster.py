"""A cluster behind a real API, without agents: its tasks run as soon as they are made, on nodes that do not exist."""

import asyncio
import contextlib
import random
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from common.clock import SystemClock
from common.ids import new_id
from common.model import Cluster, Network, Node, Service, Task, TaskState, TaskStatus
from common.model.cluster import JoinTokens
from common.model.container import DriverConfig
from common.model.naming import Version
from common.model.network import IpamConfig, NetworkSpec
from common.model.node import (
    EngineDescription,
    ManagerStatus,
    NodeDescription,
    NodeResources,
    NodeSpec,
    NodeStatus,
    Plugin,
)
from common.model.service import Endpoint, Platform, VirtualIP
from common.model.task import ContainerStatus
from common.model.update import UpdateState, UpdateStatus
from manager.api.app import Api
from manager.api.context import Identity, ThisManager
from manager.ca.authority import Authority, create_root
from manager.store.backends.memory import MemoryBackend
from manager.store.store import Store
from manager.store.transaction import Transaction
from tests.fakes.audit import AuditList
from tests.fakes.docker_engine import FakeEngines

ROOT = """-----BEGIN CERTIFICATE-----
MIIBajCCARCgAwIBAgIUR/l7TXEqF42JrqXJkGWByNl21mQwCgYIKoZIzj0EAwIw
EzERMA8GA1UEAxMIc3dhcm0tY2EwHhcNMjYxMTI0MTMwMDAwWhcNNDYxMTE5MTMw
MDAwWjATMREwDwYDVQQDEwhzd2FybS1jYTBZMBMGByqGSM49AgEGCCqGSM49AwEH
A0IABDqHEeYA/yznFBcG7tsFf7s0BYl+HwFRZUU70w9gHwy5Qa+HjG0IFGJ0uIkE
IOioiEb98wJAfid8LHb4GdboNemjQjBAMA4GA1UdDwEB/wQEAwIBBjAPBgNVHRMB
Af8EBTADAQH/MB0GA1UdDgQWBBTqh13ciLYOFLKO3waSgcY1ZDt7FTAKBggqhkjO
PQQDAgNIADBFAiBogd71BHdNh45F/2q8i8LXWEDZfrSNtvCSwCm9WzKMiQIhANZX
UU2LfBAdTRRMk5/b6OEIm4P9HA8u6pRs1usMtMJp
-----END CERTIFICATE-----
"""
TOKEN = "SWMTKN-1-4k7ui8a2t9gezr0dxjid1qlzgoxelkagcru82w4ydy5ts2ihto-"
MANAGER, WORKER1, WORKER2 = "m" * 25, "v" * 25, "w" * 25


def make_node(node_id: str, hostname: str, address: str, *, manager: bool = False, agent: bool = True) -> Node:
    engine = EngineDescription(engine_version="26.1.5", plugins=(Plugin(type="Network", name="overlay"),))
    description = NodeDescription(
        hostname=hostname,
        platform=Platform(architecture="x86_64", os="linux"),
        resources=NodeResources(nano_cpus=2_000_000_000, memory_bytes=4 << 30),
        engine=engine if agent else EngineDescription(),
        encryption="wireguard" if agent else "",
    )
    return Node(
        id=node_id,
        spec=NodeSpec(role="manager" if manager else "worker"),
        description=description,
        status=NodeStatus(state="ready", addr=address),
        manager_status=ManagerStatus(leader=True, addr=f"{address}:2377") if manager else None,
        agent=agent,
        certificate_serials=("1",) if agent else (),
    )


def fill(tx: Transaction) -> None:
    """Put the cluster's first objects."""
    tx.put(
        Cluster(
            id="c" * 25,
            join_tokens=JoinTokens(
                worker=TOKEN + "0ayofiaf0enqrorcryvqt7ip6", manager=TOKEN + "cvexdc9uufq0fr7ongo6etit6"
            ),
            root_certificate=ROOT,
        )
    )
    tx.put(make_node(MANAGER, "m1", "10.1.0.1", manager=True, agent=False))
    tx.put(make_node(WORKER1, "w1", "10.1.0.2"))
    tx.put(make_node(WORKER2, "w2", "10.1.0.3"))
    tx.put(
        Network(
            id="i" * 25,
            spec=NetworkSpec(name="ingress", driver=DriverConfig(name="overlay"), ingress=True),
            subnets=(IpamConfig(subnet="10.0.0.0/24", gateway="10.0.0.1"),),
            vni=4096,
        )
    )


class ApiCluster:
    """Store, API and a stand-in for orchestrator, scheduler and agents. `left` tells that a client made it leave."""

    def __init__(self, *, idle: bool = False) -> None:
        # Short: a socket's path has at most 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="api-"))
        self.clock = SystemClock()
        self.rng = random.Random(7)
        self.store = Store(MemoryBackend(), self.clock)
        self.engines = FakeEngines(self.folder)
        self.left = False
        self.authority = Authority(create_root("c" * 25, self.clock.now()))
        self.audited = AuditList()
        self._running = asyncio.Event()
        if not idle:
            self._running.set()
        self.api = self.another_api()
        self._stack = contextlib.AsyncExitStack()

    def another_api(self) -> Api:
        """Return an API on the same store and audit log, as a manager has one that was started anew."""
        return Api(
            self.store,
            self.clock,
            self.rng,
            self.engines,
            self.authority,
            ThisManager(
                identity=Identity(MANAGER, address="10.1.0.1", version="0.1.0", hosts=("tcp://10.1.0.1:2376",)),
                leave=self._leave,
            ),
            self.audited,
        )

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.store)
        await self.store.update(fill)
        for node_id in (WORKER1, WORKER2):
            await self.engines.add(node_id)
        self._stack.push_async_callback(self.engines.stop)
        await self._stack.enter_async_context(self.api)
        runner = asyncio.create_task(self._run())
        self._stack.push_async_callback(self._end, runner)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        shutil.rmtree(self.folder)

    async def join_own_host(self) -> None:
        """Let the manager's own host have a worker, drained, whose engine asks registries."""
        node = make_node(MANAGER, "m1", "10.1.0.1", manager=True)
        drained = msgspec.structs.replace(node.spec, availability="drain")
        await self.engines.add(MANAGER)
        await self.store.update(lambda tx: tx.put(msgspec.structs.replace(node, spec=drained)))

    def resume(self) -> None:
        """Let tasks be made and run; a cluster that is `idle` does nothing before."""
        self._running.set()

    async def _leave(self) -> None:
        self.left = True

    @staticmethod
    async def _end(runner: asyncio.Task[None]) -> None:
        runner.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await runner

    async def _run(self) -> None:
        with self.store.watch() as subscription:
            while True:
                await subscription.next()
                await self._running.wait()
                await self.store.update(self._converge)

    def _converge(self, tx: Transaction) -> None:
        for network in list(tx.networks):
            if not network.subnets:
                subnet = f"10.0.{len(tx.networks)}"
                ranges = (IpamConfig(subnet=f"{subnet}.0/24", gateway=f"{subnet}.1"),)
                tx.put(msgspec.structs.replace(network, subnets=ranges, vni=4096 + len(tx.networks)))
        for service in list(tx.services):
            if service.pending_delete:
                for task in list(tx.tasks.of_service(service.id)):
                    tx.remove(task)
                tx.remove(service)
                if (login := tx.registry_logins.get(service.id)) is not None:
                    tx.remove(login)
            else:
                self._converge_service(tx, service)

    def _converge_service(self, tx: Transaction, service: Service) -> None:
        slots = self._slots(tx, service)
        for task in list(tx.tasks.of_service(service.id)):
            if task.live and ((task.slot, task.node_id) not in slots or task.spec_version != service.spec_version):
                ended = TaskStatus(timestamp=tx.now, state=TaskState.SHUTDOWN, message="shutdown")
                tx.put(msgspec.structs.replace(task, desired_state=TaskState.SHUTDOWN, status=ended))
        changed = False
        for slot, node_id in slots:
            if not any(t.live and t.slot == slot and t.node_id == node_id for t in tx.tasks.of_service(service.id)):
                tx.put(self._task(tx, service, slot, node_id))
                changed = True
        self._settle(tx, service, updated=changed)

    def _settle(self, tx: Transaction, service: Service, *, updated: bool) -> None:
        networks = [n.target for n in service.spec.task_template.networks if tx.networks.get(n.target)]
        vips = tuple(VirtualIP(network_id=n, addr="10.0.9.2") for n in networks)
        spec = service.spec.endpoint_spec
        ports = tuple(
            msgspec.structs.replace(port, published_port=port.published_port or 30000 + n)
            for n, port in enumerate(spec.ports if spec else ())
        )
        endpoint = Endpoint(spec=spec, ports=ports, virtual_ips=vips)
        status = service.update_status
        if status is None and service.previous_spec is not None and updated:
            status = UpdateStatus(
                state=UpdateState.COMPLETED, started_at=tx.now, completed_at=tx.now, message="update completed"
            )
        elif status is not None and status.state == "rollback_started":
            status = msgspec.structs.replace(status, state=UpdateState.ROLLBACK_COMPLETED, completed_at=tx.now)
        if (service.endpoint, service.update_status) != (endpoint, status):
            tx.put(msgspec.structs.replace(service, endpoint=endpoint, update_status=status))

    @staticmethod
    def _slots(tx: Transaction, service: Service) -> dict[tuple[int, str], None]:
        nodes = [node.id for node in tx.nodes if node.agent and node.spec.availability == "active"]
        if service.spec.mode.global_ is not None:
            return {(0, node): None for node in nodes}
        replicas = service.spec.mode.replicated.replicas if service.spec.mode.replicated else 0
        return {(slot, nodes[slot % len(nodes)]): None for slot in range(1, (replicas or 0) + 1)}

    def _task(self, tx: Transaction, service: Service, slot: int, node_id: str) -> Task:
        task_id = new_id(self.rng)
        container = ContainerStatus(container_id=f"container-{task_id}", pid=100)
        if node_id in self.engines.engines:
            lines = [(1, f"hello from {task_id}\n"), (2, "careful\n")]
            self.engines.engines[node_id].logs[container.container_id] = lines
        return Task(
            id=task_id,
            version=Version(),
            spec=service.spec.task_template,
            spec_version=service.spec_version,
            service_id=service.id,
            service_name=service.name,
            slot=slot,
            node_id=node_id,
            desired_state=TaskState.RUNNING,
            status=TaskStatus(
                timestamp=tx.now,
                state=TaskState.RUNNING,
                message="started",
                container_status=container,
                addresses={n.target: "10.0.9.5" for n in service.spec.task_template.networks},
            ),
        )
