"""Whether this host can have the data plane, and if not, what it lacks."""

from __future__ import annotations

import os
import shutil

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

_TOOLS = {"nft": "nftables", "conntrack": "conntrack", "iptables": "iptables", "iptables-restore": "iptables"}
_PROBE = "orc-probe"
_PROBE_VNI = 16_000_000


async def lacking(docker_host: str) -> tuple[str, ...]:
    """Name the rights or tools that the data plane needs and this host has not, one sentence each."""
    found = []
    if not docker_host.startswith("unix://"):
        found.append(f"the engine at {docker_host} is another host's: networks do not span hosts")
    if os.geteuid() != 0:
        found.append("the worker does not run as root: networks do not span hosts, no port is published in the mesh")
        return tuple(found)
    found += [
        f"the command {tool} is not installed (Debian package {package}): networks do not span hosts"
        for tool, package in _TOOLS.items()
        if shutil.which(tool) is None
    ]
    refusal = await _vxlan_refusal()
    if refusal:
        found.append(f"the kernel makes no VXLAN link ({refusal}): networks do not span hosts")
    return tuple(found)


async def _vxlan_refusal() -> str:
    """Make a VXLAN link and remove it; return why that did not work, empty if it did."""
    try:
        async with AsyncIPRoute() as route:
            await route.link("add", ifname=_PROBE, kind="vxlan", vxlan_id=_PROBE_VNI, vxlan_port=1, vxlan_learning=0)
            (index,) = await route.link_lookup(ifname=_PROBE)
            await route.link("del", index=index)
    except (NetlinkError, OSError) as error:
        return str(error)
    return ""
