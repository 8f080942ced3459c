"""The agent on a fake engine, in virtual time: assignments in, containers and states out."""

import asyncio
import os
from typing import Any

import msgspec
import pytest

from common.clock import SECOND
from common.model.container import ContainerSpec, FileTarget, SecretReference
from common.model.network import Network, NetworkSpec
from common.model.secret import Secret, SecretSpec
from common.model.service import NetworkAttachmentConfig, RestartPolicy, TaskSpec
from common.model.task import TaskState
from common.wire.codec import encode
from common.wire.messages import Assignments, RegistryAuth
from common.wire.server import FIRST_FRAME_BYTES
from tests.fakes.engine import FakeEngine, Program
from tests.fakes.virtual_loop import run_virtual
from tests.unit.worker.worlds import World, make_task, want
from worker.engine.call_limiter import calls_at_once
from worker.interfaces import EngineDown, EngineError, EngineSilent, Phase
from worker.tasks.plan import machine
from worker.tasks.supervisor import RELIST_SECONDS

S = TaskState


def virtual(test):
    """Run an async test in virtual time."""

    def wrapped():
        run_virtual(test())

    wrapped.__name__ = test.__name__
    wrapped.__doc__ = test.__doc__
    return wrapped


def world(programs=None, **engine):
    return World(engine=FakeEngine({"web": Program()} if programs is None else programs, **engine))


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
async def test_starting_takes_no_call_too_many():
    """Three calls a task, and one for the image of all of them: what the engine alone would need, and one look."""
    w = world()
    async with w.running():
        before = w.engine.calls.copy()
        await w.assign(*(make_task(f"t{n}") for n in range(10)))
        await asyncio.sleep(1)
        assert w.engine.calls - before == {"create": 10, "start": 10, "inspect": 10, "image": 1}
        assert len(w.engine.running) == 10


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
async def test_calls_to_the_engine_are_bounded():
    w = world(latency=0.05)
    async with w.running():
        await w.assign(*(make_task(f"t{n}") for n in range(60)))
        await asyncio.sleep(30)
        assert len(w.engine.running) == 60
        assert w.engine.busiest == calls_at_once(os.cpu_count() or 1)


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
        task = make_task()
        await w.assign(task)
        await asyncio.sleep(1)
        await w.change(want(task, S.SHUTDOWN))
        await asyncio.sleep(1)
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
async def test_a_container_goes_without_volumes_where_they_are_kept() -> None:
    for keeps in (False, True):
        w = world()
        w.keeper.keeps = keeps
        async with w.running():
            await w.assign(make_task())
            await asyncio.sleep(1)
            box = w.engine.box("t1").id
            await w.change(want(make_task(), S.REMOVE))
            await asyncio.sleep(1)
        assert not w.engine.names
        assert w.keeper.asked == [("web.1", box)]
        assert w.engine.kept_volumes == ((box,) if keeps else ())


@virtual
async def test_a_task_that_the_manager_drops_is_removed_without_a_word():
    w = world()
    async with w.running():
        await w.assign(make_task("t1"), make_task("t2"))
        await asyncio.sleep(1)
        reported = len(w.seen["t1"])
        await w.change(removed_tasks=("t1",))
        await asyncio.sleep(1)
        assert w.engine.running == ["web.1.t2"]
        assert len(w.seen["t1"]) == reported


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
async def test_a_bug_ends_its_task_and_no_other():
    w = world()
    async with w.running():

        async def broken(task):
            raise RuntimeError("bug")

        attach, w.networks.attach = w.networks.attach, broken
        await w.assign(make_task("t1"))
        await asyncio.sleep(1)
        w.networks.attach = attach
        await w.change(make_task("t2"))
        await asyncio.sleep(1)
        assert w.state("t1") is S.REJECTED
        assert "internal error of the worker: RuntimeError('bug')" in w.last("t1").err
        assert w.state("t2") is S.RUNNING


def test_a_bug_in_deciding_a_task_holds_up_no_other(monkeypatch):
    step = machine.step

    def broken(task, situation, now):
        if task.id == "t1":
            raise RuntimeError("bug")
        return step(task, situation, now)

    async def story():
        w = world()
        async with w.running():
            with monkeypatch.context() as patched:
                patched.setattr(machine, "step", broken)
                await w.assign(make_task("t1"), make_task("t2"))
                await asyncio.sleep(1)
                assert w.state("t2") is S.RUNNING
            await asyncio.sleep(15)
            assert w.state("t1") is S.RUNNING

    run_virtual(story())


@virtual
async def test_a_container_the_engine_cannot_show_blocks_only_its_task():
    w = world()
    inspect = w.engine.inspect

    async def refusing(container):
        if container == w.engine.box("t1").id:
            raise EngineError(500, "layer does not exist")
        return await inspect(container)

    async with w.running():
        await w.assign(make_task("t1"), make_task("t2"))
        await asyncio.sleep(1)
        w.engine.inspect = refusing
        w.engine.kill("t1")
        w.engine.kill("t2")
        await asyncio.sleep(5)
        assert (w.state("t1"), w.state("t2")) == (S.RUNNING, S.FAILED)
        w.engine.inspect = inspect
        await asyncio.sleep(2)
        assert w.last("t1").container_status.exit_code == 137


# --- images -----------------------------------------------------------------------------------------------------------


@virtual
async def test_one_image_is_pulled_once_for_many_tasks():
    w = world({}, registry={"web": Program()}, pull_seconds=5)
    async with w.running():
        w.agent.authorised(RegistryAuth(service_id="s1", auth='{"username": "me"}'))
        await w.assign(*(make_task(f"t{n}") for n in range(5)))
        await asyncio.sleep(10)
        assert len(w.engine.running) == 5
        assert w.engine.pull_auths == ['{"username": "me"}']


@virtual
async def test_a_pull_without_credentials_does_not_fail_one_with_them():
    w = world({}, registry={"web": Program()}, pull_seconds=5)
    pull = w.engine.pull

    async def pull_with_credentials(reference, auth):
        if not auth:
            await asyncio.sleep(1)
            raise EngineError(404, f"pull access denied for {reference}")
        await pull(reference, auth)

    w.engine.pull = pull_with_credentials
    async with w.running():
        w.agent.authorised(RegistryAuth(service_id="s2", auth='{"username": "me"}'))
        await w.assign(make_task("t1"), msgspec.structs.replace(make_task("t2"), service_id="s2"))
        await asyncio.sleep(10)
        assert (w.state("t1"), w.state("t2")) == (S.REJECTED, S.RUNNING)


@virtual
async def test_a_task_that_is_shut_down_does_not_wait_for_its_pull():
    w = world({}, registry={"web": Program()}, pull_seconds=500)
    async with w.running():
        task = make_task()
        await w.assign(task)
        await asyncio.sleep(1)
        await w.change(want(task, S.SHUTDOWN))
        await asyncio.sleep(1)
        assert w.state() is S.SHUTDOWN


@virtual
async def test_a_failing_registry_is_tolerated_when_the_image_is_here():
    w = world({"web": Program()}, registry={"web": Program()})
    async with w.running():
        del w.engine.registry["web"]
        await w.assign(make_task())
        await asyncio.sleep(5)
        assert w.state() is S.RUNNING


@virtual
async def test_an_image_that_was_removed_meanwhile_is_pulled_again():
    w = world({"web": Program()}, registry={"web": Program()})
    async with w.running():
        await w.assign(make_task("t1"))
        await asyncio.sleep(5)
        del w.engine.images["web"]
        await w.change(make_task("t2"))
        await asyncio.sleep(5)
        assert w.state("t2") is S.RUNNING


# --- secrets ----------------------------------------------------------------------------------------------------------


def secret_task(**more):
    reference = SecretReference(file=FileTarget(name="key"), secret_id="k", secret_name="key")
    return make_task(container=ContainerSpec(secrets=(reference,)), **more)


SECRET = Secret(id="k", spec=SecretSpec(name="key", data=b"hush"))


@virtual
async def test_a_secret_is_mounted_and_goes_when_the_task_has_ended():
    w = world()
    async with w.running():
        task = secret_task()
        await w.assign(task, secrets=(SECRET,))
        await asyncio.sleep(1)
        (mount,) = w.engine.body("t1")["HostConfig"]["Mounts"]
        assert mount == {"Type": "bind", "Source": "/files/t1/0", "Target": "/run/secrets/key", "ReadOnly": True}
        assert w.files.written["t1"][0].data == b"hush"
        await w.change(want(task, S.SHUTDOWN), removed_secrets=("k",))
        await asyncio.sleep(1)
        assert w.files.written == {}


@virtual
async def test_a_task_waits_for_its_secret():
    w = world()
    async with w.running():
        await w.assign(secret_task())
        await asyncio.sleep(1)
        assert (w.state(), w.last().message) == (S.PREPARING, "waiting for a manager to send secret key")
        await w.change(secrets=(SECRET,))
        await asyncio.sleep(1)
        assert w.state() is S.RUNNING


# --- restarts of the agent, of the engine, without a manager ----------------------------------------------------------


@virtual
async def test_a_restarted_agent_adopts_and_starts_nothing():
    w = world()
    async with w.running():
        await w.assign(make_task("t1"), make_task("t2", desired=S.READY))
        await asyncio.sleep(1)
    before = w.engine.box("t1"), w.engine.box("t2")
    async with w.running():
        await w.assign(make_task("t1"), make_task("t2", desired=S.READY))
        await asyncio.sleep(1)
        assert (w.engine.box("t1"), w.engine.box("t2")) == before
        assert w.engine.starts("t1") == 1
        assert (w.state("t1"), w.state("t2")) == (S.RUNNING, S.READY)
        assert w.networks.calls["t1"] == ["attach", "started", "adopted", "started"]


@virtual
async def test_an_agent_without_memory_adopts_by_label():
    w = world()
    async with w.running():
        await w.assign(make_task())
        await asyncio.sleep(1)
    w.memory.__init__()
    async with w.running():
        await asyncio.sleep(60)
        assert w.engine.running == ["web.1.t1"]
        await w.assign(make_task())
        await asyncio.sleep(1)
        assert w.engine.starts("t1") == 1
        assert w.state() is S.RUNNING


@virtual
async def test_strays_go_once_a_manager_has_spoken():
    w = world()
    async with w.running():
        await w.assign(make_task("t1"), make_task("t2"))
        await asyncio.sleep(1)
    w.memory.__init__()
    async with w.running():
        await asyncio.sleep(60)
        assert len(w.engine.running) == 2
        await w.assign(make_task("t1"))
        await asyncio.sleep(1)
        assert w.engine.names == ["web.1.t1"]


@virtual
async def test_what_ended_while_the_agent_was_away_is_reported():
    w = world()
    async with w.running():
        await w.assign(make_task("t1"), make_task("t2"))
        await asyncio.sleep(1)
    w.engine.kill("t1")
    w.engine.vanish("t2")
    async with w.running():
        await w.assign(make_task("t1"), make_task("t2"))
        await asyncio.sleep(1)
        assert (w.state("t1"), w.last("t1").err) == (S.FAILED, "task: non-zero exit (137)")
        assert w.state("t2") is S.FAILED


@virtual
async def test_a_task_that_was_rejected_stays_rejected_over_a_restart():
    w = world({})
    async with w.running():
        await w.assign(make_task())
        await asyncio.sleep(3)
        assert w.state() is S.REJECTED
    w.engine.images["web"] = Program()
    async with w.running():
        await asyncio.sleep(60)
        assert w.engine.names == []


@virtual
async def test_an_engine_restart_fails_the_tasks_that_died_with_it():
    w = world()
    async with w.running():
        await w.assign(make_task())
        await asyncio.sleep(1)
        w.engine.fall(exit_code=137)
        await asyncio.sleep(3)
        assert w.state() is S.RUNNING
        w.engine.rise()
        await asyncio.sleep(2)
        assert (w.state(), w.last().err) == (S.FAILED, "task: non-zero exit (137)")


@virtual
async def test_an_engine_restart_with_live_restore_changes_nothing():
    w = world()
    async with w.running():
        await w.assign(make_task())
        await asyncio.sleep(1)
        w.engine.fall(exit_code=None)
        await asyncio.sleep(3)
        w.engine.rise()
        await asyncio.sleep(2)
        assert w.state() is S.RUNNING
        assert w.engine.starts("t1") == 1


@virtual
async def test_work_goes_on_when_the_engine_is_back():
    w = world(latency=0.1)
    async with w.running():
        tasks = [make_task(f"t{n}") for n in range(20)]
        await w.assign(*tasks)
        await asyncio.sleep(0.25)
        w.engine.fall()
        await asyncio.sleep(5)
        w.engine.rise()
        await asyncio.sleep(10)
        states = {w.state(task.id) for task in tasks}
        assert states <= {S.RUNNING, S.FAILED}
        assert len(w.engine.running) == sum(w.state(task.id) is S.RUNNING for task in tasks) >= 12


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


def holding(w, name: str) -> asyncio.Event:
    """Have the engine's calls of this name hang until the event that is returned is set."""
    call, free = getattr(w.engine, name), asyncio.Event()

    async def hanging(*arguments: Any, **more: Any) -> Any:
        await free.wait()
        return await call(*arguments, **more)

    setattr(w.engine, name, hanging)
    return free


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


def creating_late(w, answers_after: float, done_after: float) -> None:
    """Have the engine give creates no answer in time, keep the container's name, and make it in the end."""
    create, begun = w.engine.create, set()

    async def late(name: str, body: dict[str, Any]) -> str:
        if name in w.engine.names or name in begun:
            raise EngineError(409, f'Conflict. The container name "/{name}" is already in use')
        begun.add(name)
        making = asyncio.ensure_future(make(name, body))
        await asyncio.sleep(answers_after)
        making.add_done_callback(lambda _: begun.discard(name))
        raise EngineSilent("the Docker engine did not create the container within 180 s")

    async def make(name: str, body: dict[str, Any]) -> str:
        await asyncio.sleep(done_after)
        return await create(name, body)

    w.engine.create = late


@virtual
async def test_a_container_that_is_made_after_all_is_the_tasks():
    w = world()
    creating_late(w, 180, 240)
    async with w.running():
        await w.assign(make_task())
        await asyncio.sleep(200)
        assert (w.state(), w.last().message) == (S.PREPARING, "waits for the engine")
        assert "has not yet created the container" in w.last().err
        await asyncio.sleep(50)
        assert w.state() is S.RUNNING
        assert w.engine.running == ["web.1.t1"]


@virtual
async def test_one_that_is_made_when_its_task_is_gone_is_removed():
    w = world()
    creating_late(w, 180, 240)
    async with w.running():
        await w.assign(make_task())
        await asyncio.sleep(190)
        await w.assign(want(make_task(), S.REMOVE))
        await asyncio.sleep(10)
        assert w.state() is S.SHUTDOWN
        await w.assign()
        await asyncio.sleep(45)
        assert w.engine.names == ["web.1.t1"]
        await asyncio.sleep(RELIST_SECONDS)
        assert w.engine.names == []


@virtual
async def test_a_name_that_somebody_elses_container_has_is_refused():
    w = world()
    await w.engine.create("web.1.t1", {"Image": "web", "Labels": {}})
    async with w.running():
        await w.assign(make_task())
        await asyncio.sleep(5)
        assert w.state() is S.REJECTED
        assert "already in use" in w.last().err


@virtual
async def test_a_host_goes_on_though_some_tasks_hang_in_its_engine():
    w = world()
    free = holding(w, "start")
    places = calls_at_once(os.cpu_count() or 1)
    stuck = [make_task(f"s{n}") for n in range(3 * places)]
    async with w.running():
        await w.assign(*stuck)
        await asyncio.sleep(1)
        start = w.engine.start
        w.engine.start = FakeEngine.start.__get__(w.engine)
        await w.assign(*stuck, make_task("fine"))
        await asyncio.sleep(20)
        assert "web.1.fine" in w.engine.running
        w.engine.start = start
        await w.assign(*(want(task, S.REMOVE) for task in stuck))
        await asyncio.sleep(1)
        free.set()
        await asyncio.sleep(5)
        assert w.engine.names == []


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
