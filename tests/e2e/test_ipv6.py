"""IPv6 on two real engines and a client outside: published ports, dual-stack networks, their isolation, and the end.

One cluster and its three services serve all tests of this file; the last one takes a host out of it.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import IPv4Address, IPv6Network, ip_address
from itertools import product
from typing import Any

import pytest
import pytest_asyncio

from common.net.addressing import with_ipv4
from tests.e2e.ci import long
from tests.e2e.cluster import TOO_LARGE, Cluster, ask_from, udp
from tests.e2e.test_containers import IMAGE, Docker
from tests.lab import Host

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120), pytest.mark.alone]

PORT = 8080
BOTH, UDP_ONLY = f"{PORT}:80", f"{PORT}:80/udp"
LOCAL = f"[::1]:{PORT + 1}:80"
REPAIR_SECONDS = 2.0
RED = "fd00:beef::/64"
CURL_REFUSED = 7


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def swarm() -> AsyncIterator[Cluster]:
    """A cluster with `web` on its last host alone, `asker` and `spy` on both; the first two in `blue`."""
    async with Cluster("ipv6", hosts=2) as cluster:
        await cluster.swarm("network", "create", "-d", "overlay", "--ipv6", "--attachable", "blue")
        await cluster.swarm("network", "create", "-d", "overlay", "--ipv6", "--subnet", RED, "red")
        last = ("--constraint", f"node.hostname=={cluster.hosts[-1].name}")
        await create(cluster, "web", "--network", "blue", "-p", BOTH, "-p", UDP_ONLY, "-p", LOCAL, *last)
        await create(cluster, "asker", "--mode", "global", "--network", "blue")
        await create(cluster, "spy", "--mode", "global", "--network", "red")
        for name, count in (("web", 1), ("asker", 2), ("spy", 2)):
            await cluster.running(name, count)
        await cluster.until(lambda: knows_the_port(cluster), 10)
        yield cluster


async def create(swarm: Cluster, name: str, *options: str) -> None:
    await swarm.swarm("service", "create", "-q", "--detach", "--no-resolve-image", "--name", name, *options, "web:lab")


async def knows_the_port(swarm: Cluster) -> bool:
    """Whether every host has the rules by which it answers."""
    maps = [await host.run("nft", "list", "map", "ip6", "orc-services", "mesh", check=False) for host in swarm.hosts]
    return all("m_tcp_8080" in each.stdout for each in maps)


def address_in(box: dict[str, Any], network: str) -> str:
    """Return a container's IPv6 address in a network of the cluster, or in the hosts' gateway network."""
    networks = box["NetworkSettings"]["Networks"]
    (found,) = [end["GlobalIPv6Address"] for name, end in networks.items() if network in name]
    return found


async def ask(host: Host, where: str, patience: int = 3) -> dict[str, Any]:
    return json.loads((await host.run("curl", "-gsS", "-m", str(patience), f"http://{where}/")).stdout)


async def virtual_address(swarm: Cluster, service: str) -> str:
    """Return a service's virtual IPv6 address in its only network, worked out from the other one."""
    (vip,) = await swarm.virtual_addresses(service)
    ranges = (await swarm.get(f"/networks/{vip['NetworkID']}"))["IPAM"]["Config"]
    (prefix,) = [IPv6Network(each["Subnet"]) for each in ranges if ":" in each["Subnet"]]
    return str(with_ipv4(prefix, IPv4Address(vip["Addr"].partition("/")[0])))


async def test_every_host_answers_on_ports_and_containers_see_clients(swarm: Cluster):
    hostname = (await swarm.container_of(swarm.hosts[-1], "web"))["Config"]["Hostname"]
    client = str(ip_address(swarm.lab.client.ip6))
    for host in swarm.hosts:
        answer = await ask(swarm.lab.client, f"[{host.ip6}]:{PORT}")
        assert (answer["host"], answer["client"]) == (hostname, client), host.name
        for sent in ("hello", TOO_LARGE):
            name, seen, _, echoed = (await udp(swarm.lab.client, host.ip6, PORT, sent)).split()
            assert (name, seen, echoed) == (hostname, client, sent), host.name
        asker = await swarm.container_of(host, "asker")
        assert (await ask(host, f"[::1]:{PORT}"))["host"] == hostname, host.name
        assert (await udp(host, "::1", PORT)).split()[0] == hostname, host.name
        assert (await ask(host, f"[::1]:{PORT + 1}"))["host"] == hostname, host.name
        for other, address in ((host, "127.0.0.1"), (swarm.lab.client, f"[{host.ip6}]")):
            refused = await other.run("curl", "-gsS", "-m", "3", f"http://{address}:{PORT + 1}/", check=False)
            assert refused.returncode == CURL_REFUSED, f"{address}: {refused.stderr}"
        for other in swarm.hosts:
            assert (await ask(host, f"[{other.ip6}]:{PORT}"))["host"] == hostname, f"{host.name} to {other.name}"
            assert await ask_from(host, asker, f"http://[{other.ip6}]:{PORT}/"), (
                f"from a container of {host.name} to {other.name}"
            )


DROPS = """
table ip6 wall {
    chain forward {
        type filter hook forward priority filter + 10; policy accept;
        ct state established,related accept
        iifname "orc-*" drop
    }
}
"""


async def firewall_is_told_of(
    swarm: Cluster, host: Host, family: str, rules: str, ask: Callable[[], Awaitable[None]], words: str
) -> None:
    """Have a host drop by the rules of a table `wall`: its node says so, in these words, until they are gone.

    `ask` sends what they drop.
    """

    async def told() -> list[str]:
        await ask()
        lacks = (await swarm.nodes())[host.name]["Description"].get("Lacks") or []
        return [sentence for sentence in lacks if "firewall" in sentence]

    async def dropped() -> bool:
        return [words in sentence for sentence in await told()] == [True]

    async def let_through() -> bool:
        return not await told()

    assert await let_through()
    await host.run("nft", "-f", "-", input=rules)
    await swarm.until(dropped, 30)
    await host.run("nft", "delete", "table", family, "wall")
    await swarm.until(let_through, 30)


@long
async def test_a_firewall_that_drops_what_is_forwarded_is_told_of(swarm: Cluster):
    """One that judges IPv6 alone: what goes over IPv4 says nothing of it."""
    first, last = swarm.hosts
    asker, other = [await swarm.container_of(host, "asker") for host in swarm.hosts]
    ipv4 = next(end["IPAddress"] for name, end in other["NetworkSettings"]["Networks"].items() if "blue" in name)

    async def ask() -> None:
        assert await ask_from(first, asker, f"http://{ipv4}/", 1)
        await ask_from(first, asker, f"http://[{address_in(other, 'blue')}]/", 1)

    await firewall_is_told_of(swarm, last, "ip6", DROPS, ask, "send to this host's containers over IPv6")


NO_NEIGHBOURS = """
table inet wall {
    chain input {
        type filter hook input priority filter; policy accept;
        iifname "oc-*" icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } drop
    }
}
"""


@long
async def test_a_firewall_that_drops_neighbours_is_told_of(swarm: Cluster):
    """One that knows nothing of ICMPv6: containers of a dual-stack network find their gateway no longer."""
    first, last = swarm.hosts
    asker, other = [await swarm.container_of(host, "asker") for host in swarm.hosts]

    async def ask() -> None:
        await last.run("ip", "-6", "neigh", "flush", "all")  # neighbours are looked for anew
        await ask_from(first, asker, f"http://[{address_in(other, 'blue')}]/", 1)

    await firewall_is_told_of(swarm, last, "inet", NO_NEIGHBOURS, ask, "nd-neighbor-solicit")


STEADY = """
import socket, sys
asked = {}
for address in sys.argv[2:]:
    asked[address] = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    asked[address].connect((address, int(sys.argv[1])))
    asked[address].settimeout(0.2)
refused = set()
while asked:
    for address, client in [*asked.items()]:
        try:
            client.send(b"x")
            client.recv(2000)
            asked.pop(address).close()
        except ConnectionRefusedError:
            refused.add(address)
        except TimeoutError:
            continue
    if len(refused) == len(sys.argv[2:]):
        print("all refused", flush=True)
"""


async def test_a_hosts_own_udp_clients_are_refused_without_backends(swarm: Cluster):
    """They send all the time: what the kernel remembers must not keep them from the first one."""
    host = swarm.manager_host

    async def no_backends() -> bool:
        return "m_udp" not in (await host.run("nft", "list", "map", "ip", "orc-services", "mesh")).stdout

    await swarm.swarm("service", "scale", "--detach", "web=0")
    try:
        await swarm.until(no_backends, 10)
        addresses = ("127.0.0.1", "::1", host.ip, host.ip6)
        clients = await host.spawn(sys.executable, "-c", STEADY, str(PORT), *addresses, name="steady")
        await clients.logged("all refused", 10)
    finally:
        await swarm.swarm("service", "scale", "--detach", "web=1")
    await swarm.running("web", 1)
    assert await clients.wait(10) == 0
    await swarm.until(lambda: knows_the_port(swarm), 10)


async def test_large_bodies_cross_hosts_both_ways(swarm: Cluster):
    size = 1_000_000
    url = f"http://[{swarm.manager_host.ip6}]:{PORT}"
    got = await swarm.lab.client.run("sh", "-c", f"curl -gsS -m 10 {url}/bytes/{size} | wc -c")
    assert int(got.stdout) == size
    sent = f"head -c {size} /dev/zero | curl -gsS -m 10 --data-binary @- {url}/"
    assert json.loads((await swarm.lab.client.run("sh", "-c", sent)).stdout)["body"] == size
    asker = await swarm.container_of(swarm.manager_host, "asker")
    fetch = f"wget -q -O - http://[{await virtual_address(swarm, 'web')}]/bytes/{size} | wc -c"
    assert int(await swarm.manager_host.docker("exec", asker["Id"], "sh", "-c", fetch)) == size


async def test_containers_on_two_hosts_reach_each_other_in_every_way(swarm: Cluster):
    web = await swarm.container_of(swarm.hosts[-1], "web")
    virtual = await virtual_address(swarm, "web")
    for host in swarm.hosts:
        asker = await swarm.container_of(host, "asker")
        for where in (f"[{address_in(web, 'blue')}]", f"[{virtual}]"):
            answer = await ask_from(host, asker, f"http://{where}/")
            assert answer is not None, f"{where} from {host.name}"
            assert (answer["host"], answer["client"]) == (web["Config"]["Hostname"], address_in(asker, "blue")), where
        task = address_in(web, "blue")
        for name, address in (("web", virtual), ("tasks.web", task), ("1.web", task)):
            listed = await host.run("docker", "exec", asker["Id"], "nslookup", "-type=aaaa", name)
            assert address in listed.stdout, listed.stdout
        both = await ask_from(host, asker, f"http://[{await virtual_address(swarm, 'asker')}]/")
        assert both is not None, "itself, or the other one"


async def test_plain_containers_have_addresses_of_both_families(swarm: Cluster):
    """One is made with an address of its user's choice, one is connected later and taken out again."""
    docker, last = Docker(swarm), swarm.hosts[-1]
    web, asker = await swarm.container_of(last, "web"), await swarm.container_of(swarm.manager_host, "asker")
    address = str(ip_address(address_in(asker, "blue")) + 50)
    here, there = (("--label", f"swarm.x.constraint=node.hostname=={host.name}") for host in (swarm.manager_host, last))
    await docker("run", "-d", "--name", "box", "--network", "blue", "--ip6", address, *here, IMAGE, "sleep", "999")
    await docker("run", "-d", "--name", "late", *there, "web:lab")
    box = json.loads(await docker("inspect", "box"))[0]
    assert address_in(box, "blue") == address
    (blue,) = json.loads(await docker("network", "inspect", "blue"))
    assert blue["Containers"][box["Id"]]["IPv6Address"] == f"{address}/64"
    answer = await ask_from(swarm.manager_host, box, f"http://[{address_in(web, 'blue')}]/")
    assert answer is not None
    assert answer["client"] == address
    listed = await last.run("docker", "exec", (await swarm.container_of(last, "asker"))["Id"], "nslookup", "box")
    assert address in listed.stdout, listed.stdout

    await docker("network", "connect", "blue", "late")
    joined = f"http://[{address_in(json.loads(await docker('inspect', 'late'))[0], 'blue')}]/"
    assert await ask_from(swarm.manager_host, box, joined) is not None
    await docker("network", "disconnect", "blue", "late")
    assert await ask_from(swarm.manager_host, box, joined, 1) is None
    await docker("rm", "-f", "box", "late")


async def test_networks_are_isolated(swarm: Cluster):
    web = await swarm.container_of(swarm.hosts[-1], "web")
    targets = (address_in(web, "blue"), address_in(web, "00-orc-gw"), await virtual_address(swarm, "web"))
    spies = [(host, await swarm.container_of(host, "spy")) for host in swarm.hosts]
    asked = [ask_from(host, spy, f"http://[{target}]/", 1) for (host, spy), target in product(spies, targets)]
    assert await asyncio.gather(*asked) == [None] * len(spies) * len(targets)
    for host, spy in spies:
        assert await ask_from(host, spy, f"http://[{await virtual_address(swarm, 'spy')}]/") is not None


async def test_what_others_change_is_repaired(swarm: Cluster):
    """A network's bridge is deleted, and with it what containers ask; so are all rules, and the routes."""
    host, web = swarm.manager_host, await swarm.container_of(swarm.hosts[-1], "web")
    asker = await swarm.container_of(host, "asker")
    for damage in ("nft flush ruleset", "ip -6 route flush proto 111; ip -6 rule del prio 20002"):
        before = await state(host)
        await host.run("sh", "-c", damage, check=False)

        async def whole(expected: str = before) -> bool:
            return await state(host) == expected

        assert await swarm.until(whole, 5) < REPAIR_SECONDS, damage
    assert await ask_from(host, asker, f"http://[{address_in(web, 'blue')}]/") is not None


async def state(host: Host) -> str:
    script = """
        for table in "ip6 orc" "ip6 orc-services" "bridge orc"; do
            nft -s list table $table | tr ',' '\\n' | sed 's/elements = //; s/[{}]//; s/^[ \\t]*//; s/ *$//' | sort
        done
        ip -6 route show table all proto 111 | sort; ip -6 rule show proto 111; ip -6 -br addr show orc-vx
    """
    return (await host.run("sh", "-c", script, check=False)).stdout


@long
async def test_a_host_whose_link_is_too_small_for_ipv6_goes_on_without(swarm: Cluster):
    """As one that is reached through a VPN: the kernel has no IPv6 on links below 1280 bytes."""
    host = swarm.hosts[0]
    asker, other = [await swarm.container_of(each, "asker") for each in swarm.hosts]

    async def lacks() -> list[str]:
        said = (await swarm.nodes())[host.name]["Description"].get("Lacks") or []
        return [sentence for sentence in said if "IPv6" in sentence and "network" not in sentence]

    async def lacks_ipv6() -> bool:
        return bool(await lacks())

    async def reaches_over_ipv6() -> bool:
        return not await lacks() and bool(await ask_from(host, asker, f"http://[{address_in(other, 'blue')}]/", 1))

    assert await reaches_over_ipv6()
    await host.run("ip", "link", "set", "eth0", "mtu", "1300")
    await swarm.until(lacks_ipv6, 10)
    (sentence,) = await lacks()
    assert "the link to the other nodes has an MTU of 1300 bytes, and IPv6 in the tunnel needs 1330" in sentence
    # What has no IPv6 starts there, though the network that leads out of the host has some still: it is in use.
    await swarm.swarm("network", "create", "-d", "overlay", "green")
    await create(swarm, "small", "--mode", "global", "--network", "green", "-p", f"{PORT + 2}:80")
    await swarm.running("small", 2)
    boxes = [await swarm.container_of(each, "small") for each in swarm.hosts]
    for each, mine, others in zip(swarm.hosts, boxes, reversed(boxes), strict=True):
        (address,) = [
            end["IPAddress"] for name, end in others["NetworkSettings"]["Networks"].items() if "green" in name
        ]
        assert await ask_from(each, mine, f"http://{address}/"), each.name
        assert (await ask(swarm.lab.client, f"{each.ip}:{PORT + 2}"))["host"]
    await swarm.swarm("service", "rm", "small")
    await host.run("ip", "link", "set", "eth0", "mtu", "1500")
    await swarm.until(reaches_over_ipv6, 20)
    assert (await ask(swarm.lab.client, f"[{host.ip6}]:{PORT}"))["host"]


async def test_leaving_leaves_nothing(swarm: Cluster):
    """The last test: the host is gone from the cluster afterwards."""
    host = swarm.hosts[-1]
    await swarm.workers[host.name].stop()
    await host.run("swarm-worker", "leave")
    inventory = """
        ip -6 rule; ip -6 route show table all | grep -e orc -e oc- -e 'proto 111'; nft list tables | grep orc
        ip -6 neigh show nud permanent; sysctl net.ipv6.conf.all.forwarding
    """
    found = (await host.run("sh", "-c", inventory, check=False)).stdout
    assert found.split("\n")[-2] == "net.ipv6.conf.all.forwarding = 0"
    assert not [word for word in ("orc", "oc-", "proto 111", "fwmark", "PERMANENT") if word in found], found
