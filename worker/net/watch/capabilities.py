"""Whether this host can have the data plane, and if not, what it lacks."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from worker.host import command
from worker.net.apply.wireguard import KERNEL, USERSPACE

_TOOLS = {"nft": "nftables", "conntrack": "conntrack", "iptables": "iptables", "iptables-restore": "iptables"}
_PROBE = "orc-probe"
_PROBE_VNI = 16_000_000
_NFT_PROBE = """
table netdev orc-probe {
    chain probe {
        type filter hook ingress device "lo" priority filter; policy accept;
        fwd ip to 127.0.0.1 device "lo"
    }
}
table ip orc-probe {
    chain probe {
        dup to 127.0.0.1
    }
}
"""
_TUN = Path("/dev/net/tun")


@dataclass(frozen=True, slots=True)
class Encryption:
    """What carries encrypted networks: KERNEL, USERSPACE, or nothing, and then what is missing, in sentences."""

    kind: str = ""
    lacks: tuple[str, ...] = ()


NO_ENCRYPTION = Encryption()


async def lacking(docker_host: str) -> tuple[str, ...]:
    """Return the rights and tools that the data plane needs and this host lacks, a sentence each."""
    found = []
    if not docker_host.startswith("unix://"):
        found.append(f"the engine at {docker_host} is another host's: networks do not span hosts")
    if os.geteuid() != 0:
        found.append(
            "the worker does not run as root: networks do not span hosts, and no port is published in the mesh"
        )
        return tuple(found)
    found += [
        f"the command {tool} is not installed (Debian package {package}): networks do not span hosts"
        for tool, package in _TOOLS.items()
        if shutil.which(tool) is None
    ]
    refusal = await _vxlan_refusal()
    if refusal:
        found.append(f"the kernel makes no VXLAN link ({refusal}): networks do not span hosts")
    refusal = await _nft_refusal() if shutil.which("nft") else ""
    if refusal:
        found.append(f"the kernel's nftables have no fwd or no dup ({refusal}): networks do not span hosts")
    return tuple(found)


async def encryption() -> Encryption:
    """Choose what carries encrypted networks, on a host that can have the data plane."""
    if shutil.which("wg") is None:
        return _unable("the command wg is not installed (Debian package wireguard-tools)")
    refusal = await _refusal(kind=KERNEL)
    if not refusal:
        return Encryption(KERNEL)
    if shutil.which(USERSPACE) is None:
        return _unable(f"the kernel has no WireGuard ({refusal}), and Debian's package {USERSPACE} is not installed")
    if not _has_tun():
        return _unable(f"the kernel has no WireGuard ({refusal}), and {_TUN} is not there for {USERSPACE}")
    return Encryption(USERSPACE)


def _unable(why: str) -> Encryption:
    return Encryption(lacks=(f"{why}: no task of an encrypted network runs here",))


def _has_tun() -> bool:
    return _TUN.exists()


async def _vxlan_refusal() -> str:
    return await _refusal(kind="vxlan", vxlan_id=_PROBE_VNI, vxlan_port=1, vxlan_learning=0)


async def _nft_refusal() -> str:
    """Have the kernel check what the mesh's way back needs, and set nothing (NFT_FWD_NETDEV, NFT_DUP_IPV4)."""
    output = await command.run("nft", "--check", "-f", "-", stdin=_NFT_PROBE)
    return output.errors.partition("\n")[0] if output.code else ""


async def _refusal(**link: Any) -> str:
    """Make a link and remove it; return why that did not work, empty if it did."""
    try:
        async with AsyncIPRoute() as route:
            await route.link("add", ifname=_PROBE, **link)
            (index,) = await route.link_lookup(ifname=_PROBE)
            await route.link("del", index=index)
    except (NetlinkError, OSError) as error:
        return str(error)
    return ""
