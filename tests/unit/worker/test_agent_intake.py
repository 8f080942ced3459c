"""An agent and assignments of which some entries cannot be used: they cost themselves, and others hear of it."""

import asyncio

from common.model.network import IpamConfig, Network, NetworkSpec
from common.model.task import TaskState
from common.wire.messages import Backend, Peer, ServiceEndpoint
from tests.fakes.virtual_loop import run_virtual
from tests.unit.worker.worlds import World, make_task, want

NETWORK = Network(
    id="n1",
    spec=NetworkSpec(name="blue"),
    subnets=(IpamConfig(subnet="10.1.0.0/16"),),
    leases={"node1": "10.1.16.0/24", "node2": "10.1.17.0/24"},
)
PLACE = {"node_number": 1, "address_pools": ("10.0.0.0/8",), "networks": (NETWORK,)}


def endpoint(**addresses: str) -> ServiceEndpoint:
    backends = (
        Backend(task_id=name, slot=1, node_id="node2", addresses={"n1": text}) for name, text in addresses.items()
    )
    return ServiceEndpoint(service_id="s1", name="web", backends=tuple(backends))


def test_a_task_with_an_unusable_id_is_rejected_and_others_run():
    async def story() -> None:
        world = World()
        async with world.running():
            odd = make_task("../../etc/cron.d/x")
            await world.assign(odd, make_task("t1"))
            await asyncio.sleep(1)
            assert world.state("t1") is TaskState.RUNNING
            last = world.last(odd.id)
            assert (last.state, last.err) == (TaskState.REJECTED, "'../../etc/cron.d/x' is not an id")
            assert odd.id not in world.networks.calls
            await world.assign(want(odd, TaskState.REMOVE), make_task("t1"))
            await asyncio.sleep(1)
            assert world.last(odd.id).state is TaskState.REJECTED
            assert world.seen[odd.id].count(world.last(odd.id)) <= 2

    run_virtual(story())


def test_the_unusable_is_counted_and_reported_without_its_words():
    async def story() -> None:
        world = World()
        async with world.running() as agent:
            await agent.ready()
            await world.assign(**PLACE, endpoints=(endpoint(t2="10.1.17.2", t3="\x1b[31mnowhere"),))
            (web,) = world.networks.world.endpoints.values()
            assert [dict(backend.addresses) for backend in web.backends] == [{"n1": bytes((10, 1, 17, 2))}, {}]
            (lacks,) = agent.description.lacks
            assert lacks.endswith("cannot be used: task t3")
            await world.change(peers=(Peer(node_id="node2", number=2, addr="localhost"),))
            assert agent.description.lacks[0].endswith("node node2, task t3")
            assert world.networks.world.peers == {}
            await world.change(
                peers=(Peer(node_id="node2", number=2, addr="192.0.2.2"),), endpoints=(endpoint(t2="10.1.17.2"),)
            )
            assert agent.description.lacks == ()

    run_virtual(story())


def test_news_of_others_keep_refusals_and_report_nothing_new():
    async def story() -> None:
        world = World()
        async with world.running() as agent:
            await agent.ready()
            await world.assign(**PLACE, endpoints=(endpoint(t3="nowhere"),))
            described = agent.description
            await world.change(make_task("t1"))
            assert agent.description is described

    run_virtual(story())
