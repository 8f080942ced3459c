"""What a host is like now, as its kernel says: looked at only when it may have changed."""

from __future__ import annotations

from dataclasses import replace

from worker.intake.words import Id
from worker.intake.world import NetworkWorld
from worker.net.apply.host import Host
from worker.net.apply.netlink import Kernel, Seen
from worker.net.plan.topology import HostFacts
from worker.net.watch import facts as host_facts


class HostSurvey:
    """The facts that plans are made from, and the last look at the kernel that they come from.

    advertised: the address that the operator gave for this host, or empty.
    encryption: what carries encrypted networks here, empty where nothing does.
    ipv6_refusal: why containers have no IPv6 here, empty if they have.
    """

    def __init__(self, node_id: Id, advertised: str, encryption: str) -> None:
        self.facts = HostFacts(node_id=node_id)
        self.seen = Seen()
        self.ipv6_refusal = host_facts.ipv6_refusal()
        self._node_id = node_id
        self._advertised = advertised
        self._encryption = encryption
        self._peers: object = None
        self._due = True

    def expire(self) -> None:
        """Have the next `take` look again."""
        self._due = True

    async def take(self, host: Host, kernel: Kernel, world: NetworkWorld) -> Seen | None:
        """Look at the host if it, or who its peers are, may have changed since the last time; else return None."""
        if not self._due and world.peers is self._peers:
            return None
        self._due, self._peers = False, world.peers
        seen = await kernel.look()
        await host.wireguard.look(seen.links)
        found = host_facts.facts(self._node_id, seen, world.peers.values(), self._advertised, self.facts.address)
        self.ipv6_refusal = host_facts.ipv6_refusal(found.mtu) or host.ipv6_refusal
        self.facts = replace(
            found, encrypts=bool(self._encryption), answered=host.wireguard.answered, ipv6=not self.ipv6_refusal
        )
        self.seen = seen
        return seen
