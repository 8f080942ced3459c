"""Networks, in the two forms of the engine's API: the network list's, and the one inside tasks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network
from typing import Any

from common.clock import ZERO_TIME, rfc3339
from common.model import Network, Task
from common.model.network import IpamConfig
from common.net.addressing import layout
from common.wire.messages import MESH
from manager.api.render import head, render
from manager.store.view import View

_VNI_OPTION = "com.docker.network.driver.overlay.vxlanid_list"


@dataclass(frozen=True, slots=True)
class Predefined:
    """A network that every engine has of itself. Services name it as their target by this name."""

    name: str
    driver: str

    @property
    def id(self) -> str:
        """A stable id of the form that the engine's local networks have."""
        return hashlib.sha256(f"predefined network {self.name}".encode()).hexdigest()


PREDEFINED = (Predefined("bridge", "bridge"), Predefined("host", "host"), Predefined("none", "null"))


def network_view(network: Network) -> dict[str, Any]:
    """Render a network as `GET /networks` does."""
    spec = network.spec
    options = dict(spec.driver.options)
    if network.vni:
        options[_VNI_OPTION] = str(network.vni)
    ranges = network.subnets or spec.ipam.configs
    return _resource(
        name=spec.name,
        id=network.id,
        created=rfc3339(network.created_at),
        scope=spec.scope,
        driver=spec.asked_driver or spec.driver.name,
        ipv6=spec.ipv6_enabled,
        ranges=[_range_view(item) for item in ranges],
        ipam_driver=spec.ipam.driver.name or "default",
        ipam_options=dict(spec.ipam.driver.options) or None,
        flags=(spec.internal, spec.attachable, spec.ingress),
        options=options,
        labels=spec.labels,
    )


def view_predefined(network: Predefined, *, scope: str = "local") -> dict[str, Any]:
    """Render one of the networks that exist on every engine."""
    return _resource(
        name=network.name,
        id=network.id,
        created=ZERO_TIME,
        scope=scope,
        driver=network.driver,
        ipv6=False,
        ranges=[],
        ipam_driver="default",
        ipam_options=None,
        flags=(False, False, False),
        options={},
        labels={},
    )


def _resource(  # the fields of one JSON object
    *,
    name: str,
    id: str,  # noqa: A002  # the field's own name
    created: str,
    scope: str,
    driver: str,
    ipv6: bool,
    ranges: list[dict[str, Any]],
    ipam_driver: str,
    ipam_options: dict[str, str] | None,
    flags: tuple[bool, bool, bool],
    options: dict[str, str],
    labels: dict[str, str],
) -> dict[str, Any]:
    internal, attachable, ingress = flags
    return {
        "Name": name,
        "Id": id,
        "Created": created,
        "Scope": scope,
        "Driver": driver,
        "EnableIPv4": True,
        "EnableIPv6": ipv6,
        "IPAM": {"Driver": ipam_driver, "Options": ipam_options, "Config": ranges},
        "Internal": internal,
        "Attachable": attachable,
        "Ingress": ingress,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {},
        "Options": options,
        "Labels": labels,
    }


def _range_view(item: IpamConfig) -> dict[str, str]:
    fields = {"Subnet": item.subnet, "IPRange": item.range, "Gateway": item.gateway}
    return {key: value for key, value in fields.items() if value}


def with_prefix(address: str, network: Network | None) -> str:
    """Write an address in a network as clients parse it, `10.0.9.2/24`; of a network that is gone, alone."""
    subnets = network.subnets if network is not None else ()
    return f"{address}/{subnets[0].subnet.partition('/')[2] if subnets else 32}"


def ingress_of(view: View) -> Network | None:
    """Return the network that stands for the routing mesh, where there is one."""
    return next((network for network in view.networks if network.spec.ingress), None)


def in_mesh(task: Task) -> bool:
    """Whether a task answers on a port of the routing mesh."""
    return any(port.publish_mode == "ingress" for port in task.ports)


def task_address(view: View, task: Task, network: Network) -> str:
    """Return a task's address in a network, `10.1.16.2/16`, empty where it has none.

    In the ingress network it is the one at which the mesh reaches the task, of the nodes' gateway ranges.
    """
    if not network.spec.ingress:
        address = task.status.addresses.get(network.id, "")
        return with_prefix(address, network) if address else ""
    address = task.status.addresses.get(MESH, "") if in_mesh(task) else ""
    return f"{address}/{_gateways(view.cluster.default_addr_pool).prefixlen}" if address else ""


@lru_cache(maxsize=8)
def _gateways(pools: tuple[str, ...]) -> IPv4Network:
    return layout(pools).gateways


def view_attached(network: Network) -> dict[str, Any]:
    """Render a network as it stands in a task's `NetworksAttachments`."""
    spec = network.spec
    result = head(network)
    result["Spec"] = _view_spec(network)
    options = {_VNI_OPTION: str(network.vni)} if network.vni else {}
    result["DriverState"] = {"Name": spec.driver.name, **({"Options": options} if options else {})}
    result["IPAMOptions"] = {
        "Driver": {"Name": spec.ipam.driver.name or "default"},
        "Configs": [_range_view(item) for item in network.subnets],
    }
    return result


def _view_spec(network: Network) -> dict[str, Any]:
    spec = network.spec
    result: dict[str, Any] = {
        "Name": spec.name,
        "Labels": spec.labels,
        "DriverConfiguration": render(spec.driver),
        "Scope": spec.scope,
    }
    flags = {
        "IPv6Enabled": spec.ipv6_enabled,
        "Internal": spec.internal,
        "Attachable": spec.attachable,
        "Ingress": spec.ingress,
    }
    result.update({key: True for key, on in flags.items() if on})
    if spec.ipam.configs:
        result["IPAMOptions"] = {
            "Driver": render(spec.ipam.driver),
            "Configs": [_range_view(c) for c in spec.ipam.configs],
        }
    return result
