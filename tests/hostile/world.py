"""A manager with its API, two honest workers and whatever an evil one brings, in virtual time and in memory.

    async with hostile_world() as world:
        await world.service("web", on=("alice", "bob"), publish={8080: 80})
        mallory = await world.evil()
        before = world.honest_plans()
        …
        assert not world.disturbed(before)

Alice and bob run the real agent and plan their hosts' networks; mallory is an `EvilWorker`. All have joined with the
cluster's real token.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import fields, replace
from typing import Any

import msgspec
from cryptography import x509

from common.clock import LoopClock
from common.errors import SwarmError, Unavailable
from common.model import Cluster, Node, Task, TaskState
from common.tls import identity_of
from common.wire.channel import PeerInfo
from common.wire.memory import MemoryChannel
from manager.api.app import Api
from manager.api.context import Identity, Telemetry, ThisManager
from manager.bootstrap import first_node, ingress_network
from manager.ca.authority import Authority, create_root
from manager.ca.tokens import new_tokens
from manager.config import ManagerConfig
from manager.daemon.leader import LeaderEngines
from manager.dispatch.dispatcher import Dispatcher
from manager.dispatch.reception import Reception
from manager.loops.allocation import attachment_rule, tunnel_keys_rule
from manager.store.backends.memory import MemoryBackend
from manager.store.view import View
from tests.fakes.api_client import Client
from tests.fakes.audit import AuditList
from tests.hostile.evil_worker import EvilWorker, join, own_address
from tests.hostile.honest import HonestWorker
from tests.hostile.lines import Line, MemoryLine, socketed_pair
from tests.sim.cluster import Manager
from worker.assignments import AssignmentSet
from worker.intake.world import Endpoint
from worker.intake.world import Network as WorldNetwork
from worker.net.plan.host_plan import HostPlan, plan

CLUSTER = "cluster"
MANAGER_ADDRESS = "192.0.2.10"
POOLS = ("10.0.0.0/8", "fd00:20::/48")
IMAGES = ("web:1", "db:1")
LATENCY = 0.001


class Trouble(logging.Handler):
    """Collects what nobody may bring about from outside: tracebacks, hosts not as planned, what asyncio finds lost."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []
        self.lines: deque[str] = deque(maxlen=1000)

    def emit(self, record: logging.LogRecord) -> None:
        told = logging.Formatter("%(name)s: %(message)s").format(record)
        self.lines.append(told)
        if record.exc_info or record.name == "asyncio" or "not as planned" in told:
            self.heard.append(told)


class HostileManager(Manager):
    """The simulation's manager; as the listener does, it logs how connections end but with a `SwarmError`."""

    @staticmethod
    async def _serve(reception: Reception, channel: MemoryChannel) -> None:
        try:
            await reception.handle(channel)
        except SwarmError:
            pass
        except Exception:
            logging.getLogger("manager").exception("unexpected error in the connection of %s", channel.peer)


class World:
    """Nodes are known by their host names: `ids` has their ids."""

    def __init__(self, seed: int) -> None:
        self.clock = LoopClock()
        self.rng = random.Random(seed)
        self.authority = Authority(create_root(CLUSTER, self.clock.now()))
        self.manager = HostileManager(
            MemoryBackend(),
            self.clock,
            str(seed),
            authority=self.authority,
            rules=(attachment_rule(), tunnel_keys_rule()),
        )
        self.tokens = new_tokens(self.authority.digest, self.rng)
        self.ids: dict[str, str] = {}
        self.honest: dict[str, HonestWorker] = {}
        self.trouble = Trouble()
        self.client: Client = None  # type: ignore[assignment]  # there once it runs
        self._stack = contextlib.AsyncExitStack()
        self._addresses: dict[str, str] = {}

    # --- what there is ------------------------------------------------------------------------------------------------

    @property
    def view(self) -> View:
        return self.manager.store.view

    @property
    def dispatcher(self) -> Dispatcher:
        assert self.manager.dispatcher is not None
        return self.manager.dispatcher

    def forgive(self) -> None:
        """Keep no node out for what it has said: an attack need not wait for that."""
        self.dispatcher._quotas.clear()

    def node(self, name: str) -> Node:
        node = self.view.nodes.get(self.ids[name])
        assert node is not None, f"{name} is no node any more"
        return node

    def tasks(self, service: str, on: str = "") -> list[Task]:
        """Return the tasks of a service that are to run, on a node or on all."""
        wanted = (task for task in self.view.tasks if task.service_name == service and task.live)
        return [task for task in wanted if not on or task.node_id == self.ids[on]]

    def network_id(self, name: str) -> str:
        return next(network.id for network in self.view.networks if network.name == name)

    def own_address(self, name: str, network: str, host: int = 7) -> str:
        """Return an address in a node's own part of a network, by its name, or of `MESH` or `MESH6`."""
        networks = {each.id: each for each in self.view.networks}
        network_id = next((each.id for each in networks.values() if each.name == network), network)
        pools, number = self.view.cluster.default_addr_pool, self.node(name).number
        known = AssignmentSet(node_number=number, address_pools=pools, networks=networks)
        return own_address(known, self.ids[name], network_id, host)

    # --- what is done -------------------------------------------------------------------------------------------------

    async def post(self, path: str, body: Any = None) -> Any:
        """POST what must be taken."""
        status, answer = await self.client.ask("POST", path, body)
        assert status < 300, f"{path}: {status} {answer}"
        return answer

    async def network(self, name: str, **spec: Any) -> str:
        return str((await self.post("/networks/create", {"Name": name, "Driver": "overlay", **spec}))["Id"])

    async def service(
        self,
        name: str,
        *,
        on: Collection[str] = (),
        networks: Collection[str] = (),
        publish: Mapping[int, int] | None = None,
        constraints: Collection[str] = (),
        image: str = "web:1",
        **container: Any,
    ) -> str:
        """Create a global service on these nodes (all, if none are named), and wait until honest ones run it."""
        placed = [f"node.id!={self.ids[other]}" for other in self.ids if on and other not in on]
        spec = {
            "Name": name,
            "Mode": {"Global": {}},
            "TaskTemplate": {
                "ContainerSpec": {"Image": image, **container},
                "Placement": {"Constraints": [*placed, *constraints]},
                "Networks": [{"Target": each} for each in networks],
            },
            "EndpointSpec": {
                "Ports": [{"PublishedPort": port, "TargetPort": target} for port, target in (publish or {}).items()]
            },
        }
        service_id = str((await self.post("/services/create", spec))["ID"])
        runs = [each for each in self.honest if (not on or each in on) and not constraints]
        await self.until(lambda: all(self._runs(name, each) for each in runs))
        return service_id

    async def remove(self, *services: str) -> None:
        """Remove services, and wait until nothing is left of them but what evil nodes say."""
        for service in services:
            status, answer = await self.client.ask("DELETE", f"/services/{service}")
            assert status < 300, answer
        honest = {worker.node_id for worker in self.honest.values()}
        await self.until(
            lambda: not any(task.service_name in services and task.node_id in honest for task in self.view.tasks)
        )

    def _runs(self, service: str, on: str) -> bool:
        return any(task.status.state is TaskState.RUNNING for task in self.tasks(service, on))

    async def secret(self, name: str, data: str) -> dict[str, Any]:
        """Make a secret (`data` in base 64), and return how a service names it."""
        secret_id = (await self.post("/secrets/create", {"Name": name, "Data": data}))["ID"]
        file = {"Name": name, "UID": "0", "GID": "0", "Mode": 0o444}
        return {"SecretID": secret_id, "SecretName": name, "File": file}

    async def until(self, what: Callable[[], bool], seconds: float = 10.0) -> None:
        """Wait for something, in virtual time."""
        try:
            async with asyncio.timeout(seconds):
                while not what():
                    await asyncio.sleep(0.01)
        except TimeoutError:
            tasks = "\n".join(f"{t.service_name} on {t.node_id}: {t.status}" for t in self.view.tasks)
            raise AssertionError(
                f"not within {seconds} s:\n{tasks}\n" + "\n".join(list(self.trouble.lines)[-20:])
            ) from None

    async def quiet(self, seconds: float = 5.0) -> None:
        """Let all that follows from what was done, follow."""
        await asyncio.sleep(seconds)

    # --- who joins ----------------------------------------------------------------------------------------------------

    async def add_honest(self, name: str) -> HonestWorker:
        identity, address = await self._join(name)
        worker = self.honest[name] = HonestWorker(
            self.ids[name],
            name,
            lambda: self._dial(identity)._channel,
            address=address,
            images=IMAGES,
            clock=self.clock,
            rng=random.Random(f"{name}"),
        )
        await self._stack.enter_async_context(worker.running())
        await self.until(lambda: self.node(name).status.state == "ready")
        return worker

    async def evil(self, name: str = "mallory", **terms: Any) -> EvilWorker:
        """Let a node join that is evil, and say nothing yet."""
        identity, _ = await self._join(name, **terms)

        async def dial() -> Line:
            return self._dial(identity)

        return await self._stack.enter_async_context(EvilWorker(dial, self.clock.now))

    async def stranger(self) -> Line:
        """Open a connection without a certificate."""
        return self._dial(PeerInfo(None, "192.0.2.99", MANAGER_ADDRESS))

    async def _join(self, name: str, **terms: Any) -> tuple[PeerInfo, str]:
        address = self._addresses.setdefault(name, f"192.0.2.{len(self._addresses) + 11}")

        async def dial() -> Line:
            return self._dial(PeerInfo(None, address, MANAGER_ADDRESS))

        reply, _ = await join(dial, self.tokens.worker, terms.pop("hostname", name), **terms)
        self.ids[name] = reply.node_id
        identity = identity_of(x509.load_pem_x509_certificates(reply.certificate)[0])
        return PeerInfo(identity, address, MANAGER_ADDRESS), address

    def _dial(self, peer: PeerInfo) -> MemoryLine:
        near, far = socketed_pair(peer, LATENCY)
        self.manager.serve(far, str(peer))
        return MemoryLine(near)

    # --- whether all is well ------------------------------------------------------------------------------------------

    def honest_plans(self) -> dict[str, HostPlan]:
        """Return what each honest host is to have, but for what is evil nodes' own: their tasks, and they as peers."""
        evil = set(self.ids.values()) - {worker.node_id for worker in self.honest.values()}
        return {name: _plan_without(worker, evil) for name, worker in self.honest.items()}

    def disturbed(self, before: Mapping[str, HostPlan]) -> list[str]:
        """Say what of the honest hosts is not as it was before."""
        now = self.honest_plans()
        return [
            f"{name}'s {part.name}: {getattr(plan, part.name)!r:.300}, was {getattr(before[name], part.name)!r:.300}"
            for name, plan in now.items()
            for part in fields(plan)
            if getattr(plan, part.name) != getattr(before[name], part.name)
        ]

    def honest_are_well(self) -> None:
        """Fail if an honest node is not ready or not as planned, or somebody has met a bug."""
        assert not self.trouble.heard, "\n".join(self.trouble.heard[:3])
        for name, worker in self.honest.items():
            node = self.node(name)
            assert (node.status.state, node.status.message) == ("ready", ""), name
            assert worker.trouble == "", f"{name}: {worker.trouble}"

    async def probe(self) -> None:
        """Fail if the API has no good answer to one of the usual questions."""
        for path in PROBES:
            status, answer = await self.client.ask("GET", path)
            assert status == 200, f"GET {path}: {status} {answer}"


PROBES = (
    "/tasks",
    "/nodes",
    "/services",
    "/services?status=true",
    "/networks",
    "/info",
    "/secrets",
    "/containers/json",
    "/images/json",
)


def _plan_without(worker: HonestWorker, evil: Collection[str]) -> HostPlan:
    """Plan a host again as if these nodes had no tasks, no part of any network, and were no peers."""
    reconciler = worker.plane.reconciler
    world, addresses = reconciler.world, reconciler._addresses
    endpoints = {key: _endpoint_without(each, evil) for key, each in world.endpoints.items()}
    networks = {key: _network_without(each, evil) for key, each in world.networks.items()}
    peers = {node_id: peer for node_id, peer in world.peers.items() if node_id not in evil}
    less = replace(world, endpoints=endpoints, networks=networks, peers=peers)
    found = plan(less, addresses.in_use, addresses.draining, reconciler.survey.facts)
    return replace(found, balanced=())  # in the order in which it was told of services; the tables have all of it


def _endpoint_without(endpoint: Endpoint, evil: Collection[str]) -> Endpoint:
    backends = tuple(each for each in endpoint.backends if each.node_id not in evil)
    draining = tuple(each for each in endpoint.draining if each.node_id not in evil)
    return msgspec.structs.replace(endpoint, backends=backends, draining=draining)


def _network_without(network: WorldNetwork, evil: Collection[str]) -> WorldNetwork:
    leases = {node_id: lease for node_id, lease in network.leases.items() if node_id not in evil}
    return replace(network, leases=leases)


@contextlib.asynccontextmanager
async def hostile_world(seed: int = 1, honest: Collection[str] = ("alice", "bob")) -> AsyncIterator[World]:
    """Have a manager with honest workers; fail at the end if an honest node has suffered."""
    world = World(seed)
    log = logging.getLogger()
    log.addHandler(world.trouble)
    running = asyncio.create_task(world.manager.run(), name="manager")
    try:
        await world.manager.ready.wait()
        await world.manager.store.update(lambda tx: [tx.put(each) for each in _records(world)])
        async with world._stack:
            api = await world._stack.enter_async_context(_api(world))
            world.client = Client(api)
            for name in honest:
                await world.add_honest(name)
            yield world
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        log.removeHandler(world.trouble)


def _records(world: World) -> tuple[Any, ...]:
    cluster = Cluster(
        id=CLUSTER,
        join_tokens=world.tokens,
        root_certificate=world.authority.root_certificate.decode(),
        default_addr_pool=POOLS,
    )
    config = ManagerConfig(node_id="manager", listen_addr="0.0.0.0:2377", advertise_addr=f"{MANAGER_ADDRESS}:2377")
    return cluster, first_node(config), ingress_network(world.rng)


def _api(world: World) -> Api:
    dispatcher = world.dispatcher

    async def never() -> None:
        raise Unavailable("nobody leaves here")

    return Api(
        world.manager.store,
        world.clock,
        world.rng,
        LeaderEngines(lambda: dispatcher),
        world.authority,
        ThisManager(identity=Identity("manager", address=f"{MANAGER_ADDRESS}:2377", version="test"), leave=never),
        AuditList(),
        telemetry=Telemetry(soft=dispatcher.soft),
    )
