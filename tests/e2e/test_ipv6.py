"""IPv6 on two real engines and a client outside: published ports, dual-stack networks, their isolation, and the end.

One cluster serves all tests of this file; the last one takes a host out of it.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.cluster import Cluster
from tests.lab import Host

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

PORT = 8080
REPAIR_SECONDS = 2.0
CURL_REFUSED = 7


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def swarm() -> AsyncIterator[Cluster]:
    """A cluster with `web` on the last host and `asker` on all, both in `blue`, and `spy` in `red` on all."""
    async with Cluster("ipv6", hosts=2) as cluster:
        await cluster.swarm("network", "create", "-d", "overlay", "--ipv6", "blue")
        await cluster.swarm("network", "create", "-d", "overlay", "--ipv6", "--subnet", "fd00:beef::/64", "red")
        last = ("--constraint", f"node.hostname=={cluster.hosts[-1].name}")
        ports = ("-p", f"{PORT}:80", "-p", f"{PORT}:80/udp")
        await create(cluster, "web", "--replicas", "1", "--network", "blue", *ports, *last)
        await create(cluster, "asker", "--mode", "global", "--network", "blue")
        await create(cluster, "spy", "--mode", "global", "--network", "red")
        for name, count in (("web", 1), ("asker", 2), ("spy", 2)):
            await cluster.running(name, count)
        yield cluster


async def create(swarm: Cluster, name: str, *options: str) -> None:
    await swarm.swarm("service", "create", "-q", "--detach", "--no-resolve-image", "--name", name, *options, "web:lab")


async def box_of(swarm: Cluster, host: Host, service: str) -> dict[str, Any]:
    label = "com.docker.swarm.service.name"
    found = await swarm.containers(host, everything=False)
    (one,) = [each for each in found if each["Config"]["Labels"][label] == service]
    return one


def address_in(box: dict[str, Any], network: str) -> str:
    (found,) = [end["GlobalIPv6Address"] for name, end in box["NetworkSettings"]["Networks"].items() if network in name]
    return found


async def ask_from(host: Host, box: dict[str, Any], where: str, patience: int = 3) -> dict[str, Any] | None:
    """Ask from inside a container; None when nobody answers."""
    url = f"http://{where}/"
    answer = await host.run(
        "docker", "exec", box["Id"], "wget", "-q", "-T", str(patience), "-O", "-", url, check=False
    )
    return json.loads(answer.stdout) if answer.returncode == 0 else None


async def test_every_host_answers_over_ipv6_and_the_container_sees_the_clients_address(swarm: Cluster):
    web = await box_of(swarm, swarm.hosts[-1], "web")
    for host in swarm.hosts:
        url = f"http://[{host.ip6}]:{PORT}/"
        answer = json.loads((await swarm.lab.client.run("curl", "-gsS", "-m", "3", url)).stdout)
        assert (answer["host"], answer["client"]) == (web["Config"]["Hostname"], short(swarm.lab.client.ip6)), host.name


def short(address: str) -> str:
    import ipaddress

    return str(ipaddress.ip_address(address))


async def test_containers_of_two_hosts_reach_each_other_by_address_and_name(swarm: Cluster):
    web = await box_of(swarm, swarm.hosts[-1], "web")
    asker = await box_of(swarm, swarm.boss, "asker")
    for where in (f"[{address_in(web, 'blue')}]",):
        answer = await ask_from(swarm.boss, asker, where)
        assert answer is not None, where
        assert (answer["host"], answer["client"]) == (web["Config"]["Hostname"], address_in(asker, "blue"))
