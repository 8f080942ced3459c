"""What a client follows through a manager while the leader changes: it goes on, or ends with a word that says why."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from signal import SIGKILL

import pytest
import pytest_asyncio

from tests.e2e.ci import long
from tests.e2e.managers import SOCKET, Managers
from tests.lab import Host, Process

pytestmark = [long, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

TICKS = "i=0; while sleep 0.2; do i=$((i+1)); echo tick $i; done"
# A stream has to show that it goes on, or that it has ended, in so many seconds after the fault.
NOTICED_SECONDS = 20.0
# What is said where a stream ends before its time: by docker of a connection that was cut, or by the manager.
WORDS = re.compile(r"unexpected EOF|the leader was lost|no more events|was not found \(not asked|No such exec")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster() -> AsyncIterator[Managers]:
    async with Managers("streams", 3) as cluster:
        await cluster.docker(
            cluster.manager_host,
            *("service", "create", "--detach", "--name", "ticks", "--mode", "global", "--no-resolve-image"),
            *("--stop-grace-period", "0s", "busybox:lab", "sh", "-c", TICKS),
        )
        await cluster.running("ticks", 3)
        yield cluster


async def container_on(cluster: Managers, host: Host) -> str:
    (found,) = await cluster.containers(host, everything=False)
    return str(found["Id"])


async def follow(cluster: Managers, asked: Host, leader: Host) -> dict[str, Process]:
    """Start one of each kind of stream at a manager; return when each has shown something."""
    survivor = next(host for host in cluster.hosts if host not in (asked, leader))
    here = await container_on(cluster, survivor)
    commands = {
        "service logs": ("service", "logs", "-f", "--tail", "1", "ticks"),
        "container logs": ("logs", "-f", "--tail", "1", here),
        "exec": ("exec", here, "sh", "-c", TICKS),
        "events": ("events", "--since", "1m", "--filter", "type=service"),
        "stats": ("stats", here),
    }
    streams = {
        name: await asked.spawn("docker", "-H", SOCKET, *command, name=name.replace(" ", "-"))
        for name, command in commands.items()
    }

    async def all_show() -> bool:
        return all(stream.output() for stream in streams.values())

    await cluster.until(all_show, 20)
    return streams


async def went(cluster: Managers, asked: Host, stream: Process) -> str:
    """Return how a stream has gone on: `goes on`, or how it has ended; `hangs` when neither."""
    before, began = stream.log.stat().st_size, time.monotonic()
    changes = 0
    while time.monotonic() - began < NOTICED_SECONDS:
        if not stream.running:
            return f"ended with {stream.returncode} after {time.monotonic() - began:.1f} s: {stream.tail(2)}"
        if stream.log.stat().st_size > before:
            return f"goes on after {time.monotonic() - began:.1f} s"
        changes += 1
        await cluster.docker(asked, "service", "update", "-d", "--label-add", f"n={changes}", "ticks", check=False)
        await asyncio.sleep(0.2)
    return "hangs"


@pytest.mark.parametrize("fault", ["killed", "handed over", "cut off"])
async def test_streams_go_on_or_say_why_they_end(cluster: Managers, fault: str) -> None:
    leader = await cluster.leader(cluster.manager_host)
    asked = next(host for host in cluster.hosts if host is not leader)
    streams = await follow(cluster, asked, leader)
    began = time.monotonic()
    if fault == "killed":
        await cluster.signal_manager(leader, SIGKILL)
    elif fault == "handed over":
        await cluster.restart_manager(leader)
    else:
        await leader.cut()

    async def led_by_another() -> bool:
        return "Leader" in {status for name, status in (await cluster.statuses(asked)).items() if name != leader.name}

    await cluster.until(led_by_another, 20)
    print(f"{fault}: another leads after {time.monotonic() - began:.1f} s")
    said = {name: await went(cluster, asked, stream) for name, stream in streams.items()}
    for name, how in said.items():
        print(f"{fault}: {name} {how}")
    if fault == "killed":
        await cluster.start_manager(leader)
    await leader.mend()
    for stream in streams.values():
        stream.kill()
    await cluster.all_reachable()
    assert "hangs" not in said.values(), said
    assert all(how.startswith("goes on") or WORDS.search(how) for how in said.values()), said
    assert not [how for how in said.values() if how.startswith("ended with 0")], "taken for whole"
