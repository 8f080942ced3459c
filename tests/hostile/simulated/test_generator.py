"""Every field of every message made wrong, by an evil worker with a valid certificate, against a whole cluster.

CI sends a share of the 50,000, always the same: `SWARM_FUZZ_CALLS=50000 tests/run sim -k everything_wrong -s` sends all
and shows what became of them; SWARM_FUZZ_SEED=N makes them others.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import ipaddress
import logging
import os
import re
import resource
import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path

import pytest

from common.model import NetworkAttachment, Node, TaskState
from common.model.attachment import ATTACHMENT_LABEL, AttachedNetwork
from common.wire.messages import MESH, MESH6
from tests.fakes.virtual_loop import run_virtual
from tests.hostile.attack import Attack
from tests.hostile.evil_worker import EvilWorker
from tests.hostile.honest import HonestWorker, image_id
from tests.hostile.lines import Line
from tests.hostile.mutations import CANARY, kinds, paths
from tests.hostile.world import World, hostile_world
from worker.intake.addresses import text_of

CALLS = int(os.environ.get("SWARM_FUZZ_CALLS", "4000"))
SEED = int(os.environ.get("SWARM_FUZZ_SEED", "1"))
# Between two looks at whether all is well.
CHUNK = 500
# After so many the names of what is there by now are learnt anew.
REFRESH = 20
GROWTH_KIB = 30 * 1024
# What a small object has on average, and some more.
BLOCK_BYTES = 128
MALLINFO = (
    "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
)  # fmt: skip
WARM_UP = max(2 * CHUNK, CALLS // 5)
_HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]{0,62})")


class SimulatedTestbed:
    """The simulation as a testbed for attacks."""

    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> float:
        return self._world.clock.now()

    async def join(self, name: str) -> EvilWorker:
        return await self._world.evil(name)

    async def stranger(self) -> Line:
        return await self._world.stranger()

    async def node_id(self, name: str) -> str:
        node_id = self._world.ids[name]
        return node_id if node_id in self._world.view.nodes else ""

    async def prepare(self, name: str) -> None:
        """Give it a plain container in a network, when it has none."""
        if not any(each.live for each in self._world.view.attachments.on_node(self._world.ids[name])):
            await attach(self._world, name, self._world.network_id("blue"))

    def forgive(self) -> None:
        self._world.forgive()

    async def others(self, name: str) -> Mapping[str, Sequence[str]]:
        view, honest, own = self._world.view, self._world.honest.values(), self._world.ids[name]
        return {
            "taskid": [task.id for task in view.tasks if task.node_id != own],
            "attachmentid": [each.id for each in view.attachments if each.node_id != own],
            "nodeid": [node.id for node in view.nodes if node.id != own],
            "networkid": [network.id for network in view.networks],
            "serviceid": [each.id for each in view.services],
            "hostname": ["alice", "bob", "web", "vault"],
            "addresses{value}": [str(each) for worker in honest for each in worker.plane._addresses.in_use],
            "advertiseaddr": [str(worker.plan.topology.facts.address) for worker in honest],
            "ipv6addresses": [str(each) for node in view.nodes for each in node.description.ipv6_addresses],
            "imageid": [image_id("web:1"), image_id("poison")],
            "reference": ["web:1", "nginx:1.27"],
        }


# --- what may be of an evil node on others ----------------------------------------------------------------------------


class ForeignDataCheck:
    """Checks that no honest worker was told of others what an evil node may not say. It remembers what it has seen."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._seen: dict[str, object] = {}

    def look(self) -> None:
        """Fail if an honest worker was told something that is not an evil node's to say."""
        for name, worker in self._world.honest.items():
            if self._seen.get(name) is not worker.world:
                self._seen[name] = worker.world
                problems = list(foreign_problems(self._world, worker))
                assert not problems, f"{name} was told of {problems[:3]}"


def foreign_problems(world: World, worker: HonestWorker) -> Iterable[str]:
    """Name what an honest worker was told of evil nodes that is not theirs to say."""
    evil = {node_id: name for name, node_id in world.ids.items() if name not in world.honest}
    others = {node.status.addr for node in world.view.nodes if node.id not in evil}
    for peer in worker.world.peers.values():
        if peer.node_id in evil:
            if not _is_usable4(str(peer.addr)) or str(peer.addr) in others:
                yield f"a peer at {peer.addr!r:.50}"
            yield from (f"a peer's {each!r:.50}" for each in peer.ipv6_addresses if not _is_usable6(str(each)))
    for endpoint in worker.world.endpoints.values():
        for backend in (*endpoint.backends, *endpoint.draining):
            if backend.node_id not in evil:
                continue
            if backend.hostname and not _HOSTNAME.fullmatch(backend.hostname):
                yield f"a container that calls itself {backend.hostname[:50]!r}"
            for network, address in backend.addresses.items():
                if not _is_own(world, evil[backend.node_id], network, text_of(address)):
                    yield f"{text_of(address)[:50]!r} in {network[:50]!r} of {evil[backend.node_id]}"


def _is_usable4(text: str) -> bool:
    with contextlib.suppress(ValueError):
        address = ipaddress.IPv4Address(text)
        return not (address.is_loopback or address.is_multicast or address.is_unspecified or address.is_link_local)
    return False


def _is_usable6(text: str) -> bool:
    with contextlib.suppress(ValueError):
        return _is_one_host6(text)
    return False


def _is_one_host6(text: str) -> bool:
    address = ipaddress.IPv6Address(text)
    return "%" not in text and not (address.is_loopback or address.is_multicast or address.is_unspecified)


def _is_own(world: World, name: str, network: str, text: str) -> bool:
    if world.ids[name] not in world.view.nodes:
        return False
    mine = world.own_address(name, network)
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    around = ipaddress.ip_network(f"{mine}/{120 if network == MESH6 else 24}", strict=False)
    known = network in (MESH, MESH6) or network in world.view.networks
    return known and address in around


# --- the test ---------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def watched(world: World, unready: list[str]) -> AsyncIterator[None]:
    """Write down every time that an honest node is not ready, or one of its tasks changes."""
    honest = {worker.node_id for worker in world.honest.values()}

    async def watch() -> None:
        with world.manager.store.watch() as subscription:
            while True:
                for changes in await subscription.next():
                    for change in changes.changes:
                        value = change.current
                        if isinstance(value, Node) and value.id in honest and value.status.state != "ready":
                            unready.append(f"{value.name}: {value.status}")

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def furnish(world: World) -> None:
    """Have one of everything that a message may name."""
    await world.network("blue")
    await world.network("secretive", Options={"encrypted": ""})
    red = await world.network("red")
    key = await world.secret("key", "c2VjcmV0")
    await world.service("web", networks=("blue", "secretive"), publish={8080: 80})
    await world.service("vault", on=("alice", "bob"), networks=("red",), Secrets=[key])
    await world.post(
        "/services/create",
        {
            "Name": "scaled",
            "Labels": {"swarm.x.autoscale": "min=1,max=3,cpu=50%"},
            "Mode": {"Replicated": {"Replicas": 1}},
            "TaskTemplate": {
                "ContainerSpec": {"Image": "web:1"},
                "Resources": {"Reservations": {"NanoCPUs": 100_000_000}},
                "Placement": {"Constraints": [f"node.id=={world.ids['alice']}"]},
            },
        },
    )
    await attach(world, "bob", red)
    engine = world.honest["bob"].engine
    await engine.start(await engine.create("plain", {"Image": "web:1", "Labels": {ATTACHMENT_LABEL: "plain-bob"}}))
    await world.until(lambda: all(task.status.state is TaskState.RUNNING for task in world.tasks("scaled")))


async def attach(world: World, name: str, network_id: str) -> None:
    """Have a plain container of a node in a network, as far as the manager knows."""
    networks = (AttachedNetwork(target=network_id),)
    record = NetworkAttachment(id=f"plain-{name}", node_id=world.ids[name], name="plain", networks=networks)
    await world.manager.store.update(lambda tx: tx.put(record))


class _Mallinfo(ctypes.Structure):
    """What the C library says of its allocator: `struct mallinfo2`."""

    _fields_ = [(name, ctypes.c_size_t) for name in MALLINFO]


def held_kib() -> int:
    """Return what this process has allocated, manager, honest workers and evil one together, without garbage.

    What is resident is more each time that much comes at once: Python's allocator keeps pools that are partly free.
    """
    gc.collect()
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = _Mallinfo
    large = mallinfo()
    return (sys.getallocatedblocks() * BLOCK_BYTES + large.uordblks + large.hblkhd) // 1024


def resident_kib() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024


def tasks_of_honest(world: World) -> set[tuple[str, str]]:
    honest = {worker.node_id for worker in world.honest.values()}
    return {(task.id, task.status.state.name) for task in world.view.tasks if task.node_id in honest}


async def everything_wrong() -> None:
    async with hostile_world(SEED) as world:
        await furnish(world)
        attack = Attack(SimulatedTestbed(world), SEED)
        await attack.begin()
        await world.quiet(30)
        plans, tasks = world.honest_plans(), tasks_of_honest(world)
        unready: list[str] = []
        warm = resident = 0
        said = ForeignDataCheck(world)
        async with watched(world, unready):
            for number in range(1, CALLS + 1):
                await attack.say()
                said.look()
                if number == WARM_UP:
                    await world.quiet(10)
                    attack.mallory.heard.clear()
                    warm, resident = held_kib(), resident_kib()
                if number % REFRESH == 0:
                    await attack.back()
                if number % CHUNK == 0:
                    await world.probe()
                    world.honest_are_well()
            await world.quiet(10)
            print(f"\n{CALLS} by {attack.joined} nodes; sessions ended by {sum(attack.ended.values())}: {attack.ended}")
        assert not unready
        assert not world.disturbed(plans)
        assert tasks_of_honest(world) == tasks
        assert CANARY not in "\n".join(script for worker in world.honest.values() for script in worker.scripts)
        attack.mallory.heard.clear()
        grown = held_kib() - warm
        print(f"{grown} KiB more than after {WARM_UP}, and {resident_kib() - resident} resident")
        assert grown < GROWTH_KIB
        untried = [(name, path) for name in kinds() for path in paths(kinds()[name])]
        tried = {each for each in untried if attack.tried[each]}
        assert CALLS < 20_000 or len(tried) == len(untried), sorted(set(untried) - tried)[:10]
        await world.service("after", on=("alice", "bob"), networks=("blue",))
        await world.probe()
        world.honest_are_well()


@pytest.mark.timeout(60 + CALLS // 20)
def test_everything_wrong_that_a_worker_can_say(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    began = time.monotonic()
    run_virtual(everything_wrong())
    print(f"in {time.monotonic() - began:.1f} s")
