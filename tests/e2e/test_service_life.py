"""The life of a service on three real engines: updates held and taken back, jobs, containers that keep failing.

One cluster serves all tests of this file; each leaves it without services.
"""

import asyncio
import json
import re
import signal
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
import pytest_asyncio

from common.clock import parse_rfc3339
from tests.e2e.ci import long
from tests.e2e.cluster import Cluster

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def swarm() -> AsyncIterator[Cluster]:
    async with Cluster("life") as cluster:
        yield cluster


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def clean(swarm: Cluster) -> AsyncIterator[None]:
    yield
    await swarm.remove_services()


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


async def test_an_update_pauses_and_resumes_and_a_revision_is_restored(swarm: Cluster) -> None:
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


async def test_a_global_job_completes_on_every_node_or_exits_1(swarm: Cluster) -> None:
    command = ("busybox:lab", "busybox", "true")
    await swarm.swarm("service", "create", "--mode", "global-job", "--no-resolve-image", "--name", "each", *command)
    tasks = await swarm.tasks("each", "complete")
    assert len({task["NodeID"] for task in tasks}) == len(tasks) == 3
    create_it = ("service", "create", "--mode", "replicated-job", "--restart-condition", "none", "--no-resolve-image")
    failed = await swarm.swarm(*create_it, "--name", "bad", "busybox:lab", "busybox", "false", check=False)
    assert failed.returncode == 1
    assert "non-zero exit (1)" in failed.stderr


def execution(task: Any) -> int:
    return int(task["JobIteration"].get("Index", 0))


async def test_due_schedules_run_and_executions_may_overlap(swarm: Cluster) -> None:
    labels = ("--label", "swarm.x.schedule=*/2 * * * * *", "--label", "swarm.x.schedule-concurrency=allow")
    options = ("--mode", "replicated-job", "--no-resolve-image", "--name", "tick", "--stop-signal", "KILL", *labels)
    created = await swarm.swarm("service", "create", *options, "busybox:lab", "busybox", "sleep", "5")
    assert created.returncode == 0

    async def beside() -> bool:
        tasks = await swarm.tasks("tick", "")
        return len({execution(task) for task in tasks if task["Status"]["State"] == "running"}) >= 2

    await swarm.until(beside, 15)
    listed = await swarm.swarm("service", "ps", "tick")
    assert "EXECUTION" in listed.stdout.splitlines()[0]
    assert "next run" in (await swarm.swarm("service", "ls")).stdout
    begun = {execution(task): task["CreatedAt"] for task in await swarm.tasks("tick", "")}
    times = [parse_rfc3339(begun[index]) for index in sorted(begun)]
    assert all(instant % 2 < 1.5 for instant in times), "each soon after an even second"
    assert all(after - before > 0.5 for before, after in pairwise(times)), "one a due time"


@long
async def test_each_due_time_runs_once_though_the_manager_is_killed(swarm: Cluster) -> None:
    """Killed just before a due time, it makes up for that; killed just after, it does not execute it again."""
    runs = swarm.lab.workdir / "runs"
    period, deadline = 6, 5
    labels = {"schedule": f"*/{period} * * * * *", "schedule-deadline": f"{deadline}s", "schedule-history": "9"}
    options = [word for name, value in labels.items() for word in ("--label", f"swarm.x.{name}={value}")]
    mount = ("--mount", f"type=bind,source={swarm.lab.workdir},target=/out")
    note = ("busybox:lab", "busybox", "sh", "-c", f"busybox date +%s >>/out/{runs.name}")
    await create(swarm, "--mode", "replicated-job", *options, *mount, name="tick", command=note)

    async def executed(count: int) -> None:
        async def look() -> bool:
            return runs.exists() and len(runs.read_text().split()) >= count

        await swarm.until(look, 3 * period)

    await executed(1)
    due = time.time() // period * period + period
    await asyncio.sleep(due - 0.1 - time.time())
    await swarm.manager.stop(signal.SIGKILL)
    await asyncio.sleep(due + 0.2 - time.time())
    await swarm.start_manager()
    late = time.time() - due
    await executed(2)
    await swarm.manager.stop(signal.SIGKILL)
    await swarm.start_manager()
    await executed(3)

    tasks = await swarm.tasks("tick", "")
    begun = sorted(parse_rfc3339(task["CreatedAt"]) for task in tasks)
    times = [instant // period * period for instant in begun]
    assert times[0] == due - period
    assert times[2] > times[1] >= due  # the next one, unless this machine took longer than the deadline for a manager
    assert sorted(execution(task) for task in tasks) == [0, 1, 2]
    if times[1] == due:
        assert 0.2 < begun[1] - due < deadline, "made up for, when there was a manager again, within the deadline"
    else:
        assert late > deadline - 1, f"skipped, though a manager was there again {late:.1f} s after the due time"
    assert len(runs.read_text().split()) == 3


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


# Says what it has on SIGHUP, as a daemon that reads its configuration again does.
RELOADS = """
say() { echo "$1 $(cat /run/secrets/key) $(cat /etc/app.conf) $(stat -c %u:%a /run/secrets/key)"; }
trap 'say reloaded' HUP
trap 'exit 0' TERM
say started
while :; do sleep 0.1 & wait $!; done
"""


@long
async def test_a_running_program_gets_new_content_and_a_signal(swarm: Cluster) -> None:
    """A read-only root file system, a file outside of /run/secrets, a template that has the secret: all as before."""
    await swarm.swarm("secret", "create", "key", "-", stdin="first")
    conf = '{{.Task.Slot}}={{secret "key"}}'
    await swarm.swarm("config", "create", "--template-driver", "golang", "conf", "-", stdin=conf)
    files = ("--secret", "source=key,uid=7,mode=0440", "--config", "source=conf,target=/etc/app.conf")
    options = ("--replicas", "2", "--read-only", "--update-parallelism", "0", "--update-monitor", "1s", *files)
    command = ("busybox:lab", "busybox", "sh", "-c", RELOADS)
    await create(swarm, *options, "--label", "swarm.x.on-rotate=signal:HUP", command=command)
    await swarm.running("web", 2)

    async def lives() -> list[tuple[str, str, str]]:
        found = [each for host in swarm.hosts for each in await swarm.containers(host)]
        return sorted((each["Id"], each["State"]["StartedAt"], each["State"]["Status"]) for each in found)

    async def said(word: str) -> list[str]:
        logs = (await swarm.swarm("service", "logs", "--raw", "web")).stdout.splitlines()
        return sorted(line for line in logs if line.startswith(word))

    async def say(word: str, content: str) -> None:
        wanted = [f"{word} {content} {slot}={content} 7:440" for slot in (1, 2)]

        async def look() -> bool:
            return (await said(word))[-2:] == wanted

        await swarm.until(look, 10)

    await say("started", "first")
    before = await lives()
    updated = await swarm.swarm("secret", "update", "key", "-", stdin="second")
    assert updated.stdout.splitlines()[-1] == "web: 2/2 tasks have it"
    await say("reloaded", "second")
    assert await lives() == before
    write = ("exec", before[0][0], "busybox", "sh", "-c", "echo x > /run/secrets/key")
    refused = [await host.run("docker", *write, check=False) for host in swarm.hosts]
    assert any("Read-only" in each.stderr for each in refused)
    await swarm.swarm("service", "rollback", "-d", "web")
    await status_is(swarm, "rollback_completed")
    assert (await said("reloaded"))[:2] == [f"reloaded first {slot}=first 7:440" for slot in (1, 2)]
    assert await lives() == before
    await swarm.swarm("service", "rm", "web")
    await swarm.swarm("secret", "rm", "key")
    await swarm.swarm("config", "rm", "conf")


async def test_a_crash_loop_is_named_with_the_containers_last_words(swarm: Cluster) -> None:
    command = ("busybox:lab", "busybox", "sh", "-c", "echo no config in /etc/app >&2; exit 7")
    await create(swarm, "--restart-delay", "500ms", name="loop", command=command)

    async def looping() -> bool:
        shown = await swarm.swarm("service", "ps", "--no-trunc", "--format", "{{.Error}}", "loop")
        return re.search(r"crash loop: next try in .*\(attempt [4-9]\)", shown.stdout) is not None

    await swarm.until(looping, 40)
    rows = await swarm.swarm("service", "ps", "--no-trunc", "--format", "{{.Error}}", "loop")
    assert "non-zero exit (7): no config in /etc/app" in rows.stdout


async def test_autoscaling_follows_reported_metrics_and_usage(swarm: Cluster) -> None:
    """Each serves a page that the test writes: how busy all of them are. Its processors are measured beside it."""
    page = swarm.manager_host.folder / "pages" / "metrics"
    page.parent.mkdir()
    page.write_text("busy 9\n")
    policy = "min=1,max=3,cpu=400%,metric=busy,port=8000,target=3,up=1s,down=3s"
    options = ("--label", f"swarm.x.autoscale={policy}", "--reserve-cpu", "0.1", "--stop-grace-period", "1s")
    mount = ("--mount", f"type=bind,source={page.parent},target=/pages")
    serve = ("busybox:lab", "busybox", "httpd", "-f", "-p", "8000", "-h", "/pages")
    await create(swarm, *options, *mount, command=serve)
    await swarm.running("web", 3, 20)
    status = (await swarm.get("/services/web"))["AutoscaleStatus"]
    assert status["Message"].startswith("scaled ")
    assert "busy at 9 (target 3)" in status["Message"]

    async def measured() -> bool:
        reading = (await swarm.get("/services/web"))["AutoscaleStatus"]["Reading"]
        return reading.startswith("cpu at ") and "busy at 9 (target 3)" in reading

    await swarm.until(measured, 10)
    assert "busy at 9" in (await swarm.swarm("service", "ls", "--format", "{{.Replicas}}")).stdout
    refused = await swarm.swarm("service", "scale", "-d", "web=5", check=False)
    assert refused.returncode == 1
    assert "autoscaled between 1 and 3 tasks" in refused.stderr
    page.write_text("busy 0\n")
    await swarm.running("web", 1, 20)
    shown = (await swarm.swarm("service", "inspect", "--pretty", "web")).stdout
    (last,) = [line for line in shown.splitlines() if line.startswith(" Last:")]
    assert " → 1" in last
    assert "fewer needed for 3s" in last
