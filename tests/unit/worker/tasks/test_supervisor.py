"""All tasks of a host: none holds up another, and those that outlive agent or engine are adopted."""

import asyncio

from tests.fakes.engine import Program
from tests.fakes.virtual_loop import run_virtual
from tests.unit.worker.worlds import S, make_task, virtual, world
from worker.interfaces.engine import EngineError
from worker.tasks.plan import machine


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
async def test_what_is_kept_for_its_logs_is_not_to_run():
    """`swarm-worker status` counts it by this: history is nothing that fails to run."""
    w = world()
    async with w.running():
        await w.assign(make_task("t1"), make_task("t2"), make_task("t3", desired=S.READY))
        await asyncio.sleep(1)
        await w.change(make_task("t2", desired=S.SHUTDOWN))
        await asyncio.sleep(15)
        assert set(w.agent.supervisor.tasks) == {"t1", "t2", "t3"}
        assert {key: status.state for key, status in w.agent.supervisor.to_run.items()} == {"t1": S.RUNNING}


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
