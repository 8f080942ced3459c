"""What a worker with a valid certificate could do at 7068ce1, one by one: none of it may be so.

The numbers are those of the list that the attacks were first written down in. The manager and the honest workers are
real and in virtual time; `tests/hostile/engines` has the same on real engines.
"""

from __future__ import annotations

import contextlib
import ipaddress
import math
from collections.abc import AsyncIterator, Callable, Coroutine
from hashlib import sha256
from typing import Any

import msgspec
import pytest

from common.errors import SwarmError
from common.model.node import EngineDescription
from common.model.task import Task, TaskState, TaskStatus
from common.wire.image_messages import ImageSeen, SeekImage
from common.wire.messages import MESH, MESH6, StatusReport, TaskReport
from tests.fakes.virtual_loop import run_virtual
from tests.hostile.evil_worker import EvilWorker
from tests.hostile.honest import HonestWorker, image_id
from tests.hostile.world import World, hostile_world

POISON = image_id("what mallory wants to run everywhere")
INJECTED = "fd00::66 . fd00::/120 }\ndestroy table ip orc\nadd table inet pwned\n# {"


def told(text: object) -> str:
    """Name a parameter in a test's id."""
    short = str(text)[:12].partition("\n")[0]
    return "injected" if text == INJECTED else f"{short}…" if len(str(text)) > 20 else short or "nothing"


Story = Callable[[], Coroutine[Any, Any, None]]


def simulated(story: Story) -> Callable[[], None]:
    """Make a test of a story in virtual time."""

    def test() -> None:
        run_virtual(story())

    test.__doc__ = story.__doc__
    return test


@contextlib.asynccontextmanager
async def attacked(hello: bool = True) -> AsyncIterator[tuple[World, EvilWorker]]:
    """Have a cluster with a service `web` in network `blue` and on port 8080 of all nodes, mallory's too.

    At the end honest nodes must be as before, but for what is mallory's own, and new services must still come up.
    """
    async with hostile_world() as world:
        await world.network("blue")
        await world.service("web", networks=("blue",), publish={8080: 80})
        mallory = await world.evil()
        mallory.answers[SeekImage] = lambda _: ImageSeen()
        if hello:
            await mallory.hello()
            await world.until(lambda: len(world.honest["alice"].world.peers) == 2)
        before = world.honest_plans()
        yield world, mallory
        await world.quiet()
        assert not world.disturbed(before)
        await world.probe()
        world.honest_are_well()
        await world.service("after", on=("alice", "bob"), networks=("blue",))
        world.honest_are_well()


def scripts_of(world: World) -> str:
    return "\n".join(script for worker in world.honest.values() for script in worker.scripts)


def peers_of(worker: HonestWorker, node_id: str) -> list[Any]:
    """Return what a worker knows of another as a peer: as it was told, and as it made of it."""
    told = [peer for peer in worker.world.peers.values() if peer.node_id == node_id]
    return [*told, *(peer for peer in worker.plan.topology.peers.values() if peer.node_id == node_id)]


# --- 0. Any image of the cluster replaced -----------------------------------------------------------------------------


def _has_everything(world: World, *digests: str) -> Callable[[SeekImage], ImageSeen]:
    """Say of every name that it is the poisoned image's, since the future."""
    return lambda _: ImageSeen(
        image_id=POISON,
        tagged_at=world.clock.now() + 1e6,
        repo_digests=digests,
        size=1000,
        os="linux",
        architecture="amd64",
    )


async def _image_of(world: World, service: str) -> str:
    found = await world.client.get(f"/services/{service}")
    return str(found["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"])


async def _a_name_that_others_know() -> None:
    """The image that a service names is none that a worker makes up, though it says that it was tagged last."""
    async with attacked() as (world, mallory):
        own = {worker.build("app:latest") for worker in world.honest.values()}
        mallory.answers[SeekImage] = _has_everything(world)
        await world.service("app", image="app:latest", on=("alice", "bob"))
        assert POISON not in await _image_of(world, "app")
        assert {worker.engine.body("app")["Image"] for worker in world.honest.values()} <= {"app:latest", *own}
        await world.remove("app")


test_0_no_worker_says_which_image_a_name_means = simulated(_a_name_that_others_know)


async def _a_name_of_a_registry() -> None:
    async with attacked() as (world, mallory):
        mallory.answers[SeekImage] = _has_everything(world, f"nginx@{POISON}")
        await world.post("/services/create", _service("proxy", "nginx:1.27"))
        await world.quiet(2)
        assert POISON not in await _image_of(world, "proxy")
        mallory.answers[SeekImage] = _has_everything(world)
        await world.post("/services/create", _service("other", "nginx:1.28"))
        await world.quiet(2)
        assert POISON not in await _image_of(world, "other")
        await world.remove("proxy", "other")


test_0_no_worker_answers_for_a_registry = simulated(_a_name_of_a_registry)


async def _a_drained_node() -> None:
    async with attacked() as (world, mallory):
        own = {worker.build("app:latest") for worker in world.honest.values()}
        node = world.node("mallory")
        await world.post(
            f"/nodes/{node.id}/update?version={node.version.index}", {"Role": "worker", "Availability": "drain"}
        )
        mallory.answers[SeekImage] = _has_everything(world)
        await world.service("app", image="app:latest", on=("alice", "bob"))
        assert POISON not in await _image_of(world, "app")
        assert {worker.engine.body("app")["Image"] for worker in world.honest.values()} <= {"app:latest", *own}
        await world.remove("app")


test_0_a_drained_node_counts_for_nothing = simulated(_a_drained_node)


def _service(name: str, image: str) -> dict[str, Any]:
    return {"Name": name, "TaskTemplate": {"ContainerSpec": {"Image": image}}, "Mode": {"Replicated": {"Replicas": 1}}}


# --- 1. Root on all other hosts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said", [INJECTED, "not-an-ip", "::1", "ff02::1", "fe80::1%eth0; reboot", "192.0.2.11", ""], ids=told
)
@pytest.mark.parametrize("by", ["hello", "report"])
def test_1_no_text_of_a_worker_reaches_nft(said: str, by: str) -> None:
    async def story() -> None:
        async with attacked() as (world, mallory):
            good = "fd00:99::7"
            if by == "hello":
                await mallory.hello(ipv6_addresses=(said, good))
            else:
                await mallory.describes(ipv6_addresses=(said, good))
            await world.quiet()
            assert "pwned" not in scripts_of(world)
            if said not in ("", "::1", "192.0.2.11"):  # rules of ours have these
                assert f" {said} " not in scripts_of(world)
            for worker in world.honest.values():
                for peer in peers_of(worker, world.ids["mallory"]):
                    assert {str(each) for each in peer.ipv6_addresses} <= {good}, "what is not an address of a host"
                assert f"{good} . fd00:" in "\n".join(worker.scripts), "the rest is used"

    run_virtual(story())


async def _anothers_ipv6_address() -> None:
    """An IPv6 address that another node said first is not this one's."""
    async with attacked() as (world, mallory):
        bobs = world.honest["bob"]
        known = world.node("bob").description.ipv6_addresses
        if not known:
            pytest.skip("this machine has no global IPv6 address")
        await mallory.describes(ipv6_addresses=known)
        await world.quiet()
        for peer in peers_of(world.honest["alice"], world.ids["mallory"]):
            assert not {*map(str, peer.ipv6_addresses)} & {*known}
        assert bobs.trouble == ""


test_1_no_worker_has_anothers_ipv6_address = simulated(_anothers_ipv6_address)


# --- 2. The tunnel of others ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    ["127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "not-an-ip", "::1", "192.0.2.11", "192.0.2.10", INJECTED],
    ids=told,
)
def test_2_a_worker_has_no_address_that_is_not_its_own(said: str) -> None:
    """192.0.2.11 is alice's, 192.0.2.10 the manager's; mallory comes from 192.0.2.13."""

    async def story() -> None:
        async with attacked(hello=False) as (world, mallory):
            with contextlib.suppress(SwarmError):  # a refusal is as good
                await mallory.hello(advertise_addr=said)
            await world.quiet()
            assert world.node("mallory").status.addr in ("", "192.0.2.13")
            for worker in world.honest.values():
                for peer in peers_of(worker, world.ids["mallory"]):
                    assert str(peer.addr) == "192.0.2.13"
            assert "pwned" not in scripts_of(world)

    run_virtual(story())


@pytest.mark.parametrize("said", ["127.0.0.1", "::1", "169.254.1.1", "192.0.2.11"])
def test_2_a_host_does_not_join_with_an_address_of_another(said: str) -> None:
    async def story() -> None:
        async with attacked(hello=False) as (world, _):
            try:
                eve = await world.evil("eve", advertise_addr=said)
            except SwarmError:
                return  # a refusal is as good
            assert world.node("eve").status.addr != said
            await eve.hello("eve")

    run_virtual(story())


# --- 3. One message that stops the cluster's network ------------------------------------------------------------------

GARBAGE = ("", "garbage", "10.1.18.300", "::", "10.1.18.5/24", INJECTED, "1" * 5000)


@pytest.mark.parametrize("said", GARBAGE, ids=told)
@pytest.mark.parametrize("network", ["blue", MESH, MESH6])
def test_3_no_address_of_a_task_keeps_others_from_their_network(said: str, network: str) -> None:
    async def story() -> None:
        async with attacked() as (world, mallory):
            where = world.network_id("blue") if network == "blue" else network
            await mallory.reports(await mallory.task_of("web"), addresses={where: said})
            await world.quiet()
            world.honest_are_well()
            for worker in world.honest.values():
                assert not _addresses_of(worker, world.ids["mallory"], where)

    run_virtual(story())


def _addresses_of(worker: HonestWorker, node_id: str, where: str) -> list[str]:
    """Return the addresses that a worker was told of a node's tasks."""
    backends = [each for endpoint in worker.world.endpoints.values() for each in endpoint.backends]
    return [str(each.addresses[where]) for each in backends if each.node_id == node_id and where in each.addresses]


# --- 4. Addresses that are others' ------------------------------------------------------------------------------------


@pytest.mark.parametrize("whose", ["alice", "bob"])
@pytest.mark.parametrize("what", ["gateway", "task"])
def test_4_a_published_port_leads_to_no_container_of_others(whose: str, what: str) -> None:
    async def story() -> None:
        async with attacked() as (world, mallory):
            await world.service("hidden", on=(whose,), networks=("blue",))
            host = world.honest[whose]
            if what == "gateway":
                address = str(host.plan.topology.gateways[1])
            else:
                (task,) = world.tasks("hidden", on=whose)
                address = task.status.addresses[MESH]
            web = await mallory.task_of("web")
            await mallory.reports(
                web, addresses={MESH: address, world.network_id("blue"): world.own_address("mallory", "blue")}
            )
            await world.quiet()
            for worker in world.honest.values():
                assert address not in _addresses_of(worker, world.ids["mallory"], MESH)
                assert address not in worker.plan.services[0].chains["m_tcp_8080"].addresses
                assert _addresses_of(worker, world.ids["mallory"], world.network_id("blue")), "the rest is used"
            await world.remove("hidden")

    run_virtual(story())


@pytest.mark.parametrize("where", ["of others", "in another's part", "a virtual one", "outside"])
def test_4_no_name_leads_to_an_address_that_is_not_the_workers(where: str) -> None:
    """A task says that it is in a network that it is not in, or at an address there that is not its node's."""

    async def story() -> None:
        async with attacked() as (world, mallory):
            red = await world.network("red")
            await world.service("vault", on=("alice",), networks=("red",))
            blue = world.network_id("blue")
            told = {
                "of others": {red: "10.2.17.99"},
                "in another's part": {blue: _address_in(world, "blue", "alice")},
                "a virtual one": {
                    blue: str(ipaddress.IPv4Network(world.honest["alice"].plan.topology.segments[blue].vips)[9])
                },
                "outside": {blue: "198.51.100.66"},
            }[where]
            web = await mallory.task_of("web")
            await mallory.reports(web, addresses=told, hostname="registry.example.com")
            await world.quiet()
            for worker in world.honest.values():
                for network in (red, blue):
                    assert not {*worker.resolves(network, "registry.example.com")} & {*told.values()}
                    assert not {*_addresses_of(worker, world.ids["mallory"], network)} & {*told.values()}
            await world.remove("vault")

    run_virtual(story())


def _address_in(world: World, network: str, name: str) -> str:
    lease = next(each for each in world.view.networks if each.name == network).leases[world.ids[name]]
    return str(ipaddress.IPv4Network(lease)[200])


@pytest.mark.parametrize(
    "name", ["registry.example.com", "vault", "web", "tasks.web", "x\n.y", "a" * 300, INJECTED], ids=told
)
def test_4_a_containers_name_for_itself_is_no_name_of_the_world(name: str) -> None:
    """What a container calls itself may be a single word that nobody else has: no domain of the world outside."""

    async def story() -> None:
        async with attacked() as (world, mallory):
            blue = world.network_id("blue")
            await world.service("vault", on=("alice",), networks=("blue",))
            address = world.own_address("mallory", "blue")
            alice = world.honest["alice"]
            before = alice.resolves(blue, name)
            await mallory.reports(await mallory.task_of("web"), addresses={blue: address}, hostname=name)
            await world.quiet()
            if name == "tasks.web":
                assert {*alice.resolves(blue, name)} <= {*before, address}, "it is a task of it"
            else:
                assert alice.resolves(blue, name) == before
            await world.remove("vault")

    run_virtual(story())


# --- 5. Another's name ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["hello", "report"])
def test_5_taking_anothers_hostname_yields_none_of_its_secrets(by: str) -> None:
    async def story() -> None:
        async with attacked(hello=False) as (world, mallory):
            secret = await world.secret("key", "c2VjcmV0")
            await (mallory.hello("alice") if by == "hello" else mallory.hello())
            if by == "report":
                await mallory.describes("alice")
            await world.quiet(1)
            assert world.node("mallory").name == "mallory", "a change of hostname is an operator's act"
            await world.service("vault", constraints=("node.hostname==alice",), Secrets=[secret])
            await world.until(
                lambda: any(each.status.state is TaskState.RUNNING for each in world.tasks("vault", "alice"))
            )
            await world.quiet()
            assert not mallory.assigned.secrets
            assert not world.tasks("vault", on="mallory")
            await world.remove("vault")

    run_virtual(story())


async def _a_join_with_anothers_name() -> None:
    """A host may join under a name that is taken, as after a reinstallation; then the two are told apart."""
    async with attacked(hello=False) as (world, _):
        secret = await world.secret("key", "c2VjcmV0")
        try:
            eve = await world.evil("eve", hostname="alice")
        except SwarmError:
            return  # a refusal is as good
        await eve.hello("alice")
        await world.service("vault", constraints=("node.hostname==alice",), Secrets=[secret])
        await world.quiet()
        assert not world.tasks("vault", on="eve"), "the name is alice's, who had it first"
        assert not eve.assigned.secrets
        await world.remove("vault")


test_5_a_host_that_joins_with_a_taken_name_gets_no_tasks = simulated(_a_join_with_anothers_name)


# --- 6. Numbers and sizes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", [math.nan, math.inf, -math.inf, 1e300, -1e300, 1e12, -1.0, 253402300800.0])
def test_6_a_workers_timestamps_do_not_hide_others_tasks(when: float) -> None:
    async def story() -> None:
        async with attacked() as (world, mallory):
            task = await mallory.task_of("web")
            await mallory.reports(task, timestamp=when)
            await world.quiet(1)
            await world.probe()
            (seen,) = world.tasks("web", on="mallory")
            assert seen.status.state is TaskState.RUNNING, "the rest is used"
            assert abs(seen.status.timestamp - world.clock.now()) < 3600 * 24

    run_virtual(story())


LARGE = "x" * (15 << 20)


@pytest.mark.parametrize("said", ["message", "err", "hostname", "address", "ports"])
def test_6_a_large_status_is_not_stored(said: str) -> None:
    async def story() -> None:
        async with attacked() as (world, mallory):
            task = await mallory.task_of("web")
            status: dict[str, Any] = {
                "message": {"message": LARGE},
                "err": {"err": LARGE},
                "hostname": {"hostname": LARGE},
                "address": {"addresses": {world.network_id("blue"): LARGE}},
                "ports": {"ports": task.ports * 200_000},
            }[said]
            await mallory.reports(task, **status)
            await world.quiet()
            await world.probe()
            assert _stored(world) < 256 << 10

    run_virtual(story())


def _stored(world: World) -> int:
    """Return how many bytes the nodes' and tasks' records have."""
    encode = msgspec.msgpack.Encoder().encode
    return sum(len(encode(each)) for table in (world.view.nodes, world.view.tasks) for each in table)


@pytest.mark.parametrize("field", ["hostname", "lacks", "agent_version", "ipv6_addresses", "labels"])
def test_6_a_large_description_is_not_stored(field: str) -> None:
    async def story() -> None:
        async with attacked() as (world, mallory):
            said: dict[str, Any] = {
                "hostname": {"hostname": LARGE},
                "lacks": {"lacks": ("x" * 100,) * 100_000},
                "agent_version": {"agent_version": LARGE},
                "ipv6_addresses": {"ipv6_addresses": tuple(f"fd00:66::{n:x}" for n in range(60_000))},
                "labels": {"engine": EngineDescription(labels={f"l{n}": "x" * 100 for n in range(90_000)})},
            }[field]
            await mallory.describes(**said)
            await world.quiet()
            await world.probe()
            assert _stored(world) < 256 << 10

    run_virtual(story())


async def _many_reports_of_one_task() -> None:
    async with attacked() as (world, mallory):
        task = await mallory.task_of("web")
        said = _report(task)
        await mallory.says(StatusReport(tasks=(said,) * 50_000), 5)
        await world.quiet()
        await world.probe()


def _report(task: Task) -> TaskReport:
    return TaskReport(task_id=task.id, status=TaskStatus(state=TaskState.RUNNING, message="m"))


test_6_many_reports_of_one_task_are_borne = simulated(_many_reports_of_one_task)


# --- 7. Engines that answer badly -------------------------------------------------------------------------------------

ANSWERS = {
    "no JSON": b"<html>",
    "huge number": b'[{"Id": "a", "Created": 1e999}]',
    "huge integer": b'[{"Id": "a", "Created": ' + b"9" * 5000 + b"}]",
    "a list for an object": b"[[[[]]]]",
    "an object for a list": b'{"Id": "a"}',
    "deep": b"[" * 200_000 + b"]" * 200_000,
    "wrong kinds": b'[{"Id": 5, "Names": {"a": 1}, "Created": "now", "Labels": [], "State": null, "Ports": 3}]',
    "null": b"null",
    "half": b'[{"Id": "a',
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_7_an_engine_that_answers_badly_is_left_out(answer: str) -> None:
    """Lists of all nodes have the others', and a warning that names the node."""

    async def story() -> None:
        async with attacked() as (world, mallory):
            mallory.engine = bad_engine(ANSWERS[answer])
            for worker in world.honest.values():
                worker.api.add(sha256(worker.node_id.encode()).hexdigest(), f"box-{worker.node_id}")
            for path in ("/containers/json?all=1", "/images/json", "/info", "/system/df", "/volumes"):
                status, found = await world.client.ask("GET", path)
                assert status == 200, f"GET {path}: {status} {found!r:.300}"
            status, found = await world.client.ask("GET", "/containers/json?all=1")
            names = {name for each in found for name in each["Names"]}
            assert {f"/box-{worker.node_id}" for worker in world.honest.values()} <= {
                "/" + name.rpartition("/")[2] for name in names
            }

    run_virtual(story())


def bad_engine(answer: bytes) -> Callable[..., Coroutine[Any, Any, None]]:
    """Be an engine that says the same to every question."""

    async def serve(reader: Any, writer: Any) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(answer)}\r\n\r\n"
        writer.write(head.encode() + answer)
        await writer.drain()

    return serve
