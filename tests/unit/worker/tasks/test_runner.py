"""A task on its host, in virtual time: each step of its life, and what is said while one takes long."""

import asyncio
from typing import Any

import msgspec
import pytest

from common.clock import SECOND
from common.model.container import ContainerSpec
from common.model.task import TaskState
from tests.fakes.engine import Program
from tests.fakes.virtual_loop import run_virtual
from tests.unit.worker.worlds import S, holding, make_task, virtual, want, world
from worker.interfaces.engine import EngineDown, Phase


@virtual
async def test_a_task_becomes_a_running_container():
    w = world()
    async with w.running():
        await w.assign(make_task())
        await asyncio.sleep(1)
        assert w.engine.running == ["web.1.t1"]
    states = [status.state for status in w.seen["t1"]]
    assert states[-1] is S.RUNNING
    assert states == sorted(set(states))
    assert w.last().container_status.container_id == w.engine.box("t1").id
    assert w.last().container_status.pid > 0


@virtual
async def test_a_removed_tasks_end_is_not_stored():
    w = world()
    async with w.running():
        await w.assign(make_task())
        await asyncio.sleep(1)
        await w.assign(want(make_task(), S.REMOVE))
        await asyncio.sleep(1)
        assert w.last().state is S.SHUTDOWN
    assert w.memory.states["t1"].status.state is S.RUNNING
    async with w.running():
        await asyncio.sleep(1)
        assert not w.engine.running
        assert w.last().state is S.SHUTDOWN


@virtual
async def test_a_replacement_is_prepared_and_waits():
    w = world()
    async with w.running():
        task = make_task(desired=S.READY)
        await w.assign(task)
        await asyncio.sleep(1)
        assert w.state() is S.READY
        assert w.engine.box("t1").phase is Phase.CREATED
        await w.change(want(task, S.RUNNING))
        await asyncio.sleep(1)
        assert w.state() is S.RUNNING


@virtual
async def test_shutdown_leaves_the_balancer_first_and_keeps_containers():
    w = world()
    async with w.running():
        await w.start_and_shut_down()
        assert w.state() is S.SHUTDOWN
        assert w.engine.box("t1").phase is Phase.EXITED
        assert w.networks.calls["t1"] == ["attach", "started", "drain", "release"]


@virtual
async def test_a_program_that_ignores_the_signal_is_killed_after_grace():
    w = world({"web": Program(stop_takes=60)})
    async with w.running():
        task = make_task(container=ContainerSpec(stop_grace_period=3 * SECOND))
        await w.assign(task)
        await asyncio.sleep(1)
        await w.change(want(task, S.SHUTDOWN))
        await asyncio.sleep(2.9)
        assert w.state() is S.RUNNING
        await asyncio.sleep(0.2)
        assert w.state() is S.SHUTDOWN
        assert w.last().container_status.exit_code == 137


@virtual
async def test_removal_is_reported_when_nothing_is_left():
    w = world()
    async with w.running():
        task = make_task()
        await w.assign(task)
        await asyncio.sleep(1)
        await w.change(want(task, S.REMOVE))
        await asyncio.sleep(1)
        assert w.state() is S.SHUTDOWN
        assert w.engine.names == []
        assert w.networks.calls["t1"][-1] == "release"
        assert w.agent.supervisor.tasks == {}


@virtual
async def test_a_removal_reported_before_its_answer_is_not_inspected():
    w = world()
    remove = w.engine.remove

    async def removed(container: str, *, volumes: bool = True) -> None:
        await remove(container, volumes=volumes)
        await asyncio.sleep(0.01)

    w.engine.remove = removed
    async with w.running():
        task = make_task()
        await w.assign(task)
        await asyncio.sleep(1)
        before = w.engine.calls["inspect"]
        await w.change(want(task, S.REMOVE))
        await asyncio.sleep(1)
        assert w.state() is S.SHUTDOWN
        assert w.engine.calls["inspect"] == before


@virtual
async def test_a_task_runs_when_its_program_listens_on_published_ports():
    w = world()
    w.networks.silent = (80,)
    async with w.running():
        await w.assign(make_task())
        await asyncio.sleep(5)
        assert w.last().state is S.STARTING
        assert w.last().err == "waiting for its program to listen on port 80/tcp"
        w.networks.silent = ()
        await asyncio.sleep(1)
        assert (w.last().state, w.last().message, w.last().err) == (S.RUNNING, "started", "")


@virtual
async def test_a_task_that_never_listens_can_be_stopped_meanwhile():
    w = world()
    w.networks.silent = (80,)
    async with w.running():
        await w.assign(make_task())
        await asyncio.sleep(1)
        await w.change(want(make_task(), S.SHUTDOWN))
        await asyncio.sleep(1)
        assert w.last().state is S.SHUTDOWN


@virtual
async def test_health_decides_when_it_runs_and_when_it_fails():
    w = world({"web": Program(healthy_after=5, sick_after=60)})
    async with w.running():
        await w.assign(make_task())
        await asyncio.sleep(4)
        assert w.state() is S.STARTING
        await asyncio.sleep(2)
        assert w.state() is S.RUNNING
        await asyncio.sleep(60)
        assert w.state() is S.FAILED
        assert w.last().err == "task: unhealthy container"
        assert w.engine.running == []


@virtual
async def test_an_unhealthy_containers_error_has_what_its_check_said():
    for lines, words in {"": ": no answer | from port 80", "0": ""}.items():
        w = world({"web": Program(healthy_after=5, sick_after=10, check_said="no answer\nfrom port 80\n")})
        async with w.running():
            await w.assign(msgspec.structs.replace(make_task(), labels={"swarm.x.last-words": lines} if lines else {}))
            await asyncio.sleep(20)
            assert (w.state(), w.last().err) == (S.FAILED, f"task: unhealthy container{words}")


@virtual
async def test_a_program_that_ends_is_reported_with_its_exit_code():
    w = world({"web": Program(exits_after=2, exit_code=3)})
    async with w.running():
        await w.assign(make_task())
        await asyncio.sleep(3)
        assert w.state() is S.FAILED
        assert w.last().err == "task: non-zero exit (3)"
        assert w.last().container_status.exit_code == 3


@virtual
async def test_a_failed_tasks_error_has_its_containers_last_words():
    said = {"": ": two | three | four", "1": ": four", "0": ""}
    for lines, words in said.items():
        w = world({"web": Program(exits_after=2, exit_code=3)})
        labels = {"swarm.x.last-words": lines} if lines else {}
        async with w.running():
            await w.assign(msgspec.structs.replace(make_task(), labels=labels))
            await asyncio.sleep(1)
            w.engine.said[w.engine.box("t1").id] = b"one\ntwo\nthree\nfour\n"
            await asyncio.sleep(2)
            assert w.last().err == f"task: non-zero exit (3){words}"


@virtual
async def test_stopped_by_hand_is_a_failure_even_with_exit_code_0():
    w = world()
    async with w.running():
        await w.assign(make_task())
        await asyncio.sleep(1)
        w.engine.kill("t1", signal=15, exit_code=0)
        await asyncio.sleep(1)
        assert w.state() is S.FAILED
        assert "signal 15" in w.last().err


@virtual
async def test_refusals_tell_rejected_from_failed():
    w = world(
        {
            "bad-mount": Program(create_error="bind source path does not exist: /x"),
            "bad-program": Program(start_error='exec: "nope": executable file not found in $PATH'),
            "host-port": Program(start_error="iptables: No chain/target/match by that name."),
        }
    )
    async with w.running():
        await w.assign(
            make_task("t1", "bad-mount"),
            make_task("t2", "bad-program"),
            make_task("t3", "no-image"),
            make_task("t4", "host-port"),
        )
        await asyncio.sleep(3)
    assert (w.state("t1"), w.last("t1").err) == (S.REJECTED, "bind source path does not exist: /x")
    assert w.state("t2") is S.FAILED
    assert w.last("t2").err == 'starting container failed: exec: "nope": executable file not found in $PATH'
    assert w.last("t4").err.startswith(
        "starting container failed: Docker's firewall rules are gone from this host, restart"
    )
    assert w.state("t3") is S.REJECTED
    assert w.last("t3").err.startswith("No such image: no-image; pulling it failed: pull access denied")


@virtual
async def test_no_address_is_a_rejection():
    w = world()
    w.networks.full = True
    async with w.running():
        await w.assign(make_task())
        await asyncio.sleep(1)
        assert (w.state(), w.last().err) == (S.REJECTED, "network web has no free address on this host")


@virtual
async def test_a_task_that_waits_for_an_engine_that_hangs_says_so():
    w = world()
    create, hangs = w.engine.create, [True]

    async def create_late(name: str, body: dict[str, Any]) -> str:
        if hangs:
            raise EngineDown("the Docker engine did not answer in time")
        return await create(name, body)

    w.engine.create = create_late
    async with w.running():
        await w.assign(make_task())
        await asyncio.sleep(5)
        assert (w.state(), w.last().message) == (S.PREPARING, "waits for the engine")
        assert w.last().err == "the Docker engine did not answer in time"
        assert len([status for status in w.seen["t1"] if status.err]) == 1, "said once"
        hangs.clear()
        await asyncio.sleep(5)
        assert (w.state(), w.last().err) == (S.RUNNING, "")


@pytest.mark.parametrize(
    ("name", "doing", "state"), [("create", "creating", S.PREPARING), ("start", "starting", S.STARTING)]
)
def test_a_task_reports_a_slow_engine_call_and_takes_it_back(name: str, doing: str, state: TaskState):
    async def story() -> None:
        w = world({"web": Program(healthy_after=5)})
        free = holding(w, name)
        async with w.running():
            await w.assign(make_task())
            await asyncio.sleep(14)
            assert (w.state(), w.last().err) == (state, "")
            for pause, taken in ((2, 15), (15, 30), (30, 60)):
                await asyncio.sleep(pause)
                assert (w.state(), w.last().message) == (state, "waits for the engine")
                assert w.last().err.startswith(f"the engine has been {doing} the container for {taken} s: look at ")
            free.set()
            await asyncio.sleep(1)
            assert (w.state(), w.last().err) == (S.STARTING, ""), "it is not healthy yet"
            await asyncio.sleep(5)
            assert w.state() is S.RUNNING
            assert w.engine.starts("t1") == 1

    run_virtual(story())


@virtual
async def test_a_task_says_what_it_waits_for_of_its_hosts_network():
    w = world()
    w.networks.ready.clear()
    w.networks.trouble = "wireguard-go failed: unix socket in use"
    async with w.running():
        await w.assign(make_task())
        await asyncio.sleep(5)
        assert (w.state(), w.last().message) == (S.PREPARING, "waits for the host's network")
        assert w.last().err == "wireguard-go failed: unix socket in use"
        w.networks.ready.set()
        await asyncio.sleep(1)
        assert (w.state(), w.last().err) == (S.RUNNING, "")


@virtual
async def test_late_stops_say_so_and_an_ended_task_keeps_its_reason():
    w = world({"web": Program(), "bad": Program(exits_after=1, exit_code=3)})
    stop, remove = holding(w, "stop"), holding(w, "remove")
    async with w.running():
        await w.assign(make_task("t1"), make_task("t2", image="bad"))
        await asyncio.sleep(2)
        await w.assign(want(make_task("t1"), S.REMOVE), want(make_task("t2", image="bad"), S.REMOVE))
        await asyncio.sleep(24)
        assert w.last("t1").err == "", "a stop has its grace first"
        await asyncio.sleep(2)
        assert (w.state("t1"), w.last("t1").message) == (S.RUNNING, "waits for the engine")
        assert "stopping the container for 25 s" in w.last("t1").err
        assert (w.state("t2"), w.last("t2").err) == (S.FAILED, "task: non-zero exit (3)")
        stop.set()
        await asyncio.sleep(16)
        assert "removing the container for 15 s" in w.last("t1").err
        remove.set()
        await asyncio.sleep(1)
        assert (w.state("t1"), w.last("t1").err) == (S.SHUTDOWN, "")
        assert w.engine.names == []
