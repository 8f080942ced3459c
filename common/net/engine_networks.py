"""What the cluster's networks are called on the engines, as managers and workers must agree on."""

from __future__ import annotations

from typing import Protocol

# Docker gives the network whose name sorts first the default route, so this one's must sort before all of ours.
GATEWAY_NETWORK = "00-orc-gw"
# What every engine has of itself: nothing is allocated for it, and a service names it as its target by this name.
PREDEFINED_NETWORKS = ("bridge", "host", "none")


class Named(Protocol):
    """A network of the cluster."""

    @property
    def id(self) -> str: ...

    @property
    def name(self) -> str: ...


def engine_network(network: Named) -> str:
    """Return the Docker network's name: two networks of one name may overlap in time, the old one's end and the new."""
    return f"orc-{network.name}-{network.id[:5]}"
