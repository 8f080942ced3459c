"""Networks of the cluster."""

from __future__ import annotations

from common.model.container import DriverConfig
from common.model.naming import Model, Specified

ENCRYPTED = "encrypted"
MTU = "com.docker.network.driver.mtu"
_DIGITS = 6


class IpamConfig(Model):
    subnet: str = ""
    range: str = ""
    gateway: str = ""


class IpamOptions(Model):
    driver: DriverConfig = DriverConfig()
    configs: tuple[IpamConfig, ...] = ()


class NetworkSpec(Model):
    """What a user asks for. `scope` is `swarm` for networks of the cluster.

    `asked_driver` is the driver by whose name a client asked for the network and finds it again, where that is not the
    driver that it has.
    """

    name: str = ""
    labels: dict[str, str] = {}
    driver: DriverConfig = DriverConfig()
    ipv6_enabled: bool = False
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    ipam: IpamOptions = IpamOptions()
    scope: str = "swarm"
    asked_driver: str = ""

    @property
    def encrypted(self) -> bool:
        """Whether what goes from host to host is encrypted: the driver has an option of that name, whatever it says."""
        return ENCRYPTED in self.driver.options

    @property
    def mtu(self) -> int:
        """The largest packets that containers are to send, in bytes; 0 where that is left to the hosts."""
        asked = self.driver.options.get(MTU, "")
        return int(asked) if asked.isdecimal() and len(asked) <= _DIGITS else 0


class Network(Specified):
    """A network as stored.

    `subnets` are the ranges in use (CIDR), chosen from the pool when the spec names none. `leases` gives each node
    that needs the network its own part of the first subnet: node id → CIDR. `vni` numbers the network for the data
    plane.
    """

    spec: NetworkSpec = NetworkSpec()
    subnets: tuple[IpamConfig, ...] = ()
    leases: dict[str, str] = {}
    vni: int = 0

    @property
    def name(self) -> str:
        return self.spec.name
