"""A host whose network cannot be made as planned: its tasks say so, with the tool's own error, and run once it can."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.e2e.ci import long
from tests.e2e.cluster import Cluster

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

# Takes the places of wireguard-go's sockets, until its standard input ends.
OCCUPANT = """
import os, socket, sys
os.makedirs("/var/run/wireguard", exist_ok=True)
places = [f"/var/run/wireguard/orc-wg{number}.sock" for number in (0, 1)]
sockets = [socket.socket(socket.AF_UNIX) for _ in places]
for place, listening in zip(places, sockets):
    listening.bind(place)
    listening.listen()
print("here", flush=True)
sys.stdin.read()
for place in places:
    os.unlink(place)
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def swarm() -> AsyncIterator[Cluster]:
    async with Cluster("net-trouble", hosts=1) as cluster:
        yield cluster


@long
async def test_a_task_without_its_network_says_why_and_runs_later(swarm: Cluster):
    host = swarm.hosts[0]
    kind = (await swarm.swarm("node", "inspect", "-f", "{{.Description.Encryption}}", host.name)).stdout.strip()
    if kind != "wireguard-go":
        pytest.skip(f"encrypted networks are carried by {kind} here, which has no socket that could be taken")
    occupant = await asyncio.create_subprocess_exec(
        *(*host.enter, sys.executable, "-c", OCCUPANT), stdin=PIPE, stdout=PIPE
    )
    assert occupant.stdout is not None
    assert await occupant.stdout.readline() == b"here\n"
    await swarm.swarm("network", "create", "-d", "overlay", "--opt", "encrypted", "secret")
    await swarm.swarm(
        *("service", "create", "-q", "--detach", "--no-resolve-image", "--name", "web"),
        *("--network", "secret", "web:lab"),
    )

    async def says_why() -> bool:
        listed = await swarm.swarm("service", "ps", "--format", "{{.CurrentState}}: {{.Error}}", "web")
        return "Preparing" in listed.stdout and "wireguard-go failed" in listed.stdout and "in use" in listed.stdout

    await swarm.until(says_why, 10.0, swarm.workers[host.name].tail)
    await occupant.communicate(b"")
    await swarm.running("web", 1)
    listed = await swarm.swarm("service", "ps", "--format", "{{.Error}}", "web")
    assert listed.stdout.strip() == ""
