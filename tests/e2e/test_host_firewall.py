"""A host with a firewall of its own, which lets in what the administrator said: what is missing is told, and enough."""

import re
from dataclasses import dataclass, field

import pytest

from tests.e2e.ci import long
from tests.e2e.cluster import Cluster
from tests.lab import Host

pytestmark = [pytest.mark.timeout(120), long]

FIREWALL = """
table inet filter {
    chain input {
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        iif lo accept
        meta l4proto { icmp, icmpv6 } accept
        tcp dport 22 accept
    }
    chain forward {
        type filter hook forward priority filter + 10; policy accept;
        ct state established,related accept
        ct status dnat accept
        iifname "oc-*" accept
        reject
    }
}
"""
OPEN = """
add rule inet filter input iifname "oc-*" meta l4proto {{ tcp, udp }} th dport 53 accept
add rule inet filter input ip saddr {peer} udp dport 4789 accept
"""
FORWARD = """
insert rule inet filter forward iifname "orc-*" accept
"""


@dataclass
class Found:
    """Whether a container had a name answered, how many of a client's requests were, and what the node says.

    answers: of 12 through the node itself; `through_peer`: of 12 through the other one.
    """

    named: bool = False
    answers: int = 0
    through_peer: int = 0
    told: list[str] = field(default_factory=list)


async def test_what_a_firewall_drops_is_told_until_it_is_let_through() -> None:
    async with Cluster("firewall", hosts=2) as cluster:
        first, second = cluster.hosts
        await cluster.swarm("network", "create", "-d", "overlay", "blue")
        options = ("--detach", "--no-resolve-image", "--mode", "global", "-p", "8080:80", "--network", "blue")
        await cluster.swarm("service", "create", "-q", "--name", "web", *options, "web:lab")
        await cluster.running("web", 2)
        box = (await cluster.container_of(second, "web"))["Id"]
        await second.run("nft", "-f", "-", input=FIREWALL)
        found = Found()

        async def answers(host: Host) -> int:
            client = ("curl", "-s", "--max-time", "0.5", "-H", "Connection: close", f"http://{host.ip}:8080/?[1-12]")
            return (await cluster.lab.client.run(*client, check=False)).stdout.count('"host"')

        async def look() -> Found:
            """Let a container ask for a name, and a client, through both hosts, for containers of both."""
            asked = await second.run(
                "docker", "exec", box, "wget", "-q", "-T", "1", "-O", "-", "http://web/", check=False
            )
            found.answers, found.through_peer = await answers(second), await answers(first)
            nodes = {node["Description"]["Hostname"]: node for node in await cluster.get("/nodes")}
            lacks = nodes[second.name]["Description"].get("Lacks") or []
            found.named = not asked.returncode
            found.told = [sentence for sentence in lacks if "firewall drops" in sentence]
            return found

        async def dropped() -> bool:
            now = await look()
            return not now.named and now.answers < 12 and len(now.told) == 2

        async def forwarding_dropped() -> bool:
            """As firewalld does: what has been redirected passes, and what comes from bridges that Docker told of."""
            now = await look()
            return now.named and now.through_peer < 12 and any("oc-* and orc-*" in sentence for sentence in now.told)

        async def let_through() -> bool:
            return await look() == Found(named=True, answers=12, through_peer=12)

        await cluster.until(dropped, 40, lambda: str(found))
        assert {re.search(r"port \d+", sentence)[0] for sentence in found.told} == {"port 53", "port 4789"}
        await second.run("nft", "-f", "-", input=OPEN.format(peer=first.ip))
        await cluster.until(forwarding_dropped, 40, lambda: str(found))
        await second.run("nft", "-f", "-", input=FORWARD)
        await cluster.until(let_through, 40, lambda: str(found))
