"""More that a worker with a valid certificate may try: what the first list did not have."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from common.errors import PermissionDenied, SwarmError
from common.model import NetworkAttachment, TaskState
from common.model.attachment import AttachedEnd, AttachedNetwork, AttachmentStatus
from common.model.node import EngineDescription, NodeResources
from common.model.task import ContainerStatus
from common.net.engine_networks import engine_network
from common.tls import certificate_request, new_key
from common.wire.codec import encode
from common.wire.image_messages import FetchImage, ImageHeld, ImageSeen, ImageSources, RelayHello, SeekImage
from common.wire.membership_messages import Applied, Goodbye, Unfit, Withdraw
from common.wire.messages import (
    AttachmentReport,
    AttachmentState,
    Leave,
    Refused,
    RenewReply,
    RenewRequest,
    Resync,
    StreamHello,
)
from common.wire.usage_messages import TaskUsage, Usage
from manager.dispatch.barrier import SLOWNESS, USUAL_SECONDS
from tests.fakes.virtual_loop import run_virtual
from tests.hostile.evil_worker import EvilWorker
from tests.hostile.honest import image_id
from tests.hostile.simulated.test_cases import attacked, simulated
from tests.hostile.world import World, hostile_world
from worker.intake.addresses import text_of

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
ESCAPES = "\x1b[2J\x1b]0;owned\x07\r\nmanager: all is well\x9b31m"


# --- other nodes' streams, images, secrets ----------------------------------------------------------------------------


async def _streams_of_others() -> None:
    async with attacked() as (_, mallory):
        line = await mallory.opens_stream(StreamHello(stream_id="a" * 25))
        refused = (await line.receive()).message
        assert isinstance(refused, Refused)
        assert refused.code == PermissionDenied.code


test_a_stream_that_nobody_asked_it_for_is_refused = simulated(_streams_of_others)


async def _images_of_others() -> None:
    """It asks for images that none of its tasks needs, and shows tickets that are nobody's."""
    async with attacked() as (_, mallory):
        sources = await mallory.asks(FetchImage(image_id=image_id("db:1")), ImageSources)
        assert sources == ImageSources()
        line = await mallory._dial()
        await line.send(encode(RelayHello(ticket="a" * 25)))
        assert isinstance((await line.receive()).message, Refused)


test_images_that_it_does_not_need_are_not_for_it = simulated(_images_of_others)


async def _secrets_of_others() -> None:
    """Whatever it asks for again, it is sent secrets of tasks that were placed on it, and no others."""
    async with attacked() as (world, mallory):
        mine, theirs = await world.secret("mine", "bWluZQ=="), await world.secret("theirs", "dGhlaXJz")
        await world.service("vault", on=("alice", "bob"), Secrets=[theirs])
        await world.service("bait", on=("mallory",), Secrets=[mine])
        await mallory.task_of("bait")
        await mallory.says(Resync())
        await world.quiet(2)
        assert {each.spec.name for each in mallory.assigned.secrets.values()} == {"mine"}
        for task in world.tasks("vault"):
            await mallory.reports(task, TaskState.RUNNING, message="it is mine")
            await mallory.reports(task, TaskState.FAILED)
        await world.quiet(2)
        assert {each.spec.name for each in mallory.assigned.secrets.values()} == {"mine"}
        assert all(each.status.state is TaskState.RUNNING for each in world.tasks("vault"))
        await world.remove("vault", "bait")


test_it_is_sent_no_secret_of_a_task_placed_elsewhere = simulated(_secrets_of_others)


# --- holding others up ------------------------------------------------------------------------------------------------


async def _replaced(world: World, service: str) -> float:
    """Replace a service's tasks on the honest nodes; return how long it took until the new ones run."""
    found = await world.client.get(f"/services/{service}")
    spec = found["Spec"]
    before = {task.id for task in world.tasks(service)}
    spec["TaskTemplate"]["ForceUpdate"] = spec["TaskTemplate"].get("ForceUpdate", 0) + 1
    spec["UpdateConfig"] = {"Parallelism": 1, "Monitor": 1_000_000}
    began = world.clock.now()
    await world.post(f"/services/{found['ID']}/update?version={found['Version']['Index']}", spec)

    def done() -> bool:
        tasks = world.tasks(service)
        return len(tasks) == 2 and all(t.status.state is TaskState.RUNNING and t.id not in before for t in tasks)

    await world.until(done, 120)
    return world.clock.now() - began


@pytest.mark.parametrize("how", ["never", "late", "catches up each time"])
def test_a_node_slow_to_confirm_delays_others_only_briefly(how: str) -> None:
    """Containers stop when no node sends to them any more: a node that says so late is soon not waited for."""

    async def story() -> None:
        async with attacked() as (world, mallory):
            await world.service("paced", on=("alice", "bob"), networks=("blue",), publish={9090: 90})
            undisturbed = await _replaced(world, "paced")
            mallory.applies = False
            await mallory.says(Applied(number=mallory.assigned.number))

            async def lag() -> None:
                while True:
                    await asyncio.sleep(2.5 if how == "late" else 2.1)
                    await mallory.says(Applied(number=mallory.assigned.number))

            lagging = asyncio.create_task(lag()) if how != "never" else None
            took = [await _replaced(world, "paced") for _ in range(8)]
            if lagging is not None:
                lagging.cancel()
            mallory.applies = True
            await mallory.says(Applied(number=mallory.assigned.number))
            stops = 2 * len(took)
            most = len(took) * undisturbed + SLOWNESS.burst + stops * USUAL_SECONDS + 1.0
            assert sum(took) < most, f"{undisturbed:.1f} s each without it, with it {took}"
            await world.remove("paced")
            await world.quiet()

    run_virtual(story())


async def _rejects_everything() -> None:
    """It refuses each task at once, and has the fewest: still services come up elsewhere."""
    async with attacked() as (world, mallory):

        async def reject() -> None:
            said: set[str] = set()
            while True:
                for task in list(mallory.assigned.tasks.values()):
                    if task.service_name == "many" and task.id not in said:
                        said.add(task.id)
                        await mallory.reports(task, TaskState.REJECTED, err="no")
                await asyncio.sleep(0.01)

        rejecting = asyncio.create_task(reject())
        spec = {
            "Name": "many",
            "Mode": {"Replicated": {"Replicas": 6}},
            "TaskTemplate": {"ContainerSpec": {"Image": "web:1"}},
        }
        await world.post("/services/create", spec)
        honest = {worker.node_id for worker in world.honest.values()}

        def up() -> bool:
            tasks = world.tasks("many")
            return sum(t.node_id in honest and t.status.state is TaskState.RUNNING for t in tasks) == 6

        await world.until(up, 300)
        rejecting.cancel()
        await world.remove("many")


test_a_node_that_rejects_everything_does_not_stop_services = simulated(_rejects_everything)


async def _holds_everything() -> None:
    """It says that it holds images which others need, and gives none of them."""
    async with attacked() as (world, mallory):
        built = world.honest["alice"].build("app:1")
        for _ in range(100):
            await mallory.says(ImageHeld(image_id=built))
        await world.quiet(1)


test_images_that_it_says_it_holds_change_nothing_for_others = simulated(_holds_everything)


@pytest.mark.parametrize("how", ["goodbye", "host goes down", "unfit", "breaks off"])
def test_a_flapping_node_does_not_disturb_others(how: str) -> None:
    async def story() -> None:
        async with attacked() as (world, mallory):
            await world.service("calm", on=("alice", "bob"))
            calm = {task.id: task.status for task in world.tasks("calm")}
            for _ in range(30):
                try:
                    if how == "goodbye":
                        await mallory.says(Goodbye(), 1)
                    elif how == "host goes down":
                        await mallory.says(Goodbye(host=True), 1)
                    elif how == "unfit":
                        await mallory.parts(Unfit(reason=ESCAPES * 100))
                    else:
                        await mallory.hangs_up()
                    await asyncio.sleep(0.05)
                    await mallory.hello()
                except (SwarmError, TimeoutError):
                    await asyncio.sleep(1.0)  # who comes too often may be told to wait
            await _returns(mallory)
            assert {task.id: task.status for task in world.tasks("calm")} == calm
            await world.remove("calm")

    run_virtual(story())


async def _returns(mallory: Any) -> None:
    for _ in range(60):
        try:
            await mallory.hello()
        except (SwarmError, TimeoutError):
            await asyncio.sleep(1.0)
        else:
            return
    raise AssertionError("it gets no session any more, though it waits")


async def _leaves() -> None:
    """It leaves, and cancels its join: its certificate is worth nothing, and nobody else's is touched."""
    async with attacked() as (world, mallory):
        await mallory.says(Leave(), 1)
        await mallory.closed()
        with pytest.raises(SwarmError):
            await mallory.hello()
        with pytest.raises(SwarmError):
            await mallory.parts(Withdraw())
        assert world.node("mallory").status.state == "down"


test_who_has_left_can_say_nothing_more = simulated(_leaves)


async def _renews_all_the_time() -> None:
    """Each certificate costs the manager a signature and a commit: a node gets a few a minute, not thousands."""
    async with attacked() as (world, mallory):
        request = RenewRequest(csr=certificate_request(new_key()))
        before = world.view.index
        sent = 0
        began = world.clock.now()
        while world.clock.now() - began < 10:
            try:
                if not mallory.connected:
                    await mallory.hello()
                await mallory.says(request, 1)
                sent += 1
            except (SwarmError, TimeoutError):
                await asyncio.sleep(0.5)
            await asyncio.sleep(0.05)
        renewed = sum(isinstance(each, RenewReply) for each in mallory.heard)
        assert renewed < 20, f"{renewed} certificates in 10 s, of {sent} that were asked for"
        assert world.view.index - before < 100


test_a_storm_of_renewals_is_slowed = simulated(_renews_all_the_time)


async def _toggles() -> None:
    """A task whose address changes all the time makes all hosts write their rules anew: they do so a few times."""
    async with attacked() as (world, mallory):
        task = await mallory.task_of("web")
        blue = world.network_id("blue")
        here, there = (world.own_address("mallory", "blue", host) for host in (7, 9))
        await mallory.reports(task, addresses={blue: here})
        await world.quiet(2)
        planned = {name: _count_plans(worker) for name, worker in world.honest.items()}
        for number in range(500):
            if not mallory.connected:
                await _returns(mallory)
            try:
                await mallory.reports(task, addresses={blue: (here, there)[number % 2]})
            except SwarmError:
                continue
            await asyncio.sleep(0.02)
        for name, count in planned.items():
            assert count() < 200, f"{name} has planned its host {count()} times in 10 s"


def _count_plans(worker: Any) -> Any:
    """Count what a worker's network reconciler is told from now on."""
    passes, begun = worker.plane.reconciler.passes, [0]
    note = passes.note

    def counted() -> None:
        begun[0] += 1
        note()

    passes.note = counted
    return lambda: begun[0]


test_a_task_that_always_changes_does_not_keep_hosts_busy = simulated(_toggles)


# --- lies about what is its own, that reach further ------------------------------------------------------------------


@pytest.mark.parametrize("cpu", [math.nan, math.inf, -math.inf, -1e9])
def test_impossible_usage_scales_no_service(cpu: float) -> None:
    async def story() -> None:
        async with attacked() as (world, mallory):
            await mallory.describes(resources=NodeResources(nano_cpus=2_000_000_000, memory_bytes=4 << 30))
            await world.quiet(1)
            await world.post(
                "/services/create",
                {
                    "Name": "scaled",
                    "Labels": {"swarm.x.autoscale": "min=1,max=9,cpu=50%,up=5s,down=30s"},
                    "Mode": {"Replicated": {"Replicas": 3}},
                    "TaskTemplate": {
                        "ContainerSpec": {"Image": "web:1"},
                        "Resources": {"Reservations": {"NanoCPUs": 1_000_000_000}},
                        "Placement": {"Preferences": [{"Spread": {"SpreadDescriptor": "node.id"}}]},
                    },
                },
            )
            task = await mallory.task_of("scaled")
            await mallory.reports(task)
            for worker in world.honest.values():
                worker.cores = 0.5
            await world.until(lambda: all(t.status.state is TaskState.RUNNING for t in world.tasks("scaled")), 30)
            for _ in range(30):
                await mallory.says(Usage(tasks=(TaskUsage(task_id=task.id, cpu=cpu, memory=cpu, metric=cpu),)))
                await asyncio.sleep(2.0)
            service = await world.client.get("/services/scaled")
            assert service["Spec"]["Mode"]["Replicated"]["Replicas"] == 3
            await world.remove("scaled")

    run_virtual(story())


async def _usage_of_others() -> None:
    """What it says of others' tasks is not listened to."""
    async with attacked() as (world, mallory):
        await world.post(
            "/services/create",
            {
                "Name": "scaled",
                "Labels": {"swarm.x.autoscale": "min=1,max=9,cpu=50%,up=5s"},
                "Mode": {"Replicated": {"Replicas": 2}},
                "TaskTemplate": {
                    "ContainerSpec": {"Image": "web:1"},
                    "Resources": {"Reservations": {"NanoCPUs": 1_000_000_000}},
                    "Placement": {"Constraints": [f"node.id!={world.ids['mallory']}"]},
                },
            },
        )
        for worker in world.honest.values():
            worker.cores = 0.5
        await world.until(lambda: all(t.status.state is TaskState.RUNNING for t in world.tasks("scaled")), 30)
        for _ in range(20):
            said = [TaskUsage(task_id=task.id, cpu=1000.0) for task in world.tasks("scaled")]
            await mallory.says(Usage(tasks=tuple(said)))
            await asyncio.sleep(2.0)
        service = await world.client.get("/services/scaled")
        assert service["Spec"]["Mode"]["Replicated"]["Replicas"] == 2
        await world.remove("scaled")


test_usage_of_others_tasks_is_not_its_to_say = simulated(_usage_of_others)

INT64 = 2**63 - 1


def _numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [each for inner in value.values() for each in _numbers(inner)]
    if isinstance(value, list):
        return [each for inner in value for each in _numbers(inner)]
    return [value] if isinstance(value, int | float) else []


@pytest.mark.parametrize("number", [2**64 - 1, 2**63 - 1, -(2**63), -1])
def test_no_number_of_a_node_is_more_than_clients_can_read(number: int) -> None:
    """Docker's clients read 64 bits with a sign: one number beyond that, and they read nothing of the whole list."""

    async def story() -> None:
        async with attacked() as (world, mallory):
            resources = NodeResources(nano_cpus=number, memory_bytes=number)
            await mallory.describes(resources=resources, engine=EngineDescription(engine_version="26.1.5"))
            await mallory.reports(
                await mallory.task_of("web"),
                container_status=ContainerStatus(container_id="c", pid=number, exit_code=number),
            )
            await world.quiet(1)
            for path in ("/info", "/nodes", "/tasks", "/services?status=true", "/containers/json"):
                found = await world.client.get(path)
                assert all(-(2**63) <= each <= INT64 for each in _numbers(found)), path
            info = await world.client.get("/info")
            assert info["NCPU"] >= 2 * len(world.honest), "the others' are still counted"
            assert info["MemTotal"] >= 0

    run_virtual(story())


@pytest.mark.parametrize("field", ["message", "err", "hostname", "lacks", "version", "reason"])
def test_no_control_character_of_a_node_reaches_a_terminal(field: str) -> None:
    async def story() -> None:
        async with attacked() as (world, mallory):
            task = await mallory.task_of("web")
            if field in ("message", "err"):
                fields: dict[str, Any] = {field: ESCAPES}
                await mallory.reports(task, **fields)
            elif field == "hostname":
                await mallory.describes(ESCAPES)
            elif field == "lacks":
                await mallory.describes(lacks=(ESCAPES,))
            elif field == "version":
                await mallory.describes(engine=EngineDescription(engine_version=ESCAPES), agent_version=ESCAPES)
            else:
                await mallory.parts(Unfit(reason=ESCAPES))
            await world.quiet(1)
            for path in ("/nodes", "/tasks", "/info", "/containers/json"):
                found = await world.client.get(path)
                assert not CONTROL.search(json.dumps(found, ensure_ascii=False)), path
            assert not [line for line in world.trouble.lines if CONTROL.search(line)]
            if field == "reason":
                await _returns(mallory)

    run_virtual(story())


@pytest.mark.parametrize("port", [-1, 65_536, 2**40, 22])
def test_others_are_not_sent_to_any_port(port: int) -> None:
    """Where it serves images is for others to dial: it must be a port, and not one of another service of its host."""

    async def story() -> None:
        async with attacked() as (world, mallory):
            try:
                await mallory.hello(image_port=port)
            except SwarmError:
                return
            await world.quiet(1)
            assert 0 <= world.node("mallory").image_port < 65_536

    run_virtual(story())


# --- plain containers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["name", "address", "network", "container", "garbage"])
def test_a_plain_container_is_nobody_else(what: str) -> None:
    """It has a container in network blue, and says that it is called, or is at, what is another's."""

    async def story() -> None:
        async with attacked() as (world, mallory):
            blue = world.network_id("blue")
            red = await world.network("red")
            await world.service("vault", on=("alice",), networks=("blue", "red"))
            record = NetworkAttachment(
                id="plain", node_id=world.ids["mallory"], name="plain", networks=(AttachedNetwork(target=blue),)
            )
            await world.manager.store.update(lambda tx: tx.put(record))
            (vault,) = world.tasks("vault")
            alice = world.honest["alice"]
            before = {name: alice.resolves(network, name) for network, name in ((blue, "vault"), (red, "vault"))}
            mine = world.own_address("mallory", "blue")
            status: dict[str, Any] = {"container_id": "c" * 64, "name": "plain", "running": True}
            end = _end(world, blue, mine)
            said = {
                "name": {"name": "vault", "ends": (end,)},
                "address": {"ends": (_end(world, blue, vault.status.addresses[blue]),)},
                "network": {"ends": (_end(world, red, "10.2.17.99"),)},
                "container": {"container_id": _container(vault), "ends": (end,)},
                "garbage": {"ends": (_end(world, blue, "garbage"),), "name": ESCAPES},
            }[what]
            await mallory.says(
                AttachmentReport(
                    attachments=(AttachmentState(attachment_id="plain", status=AttachmentStatus(**status | said)),)
                )
            )
            await world.quiet(2)
            after = {name: alice.resolves(network, name) for network, name in ((blue, "vault"), (red, "vault"))}
            assert after == before
            told = [b for e in alice.world.endpoints.values() if e.service_id == "plain" for b in e.backends]
            assert {text_of(a) for b in told for a in b.addresses.values()} <= {mine}
            assert {network for b in told for network in b.addresses} <= {blue}
            assert not [each for each in told if CONTROL.search(each.hostname)]
            world.honest_are_well()
            gone = world.manager.store.view.attachments.get("plain")
            assert gone is not None
            await world.manager.store.update(lambda tx: tx.remove(gone))
            await world.remove("vault")

    run_virtual(story())


def _end(world: World, network_id: str, address: str) -> AttachedEnd:
    network = world.view.networks.get(network_id)
    assert network is not None
    return AttachedEnd(network=engine_network(network), network_id=network_id, address=address)


def _container(task: Any) -> str:
    assert task.status.container_status is not None
    return str(task.status.container_status.container_id)


# --- containers' ids and names over the API ---------------------------------------------------------------------------


async def _container_of_another() -> None:
    """It says that a task of its own has the container of another node's: who asks for that asks the other node."""
    async with attacked() as (world, mallory):
        await world.service("vault", on=("alice",))
        (vault,) = world.tasks("vault")
        container = _container(vault)
        world.honest["alice"].api.add(container, "vault")
        asked: list[str] = []

        async def engine(reader: Any, writer: Any) -> None:
            asked.append((await reader.readuntil(b"\r\n\r\n")).decode().split(" ")[1])
            body = json.dumps({"Id": container, "Name": "/vault", "Config": {"Labels": {}, "Env": []}}).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()

        mallory.engine = engine
        web = await mallory.task_of("web")
        await mallory.reports(web, container_status=ContainerStatus(container_id=container, pid=1))
        await world.quiet(1)
        for reference in (container, container[:12], vault.name):
            asked.clear()
            status, found = await world.client.ask("GET", f"/containers/{reference}/json")
            assert not [each for each in asked if each.endswith("/json") and container[:12] in each], reference
            assert status == 200, found
        await world.remove("vault")


test_a_task_does_not_have_a_container_of_another_nodes_task = simulated(_container_of_another)


async def _listed_by_others() -> None:
    """Their engines list a container that is another's: who asks for that is still led to the other node."""
    async with outnumbered() as (world, evil):
        box = "b" * 64
        world.honest["bob"].api.add(box, "box")
        for each in evil:
            each.engine = _lists(box)
        await world.client.get("/containers/json")
        await world.client.get("/containers/json")
        before = len(world.honest["bob"].api.requests)
        status, _ = await world.client.ask("GET", f"/containers/{box}/json")
        asked = [each for each in world.honest["bob"].api.requests[before:] if each.path.endswith(f"/{box}/json")]
        assert (status == 200 and asked) or status >= 400, "it is bob's, or nobody knows whose"


@contextlib.asynccontextmanager
async def outnumbered() -> AsyncIterator[tuple[World, list[EvilWorker]]]:
    """Have evil nodes that are before and after the honest ones, in whatever order nodes are asked."""
    async with hostile_world(honest=()) as world:
        evil: list[EvilWorker] = []
        for number in range(40):
            if number == 6:
                await world.add_honest("alice")
                await world.add_honest("bob")
            evil.append(await world.evil(f"evil{number}"))
            evil[-1].answers[SeekImage] = lambda _: ImageSeen()
            await evil[-1].hello(f"evil{number}")
            ids = sorted((node_id, name) for name, node_id in world.ids.items())
            if number >= 11 and not {ids[0][1], ids[-1][1]} & world.honest.keys():
                break
        else:
            raise AssertionError("an honest node is first or last in all orders")
        yield world, evil
        world.honest_are_well()


def _lists(box: str) -> Any:
    async def engine(reader: Any, writer: Any) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).decode().split(" ")[1]
        entry = {"Id": box, "Names": ["/box"], "Created": 1, "State": "running", "Labels": {}, "Ports": []}
        whole = {"Id": box, "Name": "/box", "Config": {"Labels": {}, "Env": []}}
        body = json.dumps([entry] if "/containers/json" in path else whole).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body))
        writer.write(body)
        await writer.drain()

    return engine


test_a_container_that_several_nodes_list_is_not_the_liars = simulated(_listed_by_others)


# --- registries -------------------------------------------------------------------------------------------------------


async def _asks_a_registry() -> None:
    """What a registry's name means, and a client's password for it, are not for the first node that comes."""
    async with outnumbered() as (world, evil):
        heard: list[bytes] = []

        async def engine(reader: Any, writer: Any) -> None:
            heard.append(await reader.readuntil(b"\r\n\r\n"))
            body = json.dumps({"Descriptor": {"digest": image_id("poison"), "size": 1}, "Platforms": []}).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body))
            writer.write(body)
            await writer.drain()

        for each in evil:
            each.engine = engine
        for worker in world.honest.values():
            worker.api.answers["GET /distribution/nginx:1.27/json"] = (200, {"Descriptor": {"digest": "sha256:good"}})
        _, found = await world.client.ask("GET", "/distribution/nginx:1.27/json")
        assert image_id("poison") not in str(found)
        await world.client.ask("POST", "/auth", {"username": "u", "password": "hunter2", "serveraddress": "r:5000"})
        assert not [each for each in heard if b"/auth" in each or b"/distribution" in each]


test_a_registry_is_not_asked_through_any_node = simulated(_asks_a_registry)
