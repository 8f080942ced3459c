"""Overview: what the dashboard's answers weigh and take with 1,000 nodes and 100,000 tasks, and what followers cost.

The API runs in this process, on a store in memory, without HTTP, with the manager's settings of the garbage collector.
"Held" is the longest time that the event loop computed without a break, in CPU time. The cost of changes is a share of
one core: the store's own writes alone, with the API's watchers and nobody who follows, and with ten followers of
everything. What the overview adds to that is also measured by itself, as other programs change the whole by more.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import random
import time
from collections.abc import Sequence
from typing import Self

import msgspec
import uvloop

from common.clock import SystemClock
from common.ids import new_id
from common.model import Cluster, Node, Service, Task, TaskState, TaskStatus
from common.model.client import Role
from common.model.container import ContainerSpec
from common.model.node import NodeDescription, NodeResources, NodeSpec, NodeStatus
from common.model.service import Replicated, Reservations, Resources, ServiceMode, ServiceSpec, TaskSpec
from common.process.memory import settle_memory
from common.wire.usage_messages import HostUsage
from manager.api.access.roles import Caller
from manager.api.app import Api
from manager.api.call import Answer, Call, Stream
from manager.api.context import Identity, ThisManager
from manager.api.http.compression import compress_stream
from manager.api.overview.observer import Observer
from manager.ca.authority import Authority, create_root
from manager.metrics.instruments import Instruments
from manager.schedule.load import ClusterLoad
from manager.store.backends.memory import MemoryBackend
from manager.store.changes import Change, ChangeSet
from manager.store.store import Store
from manager.store.transaction import Transaction
from tests.bench.table import print_table
from tests.fakes.api_cluster import MANAGER
from tests.fakes.audit import AuditList

NODES, SERVICES, TASKS = 1000, 500, 100_000
CHANGES_A_SECOND, BATCH = 1000, 20
FOLLOWERS = 10
TOPICS = "overview,nodes,services,timeline"
VIEWER = Caller("viewer", "unix", Role.VIEWER, uid=1)


def fill(tx: Transaction, nodes: int, services: int, tasks: int, rng: random.Random) -> None:
    """Put a cluster in which all runs."""
    tx.put(Cluster(id="c" * 25))
    resources = NodeResources(nano_cpus=32_000_000_000, memory_bytes=128 << 30)
    there = []
    for number in range(nodes):
        description = NodeDescription(hostname=f"worker-{number}", resources=resources, agent_version="1.0")
        node = Node(
            id=new_id(rng),
            spec=NodeSpec(labels={"zone": "abc"[number % 3]}),
            description=description,
            status=NodeStatus(state="ready"),
            agent=True,
        )
        there.append(node.id)
        tx.put(node)
    reserved = Resources(reservations=Reservations(nano_cpus=100_000_000, memory_bytes=64 << 20))
    for number in range(services):
        template = TaskSpec(container_spec=ContainerSpec(image="registry/app:41"), resources=reserved)
        count = tasks // services
        spec = ServiceSpec(
            name=f"stack{number % 50}_service{number}",
            labels={"com.docker.stack.namespace": f"stack{number % 50}"},
            task_template=template,
            mode=ServiceMode(replicated=Replicated(replicas=count)),
        )
        service = Service(id=new_id(rng), spec=spec)
        tx.put(service)
        for slot in range(1, count + 1):
            tx.put(
                Task(
                    id=new_id(rng),
                    spec=template,
                    service_id=service.id,
                    service_name=spec.name,
                    slot=slot,
                    node_id=rng.choice(there),
                    status=TaskStatus(state=TaskState.RUNNING, timestamp=tx.now),
                    desired_state=TaskState.RUNNING,
                )
            )


class Loop:
    """Measures how long the loop is held, while it is asked to."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def __aenter__(self) -> Self:
        self._watching = asyncio.create_task(self._watch())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._watching.cancel()
        await asyncio.wait([self._watching])

    async def _watch(self) -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0)
            self.longest = max(self.longest, time.thread_time() - before)


def new_api(store: Store, clock: SystemClock, rng: random.Random) -> Api:
    async def leave() -> None:
        raise NotImplementedError

    engines = None
    return Api(
        store,
        clock,
        rng,
        engines,  # type: ignore[arg-type]  # no engine is asked
        Authority(create_root("c" * 25, clock.now())),
        ThisManager(identity=Identity(MANAGER, address="10.1.0.1", version="1.0"), leave=leave),
        AuditList(),
    )


async def ask(api: Api, path: str) -> bytes:
    path, _, query = path.partition("?")
    given = dict(pair.split("=") for pair in query.split("&") if pair)
    reply = await api.answer(Call("GET", path, query=given, caller=VIEWER))
    assert isinstance(reply, Answer), path
    assert reply.status == 200, reply.value
    return reply.value if isinstance(reply.value, bytes) else msgspec.json.encode(reply.value)


async def waiting_task(store: Store) -> str:
    """Put a task that fits on no node; return its id."""
    some = next(iter(store.view.tasks))
    resources = Resources(reservations=Reservations(memory_bytes=1 << 50))
    spec = msgspec.structs.replace(some.spec, resources=resources)
    status = TaskStatus(state=TaskState.PENDING)
    waiting = msgspec.structs.replace(some, id="w" * 25, slot=1_000_000, node_id="", spec=spec, status=status)
    await store.update(lambda tx: tx.put(waiting))
    return waiting.id


async def answers(api: Api, store: Store) -> list[tuple[object, ...]]:
    """Measure each answer: its size, what is left of it with gzip, how long it takes, how long it holds the loop."""
    nodes = [node.id for node in store.view.nodes][:64]
    task = await waiting_task(store)
    load = ClusterLoad.of(store.view)  # where the manager leads, its scheduler has that
    api.context = msgspec.structs.replace(api.context, load=lambda: load)
    rows: list[tuple[object, ...]] = []
    for path in (
        "/swarm/overview",
        "/swarm/overview/nodes",
        "/swarm/overview/services",
        f"/swarm/overview/tasks?node={nodes[0]}",
        f"/swarm/overview/tasks?node={','.join(nodes)}",
        f"/tasks/{task}/why",
        "/metrics",
    ):
        await ask(api, path)
        await asyncio.sleep(1.1)  # a page of metrics is kept for a second
        async with Loop() as loop:
            began = time.perf_counter()
            data = await ask(api, path)
            took = time.perf_counter() - began
            await asyncio.sleep(0)  # the watch has its turn
        shown = path if len(path) < 60 else f"/swarm/overview/tasks, {len(nodes)} nodes"
        rows.append((shown, len(data), len(gzip.compress(data, 6)), took * 1000, loop.longest * 1000))
    return rows


async def change(store: Store, seconds: float, rng: random.Random) -> int:
    """Change tasks as workers' reports do, so many a second; return how many were changed."""
    ids = [task.id for task in store.view.tasks]
    loop = asyncio.get_running_loop()
    end, due, done = loop.time() + seconds, loop.time(), 0

    def step(tx: Transaction) -> None:
        for task_id in rng.sample(ids, BATCH):
            task = tx.tasks.get(task_id)
            assert task is not None
            status = msgspec.structs.replace(task.status, timestamp=tx.now, message=f"at {tx.now}")
            if rng.random() < 0.02 and task.status.state is TaskState.RUNNING:
                status = msgspec.structs.replace(status, state=TaskState.FAILED, err="exit 1")
            tx.put(msgspec.structs.replace(task, status=status))

    while loop.time() < end:
        await store.update(step)
        done += BATCH
        due += BATCH / CHANGES_A_SECOND
        await asyncio.sleep(max(0.0, due - loop.time()))
    return done


async def follow(api: Api, counted: list[int]) -> None:
    """Follow everything as a browser does, which takes it packed."""
    reply = await api.answer(Call("GET", "/swarm/overview/feed", query={"topics": TOPICS}, caller=VIEWER))
    assert isinstance(reply, Stream)

    async def send(data: bytes) -> None:
        counted.append(len(data))

    await compress_stream(reply, "gzip").produce(send)


def used(rng: random.Random) -> HostUsage:
    """Return what a host uses, other than the last time: no two measurements are alike."""
    return HostUsage(
        cpu=rng.random(),
        memory_total=128 << 30,
        memory_available=rng.randrange(128 << 30),
        disk_total=1 << 40,
        disk_available=rng.randrange(1 << 40),
        pressure_cpu=rng.random(),
    )


async def changes(
    name: str, store: Store, seconds: float, api: Api | None = None, followers: int = 0
) -> tuple[object, ...]:
    """Measure what changes cost; hosts are measured every ten seconds, as workers do."""
    counted: list[int] = []
    jobs = [asyncio.create_task(follow(api, counted)) for _ in range(followers) if api is not None]
    await asyncio.sleep(0.1)
    rng = random.Random(7)  # the same for each
    nodes = [node.id for node in store.view.nodes]
    async with Loop() as loop:
        began, cpu = time.perf_counter(), time.process_time()
        changing = asyncio.create_task(change(store, seconds, rng))
        while not changing.done():
            if api is not None:
                for node_id in rng.sample(nodes, len(nodes) // 100):
                    api.context.soft.usages.record_host(node_id, used(rng), time.time())
            await asyncio.sleep(0.1)
        took, computed = time.perf_counter() - began, time.process_time() - cpu
    for job in jobs:
        job.cancel()
    await asyncio.gather(*jobs, return_exceptions=True)
    sent = sum(counted) / took / 1000 / followers if followers else 0.0
    return name, round(changing.result() / took), 100 * computed / took, loop.longest * 1000, sent


async def cost(observer: Observer, store: Store, *, seen: bool) -> float:
    """Return the share of a core (%) that the overview takes of `CHANGES_A_SECOND` of states, `seen` or not."""
    if seen:
        await observer.ready()
    there = list(store.view.tasks)[: 10 * CHANGES_A_SECOND]
    starting = TaskStatus(state=TaskState.STARTING)
    changed = [Change(each, msgspec.structs.replace(each, status=starting)) for each in there]
    sets = [ChangeSet(store.index, tuple(changed[start : start + BATCH])) for start in range(0, len(changed), BATCH)]
    began = time.thread_time()
    for each in sets:
        await observer.take_in(each)
    return 100 * (time.thread_time() - began) * CHANGES_A_SECOND / len(changed)


async def measure(options: argparse.Namespace) -> None:
    rng, clock = random.Random(1), SystemClock()  # the same cluster each time
    async with Store(MemoryBackend(), clock) as store:
        await store.update(lambda tx: fill(tx, options.nodes, options.services, options.tasks, rng))
        settle_memory()
        costs = [await cost(Observer(store, clock, Instruments()), store, seen=False)]
        alone = await changes("the store alone", store, options.seconds)
        api = new_api(store, clock, rng)
        async with Loop() as loop:
            began = time.perf_counter()
            await api.__aenter__()
            await api.context.overview.ready()
            counting = time.perf_counter() - began
        rows = await answers(api, store)
        nobody = await changes("nobody follows", store, options.seconds, api)
        many = await changes(f"{FOLLOWERS} follow", store, options.seconds, api, FOLLOWERS)
        costs.append(await cost(api.context.overview, store, seen=True))
        await api.__aexit__(None, None, None)
    title = f"{options.nodes:,} nodes, {options.services:,} services, {options.tasks:,} tasks"
    note = (
        f"counting all at the start takes {counting * 1000:.0f} ms, and holds the loop for {loop.longest * 1000:.1f} ms"
    )
    print_table(title, ("answer", "bytes", "gzip", "ms", "held ms"), rows, (note,))
    of_overview = f"of that the overview takes {costs[0]:.2f} % while nobody looks, and {costs[1]:.2f} % to count"
    headings = ("changes", "a second", "% of a core", "held ms", "kB/s a follower")
    print_table(f"{CHANGES_A_SECOND:,} changes a second", headings, (alone, nobody, many), (of_overview,))


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests/bench/run overview", description=__doc__)
    parser.add_argument("--nodes", type=int, default=NODES)
    parser.add_argument("--services", type=int, default=SERVICES)
    parser.add_argument("--tasks", type=int, default=TASKS)
    parser.add_argument("--seconds", type=float, default=10.0)
    uvloop.run(measure(parser.parse_args(argv)))
    return 0
