"""The agent on a fake engine, in virtual time: assignments in, containers and states out."""

import asyncio

import msgspec

from common.clock import SECOND
from common.model.container import ContainerSpec
from common.model.network import Network, NetworkSpec
from common.model.service import NetworkAttachmentConfig, RestartPolicy, TaskSpec
from common.wire.codec import encode
from common.wire.messages import Assignments
from common.wire.server import FIRST_FRAME_BYTES
from tests.fakes.engine import Program
from tests.unit.worker.worlds import S, make_task, virtual, world


@virtual
async def test_without_a_manager_a_task_is_kept_alive_unreported():
    w = world({"web": Program(exits_after=100, exit_code=1)})
    async with w.running():
        await w.assign(make_task(restart_policy=RestartPolicy(delay=5 * SECOND)))
        await asyncio.sleep(2)
        w.agent.lost()
        reported = len(w.seen["t1"])
        await asyncio.sleep(100)
        assert w.engine.starts("t1") == 1
        await asyncio.sleep(10)
        assert w.engine.starts("t1") == 2
        assert len(w.seen["t1"]) == reported
        await w.assign(make_task(restart_policy=RestartPolicy(delay=5 * SECOND)))
        await asyncio.sleep(100)
        assert w.state() is S.FAILED
        assert w.engine.starts("t1") == 2


@virtual
async def test_a_manager_that_is_back_soon_decides_about_what_ended():
    w = world({"web": Program(exits_after=10, exit_code=1)})
    async with w.running():
        await w.assign(make_task())
        await asyncio.sleep(9)
        w.agent.lost()
        await asyncio.sleep(5)
        assert w.state() is S.RUNNING
        await w.assign(make_task())
        await asyncio.sleep(1)
        assert w.state() is S.FAILED


# --- networks, the host -----------------------------------------------------------------------------------------------


@virtual
async def test_addresses_are_reported_by_network_id():
    w = world()
    async with w.running():
        await w.assign(
            make_task(networks=(NetworkAttachmentConfig(target="n1"),)),
            networks=(Network(id="n1", spec=NetworkSpec(name="back")),),
        )
        await asyncio.sleep(1)
        assert w.last().addresses == {"n1": "10.0.0.2"}
        assert w.networks.world.networks["n1"].name == "back"


@virtual
async def test_the_host_describes_itself_and_reports_a_missing_engine():
    w = world()
    async with w.running() as agent:
        await agent.ready()
        hello = agent.hello()
        assert hello.description.resources.nano_cpus == 2_000_000_000
        assert hello.description.engine.labels == {"rack": "7"}
        unfit = asyncio.ensure_future(agent.unfit())
        for _ in range(2):  # once that it was back in between, it counts anew
            w.engine.fall()
            await asyncio.sleep(9)
            assert not unfit.done()
            w.engine.rise()
            await asyncio.sleep(0.1)
        w.engine.fall()
        await asyncio.sleep(11)
        assert unfit.result() == "its engine cannot be used: the fake engine has ended"
        assert await asyncio.wait_for(agent.unfit(), 0.1), "known at once by who asks later"


@virtual
async def test_a_workers_first_report_stays_small():
    """A manager takes no large first frame: a worker that said one would be locked out."""
    w = world()
    async with w.running() as agent:
        before = len(encode(agent.hello()))
        await w.assign(*(make_task(f"{n:025}", desired=S.READY) for n in range(3000)))
        assert len(agent.supervisor.tasks) == 3000
        assert len(encode(agent.hello())) == before < FIRST_FRAME_BYTES


@virtual
async def test_only_tasks_that_a_message_names_are_reported_again():
    w = world()
    async with w.running():
        await w.assign(*(make_task(f"t{n}") for n in range(5)))
        await asyncio.sleep(1)
        reported = {name: len(statuses) for name, statuses in w.seen.items()}
        await w.change(make_task("t0"))
        await w.change(peers=())
        await asyncio.sleep(1)
        more = {name: len(statuses) - reported[name] for name, statuses in w.seen.items()}
        assert more == {"t0": 1, "t1": 0, "t2": 0, "t3": 0, "t4": 0}
        assert w.state("t0") is S.RUNNING


@virtual
async def test_what_the_host_lacks_is_told_when_it_changes():
    w = world()
    async with w.running() as agent:
        await agent.ready()
        agent.hello()
        telling = asyncio.ensure_future(agent.description_changed())
        await asyncio.sleep(100)
        assert not telling.done()
        w.networks.lacks = lambda: ("no nftables",)
        await asyncio.sleep(100)
        assert telling.result().description.lacks == ("no nftables",)


@virtual
async def test_missing_networks_are_reported_without_asking_the_engine():
    w = world()
    async with w.running() as agent:
        await agent.ready()
        agent.hello()
        asked = w.engine.calls.copy()
        telling = asyncio.ensure_future(agent.description_changed())
        w.networks.looks.set()
        await asyncio.sleep(0.01)
        assert not telling.done()
        w.networks.lacks = lambda: ("another program has port 80/tcp",)
        w.networks.ipv6 = lambda: False
        w.networks.looks.set()
        await asyncio.sleep(0.01)
        assert telling.result().description.lacks == ("another program has port 80/tcp",)
        assert not telling.result().description.ipv6
        assert w.engine.calls == asked


@virtual
async def test_a_task_that_is_no_container_is_rejected():
    w = world()
    async with w.running():
        await w.assign(msgspec.structs.replace(make_task(), spec=TaskSpec(runtime="plugin")))
        await asyncio.sleep(1)
        assert (w.state(), w.last().err) == (S.REJECTED, "a worker runs containers only, not 'plugin'")


@virtual
async def test_assignments_for_another_set_are_refused():
    w = world()
    async with w.running() as agent:
        await w.assign(make_task())
        message = Assignments(complete=False, applies_to=77, results_in=78)
        assert not await agent.assigned(message)
        await asyncio.sleep(1)
        assert w.engine.running == ["web.1.t1"]


@virtual
async def test_an_old_task_waits_until_its_templates_know_the_host():
    w = world()
    spec = ContainerSpec(hostname="{{.Node.Hostname}}")
    w.engine.fall()
    await w.memory.save(Assignments(complete=True, results_in=1, tasks=(make_task(container=spec),)))
    info, w.engine.info = w.engine.info, asyncio.Event().wait
    async with w.running():
        w.engine.rise()
        await asyncio.sleep(5)
        assert w.engine.names == []
    w.engine.info = info
    async with w.running():
        await asyncio.sleep(5)
        assert w.engine.body("t1")["Hostname"] == "fake"


@virtual
async def test_templates_call_the_node_what_the_manager_calls_it():
    w = world()
    spec = ContainerSpec(env=("NODE={{.Node.Hostname}}",))
    async with w.running() as agent:
        await asyncio.sleep(1)
        for number, (said, expected) in enumerate([("web-3", "web-3"), ("", "web-3"), ("fake", "fake")], 1):
            task = make_task(f"t{number}", container=spec)
            message = Assignments(
                complete=number == 1, applies_to=number - 1, results_in=number, tasks=(task,), hostname=said
            )
            assert await agent.assigned(message)
            await asyncio.sleep(5)
            assert f"NODE={expected}" in w.engine.body(task.id)["Env"]
        assert agent.description.hostname == "fake", "it says itself what it calls itself"


@virtual
async def test_a_removed_node_stops_its_tasks():
    w = world()
    async with w.running() as agent:
        await w.assign(make_task())
        await asyncio.sleep(1)
        await agent.removed("node1 was removed")
        await asyncio.sleep(1)
        assert w.engine.names == []
