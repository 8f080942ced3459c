"""The wire between the hosts: a bridge in a network namespace of its own, one port per host."""

import asyncio
from ipaddress import IPv4Address

from tests.lab.namespaces import Namespaces
from tests.lab.process import run

_BOOT = "ip link add br0 type bridge mcast_snooping 0 && ip addr add {gateway}/24 dev br0 && ip link set br0 up"

# What may pass at once. The kernel hands on packets of up to 64 KiB, which it cuts late or never.
_BURST = "512kb"


class Switch:
    """Joins hosts on one Ethernet segment. No packet of it is seen by this machine's own network.

    The bridge has an address, the hosts' gateway and name server: it forwards nothing, so that what goes
    outside is refused at once instead of timing out.
    """

    def __init__(self, namespaces: Namespaces, gateway: str) -> None:
        self._namespaces = namespaces
        self._ip = ("nsenter", f"--net={namespaces.net}", "ip")
        self.gateway = gateway

    @classmethod
    async def make(cls, gateway: str) -> "Switch":
        script = (
            f"set -e; {_BOOT.format(gateway=gateway)}; ip link set lo up; ip route add unreachable default;"
            # Bridged packets would otherwise be tracked, and slowed down, by the switch as well.
            " if [ -e /proc/sys/net/bridge ]; then echo 0 >/proc/sys/net/bridge/bridge-nf-call-iptables; fi;"
            " echo 1 >/proc/sys/net/ipv4/ip_forward; echo up; exec sleep infinity >/dev/null"
        )
        return cls(await Namespaces.make("sh", "-c", script), gateway)

    async def plug(self, port: str, host: Namespaces, ip: str, ip6: str) -> None:
        """Give the host an eth0 with these addresses, wired to the port; its hardware address outlives a reboot."""
        mac = "02:00:" + IPv4Address(ip).packed.hex(":")
        peer = f"peer name eth0 address {mac} netns {host.pid}"
        await self._batch(f"link add {port} type veth {peer}\nlink set {port} master br0 up\n")
        address = (
            f"addr add {ip}/24 dev eth0\naddr add {ip6}/64 dev eth0 nodad\nlink set eth0 up\n"
            f"route add default via {self.gateway}\n"
        )
        await run("nsenter", f"--net={host.net}", "ip", "-batch", "-", input=address)

    async def unplug(self, port: str) -> None:
        """Take the port away, if the kernel has not done so yet: it does some time after the host's end is gone."""
        await run(*self._ip, "link", "del", port, check=False)

    async def set_port(self, port: str, up: bool) -> None:
        """Cut or mend the cable: the host's end sees the carrier go and come."""
        await self._batch(f"link set {port} {'up' if up else 'down'}\n")

    async def limit(self, port: str, host: Namespaces, rate: str) -> None:
        """Let the cable carry no more than this in each direction: bits a second as tc has them, such as `10gbit`."""
        for network, link in ((self._namespaces.net, port), (host.net, "eth0")):
            limit = ("root", "tbf", "rate", rate, "burst", _BURST, "latency", "50ms")
            await run("nsenter", f"--net={network}", "tc", "qdisc", "replace", "dev", link, *limit)

    async def remove(self) -> None:
        await asyncio.shield(self._namespaces.destroy())

    async def _batch(self, commands: str) -> None:
        await run(*self._ip, "-batch", "-", input=commands)
