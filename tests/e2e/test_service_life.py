"""The life of a service on three real engines: updates held and taken back, jobs, containers that keep failing.

One cluster serves all tests of this file; each leaves it without services.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.cluster import Cluster

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def swarm() -> AsyncIterator[Cluster]:
    async with Cluster("life") as cluster:
        yield cluster


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def clean(swarm: Cluster) -> AsyncIterator[None]:
    yield
    if names := [service["Spec"]["Name"] for service in await swarm.get("/services")]:
        await swarm.swarm("service", "rm", *names)

    async def nothing() -> bool:
        return not await swarm.tasks(desired="")

    await swarm.until(nothing, 20)


async def create(swarm: Cluster, *options: str, name: str = "web", command: tuple[str, ...] = ("web:lab",)) -> None:
    await swarm.swarm("service", "create", "-d", "--no-resolve-image", "--name", name, *options, *command)


async def update(swarm: Cluster, *options: str) -> None:
    await swarm.swarm("service", "update", "-d", *options, "web")


async def status_is(swarm: Cluster, state: str, timeout: float = 30) -> str:
    """Wait for a state of the service's update and return its message."""
    last: dict[str, Any] = {}

    async def look() -> bool:
        last.update((await swarm.get("/services/web")).get("UpdateStatus") or {})
        return last.get("State") == state

    await swarm.until(look, timeout, lambda: json.dumps(last))
    return str(last["Message"])


def modes(tasks: list[Any]) -> list[str]:
    """Return what each task's specification has for the environment variable MODE."""
    return sorted("".join(task["Spec"]["ContainerSpec"].get("Env") or ["MODE=one"]) for task in tasks)


async def test_an_update_is_paused_goes_on_and_an_old_revision_comes_back(swarm: Cluster) -> None:
    await create(swarm, "--replicas", "3", "--update-delay", "2s", "--update-monitor", "1s")
    await swarm.running("web", 3)
    await update(swarm, "--env-add", "MODE=two")
    await swarm.tasks_when("web", lambda tasks: "MODE=two" in modes(tasks))
    await update(swarm, "--pause")
    assert await status_is(swarm, "paused") == "paused on request"
    before = modes(await swarm.running("web", 3))
    await asyncio.sleep(3)
    assert modes(await swarm.running("web", 3)) == before
    assert set(before) == {"MODE=one", "MODE=two"}
    await update(swarm, "--continue")
    await status_is(swarm, "completed")
    assert modes(await swarm.running("web", 3)) == ["MODE=two"] * 3
    await update(swarm, "--env-add", "MODE=three", "--update-delay", "0s", "--update-parallelism", "0")
    await status_is(swarm, "completed")
    listed = await swarm.swarm("service", "history", "--format", "{{.Revision}} {{.Changes}}", "web")
    assert listed.stdout.splitlines()[1:] == ["2 Env", "1 "]
    back = await swarm.swarm("service", "rollback", "--to", "1", "web", "-q")
    assert back.returncode == 0
    assert modes(await swarm.running("web", 3)) == ["MODE=one"] * 3


async def test_a_job_completes_so_often_and_runs_again_by_force(swarm: Cluster) -> None:
    job = ("--mode", "replicated-job", "--replicas", "5", "--max-concurrent", "2")
    command = ("busybox:lab", "busybox", "sh", "-c", "echo done; sleep 0.5")
    made = await swarm.swarm("service", "create", *job, "--no-resolve-image", "--name", "job", *command)
    assert "5 out of 5 tasks" in made.stdout
    line = await swarm.swarm("service", "ls", "--format", "{{.Mode}} {{.Replicas}}")
    assert line.stdout.strip() == "replicated job 0/2 (5/5 completed)"
    rows = await swarm.swarm("service", "ps", "--format", "{{.Name}} {{.DesiredState}} {{.CurrentState}}", "job")
    assert len(rows.stdout.splitlines()) == 5
    assert all("Complete Complete" in row for row in rows.stdout.splitlines())
    assert (await swarm.swarm("service", "logs", "job", "--raw")).stdout.split() == ["done"] * 5
    await swarm.swarm("service", "update", "--force", "job")
    service = await swarm.get("/services/job")
    assert service["JobStatus"]["JobIteration"] == {"Index": 1}
    again = [task for task in await swarm.tasks("job", "complete") if task["JobIteration"] == {"Index": 1}]
    assert [task["Status"]["State"] for task in again] == ["complete"] * 5


async def test_a_global_job_completes_on_every_node_and_a_failing_one_exits_1(swarm: Cluster) -> None:
    command = ("busybox:lab", "busybox", "true")
    await swarm.swarm("service", "create", "--mode", "global-job", "--no-resolve-image", "--name", "each", *command)
    tasks = await swarm.tasks("each", "complete")
    assert len({task["NodeID"] for task in tasks}) == len(tasks) == 3
    create_it = ("service", "create", "--mode", "replicated-job", "--restart-condition", "none", "--no-resolve-image")
    failed = await swarm.swarm(*create_it, "--name", "bad", "busybox:lab", "busybox", "false", check=False)
    assert failed.returncode == 1
    assert "non-zero exit (1)" in failed.stderr


async def test_a_canary_holds_until_it_is_told_to_go_on(swarm: Cluster) -> None:
    await create(swarm, "--replicas", "5", "--label", "swarm.x.canary=1", "--update-monitor", "1s")
    await swarm.running("web", 5)
    held = await swarm.swarm("service", "update", "--env-add", "MODE=two", "web")
    assert "canary: 1 of 5 updated, holding" in held.stdout
    assert (await swarm.get("/services/web"))["UpdateStatus"]["State"] == "paused"
    assert modes(await swarm.running("web", 5)) == ["MODE=one"] * 4 + ["MODE=two"]
    await swarm.swarm("service", "update", "--abort", "web")
    assert modes(await swarm.running("web", 5)) == ["MODE=one"] * 5
    await update(swarm, "--env-add", "MODE=three")
    await status_is(swarm, "paused")
    await update(swarm, "--continue")
    await status_is(swarm, "completed", 60)
    assert modes(await swarm.running("web", 5)) == ["MODE=three"] * 5


async def test_a_crash_loop_is_named_with_the_containers_last_words(swarm: Cluster) -> None:
    command = ("busybox:lab", "busybox", "sh", "-c", "echo no config in /etc/app >&2; exit 7")
    await create(swarm, "--restart-delay", "500ms", name="loop", command=command)

    async def looping() -> bool:
        shown = await swarm.swarm("service", "ps", "--no-trunc", "--format", "{{.Error}}", "loop")
        return "crash loop: next try in" in shown.stdout and "(attempt 4)" in shown.stdout

    await swarm.until(looping, 40)
    rows = await swarm.swarm("service", "ps", "--no-trunc", "--format", "{{.Error}}", "loop")
    assert "non-zero exit (7): no config in /etc/app" in rows.stdout
