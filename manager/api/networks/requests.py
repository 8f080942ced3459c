"""POST /networks/create: its body, and the network that it asks for. Pure."""

from __future__ import annotations

import ipaddress

import msgspec

from common.errors import InvalidArgument
from common.model.container import DriverConfig
from common.model.naming import Model
from common.model.network import MTU, IpamConfig, IpamOptions, NetworkSpec
from manager.api.errors import Unimplemented, invalid
from manager.api.lookup import check_dns_name

OVERLAY = "overlay"
# What every link must carry (RFC 791, RFC 8200), and the most that an IPv4 packet can have.
SMALLEST_MTU, SMALLEST_MTU6, LARGEST_MTU = 68, 1280, 65535


class IpamPool(Model):
    subnet: str = ""
    ip_range: str = msgspec.field(default="", name="IPRange")
    gateway: str = ""
    auxiliary_addresses: dict[str, str] = {}


class Ipam(Model):
    driver: str = ""
    options: dict[str, str] = {}
    config: tuple[IpamPool, ...] = ()


class ConfigFrom(Model):
    network: str = ""


class NetworkCreate(Model):
    """The body, in the engine's shape (which is not that of the stored spec)."""

    name: str = ""
    driver: str = ""
    scope: str = ""
    enable_ipv4: bool | None = None
    enable_ipv6: bool = False
    ipam: Ipam | None = None
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_only: bool = False
    config_from: ConfigFrom | None = None
    options: dict[str, str] = {}
    labels: dict[str, str] = {}


def network_spec(body: NetworkCreate) -> tuple[NetworkSpec, str]:
    """Return the spec that a request asks for, and a warning when it became something else than was said.

    Raises:
        EngineError, InvalidArgument: 400; the message names what is wrong.
        Unimplemented: 501; a kind of network that the cluster does not have.

    """
    if not body.name.strip():
        raise invalid("invalid name: ")
    check_dns_name(body.name)
    if body.config_only or (body.config_from is not None and body.config_from.network):
        raise Unimplemented("configuration-only networks are not supported: give the network's own options")
    if body.enable_ipv4 is False:
        raise Unimplemented("networks without IPv4 are not supported: with --ipv6 a network has both")
    driver, warning = _driver(body)
    ipam = _ipam(body.ipam)
    _check_mtu(body)
    spec = NetworkSpec(
        name=body.name,
        labels=body.labels,
        driver=DriverConfig(name=driver, options=body.options),
        ipv6_enabled=body.enable_ipv6,
        internal=body.internal,
        attachable=body.attachable or bool(warning),
        ingress=body.ingress,
        ipam=ipam,
        asked_driver=body.driver if body.driver != driver else "",
    )
    return spec, warning


def _check_mtu(body: NetworkCreate) -> None:
    asked = body.options.get(MTU)
    smallest = SMALLEST_MTU6 if body.enable_ipv6 else SMALLEST_MTU
    if asked is not None and not (asked.isdecimal() and smallest <= int(asked) <= LARGEST_MTU):
        raise InvalidArgument(f"Options.{MTU}: expected {smallest} to {LARGEST_MTU} bytes, got {asked!r}")


def _driver(body: NetworkCreate) -> tuple[str, str]:
    """Choose the driver. A bridge of one engine makes no sense here: it becomes a cluster-wide overlay.

    So does a network without a driver, which an engine makes a bridge: clients put unmanaged containers into it.
    """
    if body.driver == OVERLAY or (body.ingress and not body.driver):
        return OVERLAY, ""
    if body.driver in {"", "bridge"}:
        return OVERLAY, f"{body.name} is an attachable overlay network that spans the cluster, not a bridge on one host"
    raise Unimplemented(f"network driver {body.driver!r} is not supported: use overlay")


def _ipam(ipam: Ipam | None) -> IpamOptions:
    if ipam is None:
        return IpamOptions()
    if ipam.driver not in {"", "default"}:
        raise Unimplemented(f"IPAM driver {ipam.driver!r} is not supported: use default")
    complaints = [text for pool in ipam.config for text in _complaints(pool)]
    if complaints:
        raise invalid("invalid network config:\n" + "\n".join(complaints))
    if len({_family(pool) for pool in ipam.config}) != len(ipam.config):
        raise InvalidArgument("IPAM.Config: expected at most one IPv4 and one IPv6 subnet")
    configs = tuple(IpamConfig(subnet=p.subnet, range=p.ip_range, gateway=p.gateway) for p in ipam.config)
    return IpamOptions(driver=DriverConfig(name=ipam.driver, options=ipam.options), configs=configs)


def _family(pool: IpamPool) -> int:
    return ipaddress.ip_network(pool.subnet).version


def _complaints(pool: IpamPool) -> list[str]:
    """Return what is wrong with a range, in the engine's words."""
    try:
        subnet = ipaddress.ip_network(pool.subnet, strict=False)
    except ValueError:
        return [f"invalid subnet {pool.subnet}: invalid CIDR block notation"]
    if "/" not in pool.subnet:
        return [f"invalid subnet {pool.subnet}: invalid CIDR block notation"]
    if str(ipaddress.ip_interface(pool.subnet).ip) != str(subnet.network_address):
        return [f"invalid subnet {pool.subnet}: it should be {subnet}"]
    return [*_range_complaints(pool, subnet), *_gateway_complaints(pool, subnet)]


def _range_complaints(pool: IpamPool, subnet: ipaddress.IPv4Network | ipaddress.IPv6Network) -> list[str]:
    if not pool.ip_range:
        return []
    try:
        part = ipaddress.ip_network(pool.ip_range)
    except ValueError:
        return [f"invalid ip-range {pool.ip_range}: invalid CIDR block notation"]
    inside = part.network_address in subnet and part.prefixlen >= subnet.prefixlen
    return [] if inside else [f"invalid ip-range {pool.ip_range}: it is not within the subnet {subnet}"]


def _gateway_complaints(pool: IpamPool, subnet: ipaddress.IPv4Network | ipaddress.IPv6Network) -> list[str]:
    if not pool.gateway:
        return []
    try:
        gateway = ipaddress.ip_address(pool.gateway)
    except ValueError:
        return [f"invalid gateway {pool.gateway}: invalid address"]
    return [] if gateway in subnet else [f"invalid gateway {pool.gateway}: parent subnet is {subnet}"]
