"""The addresses and routes that this host has, to choose what to advertise and what not to use."""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import TypeAlias

from pyroute2 import IPRoute

from common.errors import InvalidArgument

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_CONTAINER_LINKS = ("docker", "br-", "veth", "oc-", "orc-", "vx")


def addresses() -> dict[str, str]:
    """Return the host's own global IPv4 addresses and the link of each, those of container bridges left out."""
    with IPRoute() as route:
        links = {link["index"]: link.get_attr("IFLA_IFNAME") for link in route.get_links()}
        found = {}
        for entry in route.get_addr(family=2):
            name = links.get(entry["index"], "")
            address = entry.get_attr("IFA_LOCAL") or entry.get_attr("IFA_ADDRESS")
            if entry["scope"] == 0 and not name.startswith(_CONTAINER_LINKS):
                found[str(address)] = name
        return found


def is_own(address: str) -> bool:
    """Whether this host has an address, of whichever family and link."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            return error.errno != errno.EADDRNOTAVAIL
    return True


def routed_networks() -> list[tuple[Network, str]]:
    """Return the networks that this host has routes to, and the link of each; the default route is left out."""
    with IPRoute() as route:
        links = {link["index"]: link.get_attr("IFLA_IFNAME") for link in route.get_links()}
        found: list[tuple[Network, str]] = []
        for entry in route.get_routes(family=2, table=254):
            destination = entry.get_attr("RTA_DST")
            if destination is not None:
                network = ipaddress.ip_network(f"{destination}/{entry['dst_len']}")
                found.append((network, str(links.get(entry.get_attr("RTA_OIF"), "?"))))
        return found


def choose_advertised_address() -> str:
    """Return the host's one address.

    Raises:
        InvalidArgument: it has none or several; the message lists them.

    """
    found = addresses()
    if len(found) == 1:
        return next(iter(found))
    if not found:
        raise InvalidArgument(
            "this host has no address that other hosts could reach: give one with --advertise-addr IP"
        )
    listed = ", ".join(f"{address} on {link}" for address, link in sorted(found.items()))
    raise InvalidArgument(f"this host has several addresses ({listed}): choose one with --advertise-addr IP")
