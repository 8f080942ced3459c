"""`swarm-manager network`."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import click

from common.errors import InvalidArgument
from common.text.terminal import echo
from manager.cli.client import Client, filter_query
from manager.cli.command import SwarmCommand, SwarmGroup, flag
from manager.cli.completion import complete_containers, complete_networks
from manager.cli.failures import ApiError
from manager.cli.files.pruning import prune_command
from manager.cli.flags.types import KEY_VALUE, LABEL, SplitList
from manager.cli.format.inspection import inspect
from manager.cli.format.listing import group_filters, inspect_format_flag, listing
from manager.cli.format.tables import Row, Table, go_time, natural, pairs, short_id
from manager.cli.session import with_client
from manager.cli.several import print_each

NETWORKS = Table(
    columns=("{{.ID}}", "{{.Name}}", "{{.Driver}}", "{{.Scope}}"),
    headings={
        "ID": "NETWORK ID",
        "Name": "NAME",
        "Driver": "DRIVER",
        "Scope": "SCOPE",
        "IPv6": "IPV6",
        "Internal": "INTERNAL",
        "Labels": "LABELS",
        "CreatedAt": "CREATED AT",
    },
    raw={"network_id": "ID", "name": "Name", "driver": "Driver", "scope": "Scope"},
)

IPNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


@click.group(cls=SwarmGroup)
def network() -> None:
    """Manage networks that reach over all hosts."""


@network.command(
    cls=SwarmCommand,
    examples="""
    swarm-manager network create backend
    swarm-manager network create --subnet 10.20.0.0/16 --label team=shop --attachable front
    """,
)
@click.argument("name", metavar="NETWORK")
@flag("--attachable", is_flag=True, default=False, help="Enable manual container attachment.")
@flag("--aux-address", type=KEY_VALUE, multiple=True, help="Auxiliary addresses used by the network driver.")
@flag("-d", "--driver", default="overlay", show_default=True, metavar="STRING", help="Driver to manage the network.")
@flag("--gateway", type=SplitList(), multiple=True, help="IPv4 or IPv6 gateway for the subnet.")
@flag("--ingress", is_flag=True, default=False, help="Create the routing-mesh network.")
@flag("--internal", is_flag=True, default=False, help="Restrict external access to the network.")
@flag("--ip-range", type=SplitList(), multiple=True, help="Allocate addresses from a sub-range.")
@flag("--ipam-driver", default="default", metavar="STRING", help="Address management driver.")
@flag("--ipam-opt", type=KEY_VALUE, multiple=True, help="Options of the address management driver.")
@flag("--ipv6", is_flag=True, default=False, help="Enable IPv6 networking.")
@flag("--label", type=LABEL, multiple=True, help="Set metadata on a network.")
@flag("-o", "--opt", type=KEY_VALUE, multiple=True, help="Set driver specific options.")
@flag("--scope", default="swarm", metavar="STRING", help="The network's scope; all networks here are the cluster's.")
@flag("--subnet", type=SplitList(), multiple=True, help="Subnet in CIDR format.")
@with_client
async def create(client: Client, /, name: str, **given: Any) -> None:
    """Create a network."""
    body = {
        "Name": name,
        "Driver": given["driver"],
        "Scope": given["scope"],
        "Attachable": given["attachable"],
        "Ingress": given["ingress"],
        "Internal": given["internal"],
        "EnableIPv6": given["ipv6"],
        "Labels": dict(given["label"]),
        "Options": dict(given["opt"]),
        "IPAM": {
            "Driver": given["ipam_driver"],
            "Options": dict(given["ipam_opt"]),
            "Config": ipam_configs(
                _flat(given["subnet"]), _flat(given["ip_range"]), _flat(given["gateway"]), dict(given["aux_address"])
            ),
        },
    }
    answer = await client.post("/networks/create", body)
    if answer.get("Warning"):
        echo(answer["Warning"], err=True)
    echo(answer["Id"])


def _flat(lists: Iterable[Iterable[str]]) -> list[str]:
    return [item for items in lists for item in items]


@network.command("ls", cls=SwarmCommand, aliases=("list",), examples="swarm-manager network ls --filter driver=overlay")
@listing
@flag("--no-trunc", is_flag=True, default=False, help="Do not truncate the output.")
@with_client
async def list_networks(
    client: Client, /, filters: tuple[tuple[str, str], ...], layout: str, *, quiet: bool, no_trunc: bool
) -> None:
    """List networks."""
    found = await client.get("/networks", filter_query(group_filters(filters)))
    echo(NETWORKS.render(rows(found, full=no_trunc), layout, quiet=quiet), nl=False)


def rows(networks: Iterable[Any], *, full: bool = False) -> list[Row]:
    """Make the rows by name."""
    return [
        {
            "ID": each["Id"] if full else short_id(each["Id"]),
            "Name": each["Name"],
            "Driver": each["Driver"],
            "Scope": each["Scope"],
            "IPv6": "true" if each.get("EnableIPv6") else "false",
            "Internal": "true" if each.get("Internal") else "false",
            "Labels": pairs(each.get("Labels")),
            "CreatedAt": go_time(each["Created"]),
        }
        for each in sorted(networks, key=lambda each: natural(each["Name"]))
    ]


@network.command(
    "inspect", cls=SwarmCommand, examples="swarm-manager network inspect --format '{{.IPAM.Config}}' backend"
)
@click.argument("networks", nargs=-1, required=True, metavar="NETWORK...", shell_complete=complete_networks)
@inspect_format_flag()
@flag("-v", "--verbose", is_flag=True, default=False, help="Show the services and tasks of the network too.")
@with_client
async def inspect_networks(client: Client, /, networks: tuple[str, ...], layout: str, *, verbose: bool) -> None:
    """Show all that is known of one or more networks."""
    query = {"verbose": "true"} if verbose else None
    await inspect(networks, lambda name: client.get_text(f"/networks/{name}", query), "network", layout)


@network.command("rotate-keys", cls=SwarmCommand, examples="swarm-manager network rotate-keys")
@with_client
async def rotate_keys(client: Client, /) -> None:
    """Give all encrypted networks new keys now, and not when the present ones are 12 hours old. Nothing is cut off."""
    answer = await client.post("/networks/rotate-keys", {})
    echo(f"Encrypted networks switch to keys of generation {answer['Generation']}.")


@network.command("rm", cls=SwarmCommand, aliases=("remove",), examples="swarm-manager network rm backend front")
@click.argument("networks", nargs=-1, required=True, metavar="NETWORK...", shell_complete=complete_networks)
@flag("-f", "--force", is_flag=True, default=False, help="Do not fail if the network does not exist.")
@with_client
async def remove(client: Client, /, networks: tuple[str, ...], *, force: bool) -> None:
    """Remove one or more networks that no service uses."""

    async def one(name: str) -> list[str]:
        try:
            await client.delete(f"/networks/{name}")
        except ApiError as error:
            if force and error.not_found:
                return []
            raise
        return [name]

    await print_each(networks, one)


@network.command("connect", cls=SwarmCommand, examples="swarm-manager network connect --alias store backend db")
@click.argument("name", metavar="NETWORK", shell_complete=complete_networks)
@click.argument("container", metavar="CONTAINER", shell_complete=complete_containers)
@flag("--alias", "aliases", type=SplitList(), multiple=True, help="Add a name of the container in the network.")
@flag("--driver-opt", "options", type=KEY_VALUE, multiple=True, help="Driver options for the network.")
@flag("--ip", default="", metavar="ADDRESS", help="IPv4 address (172.30.100.104).")
@flag("--ip6", default="", metavar="ADDRESS", help="IPv6 address (2001:db8::33).")
@with_client
async def connect(client: Client, /, name: str, container: str, **given: Any) -> None:
    """Connect a container to a network, which must be attachable."""
    addresses = {
        key: given[flag_name] for key, flag_name in (("IPv4Address", "ip"), ("IPv6Address", "ip6")) if given[flag_name]
    }
    endpoint = {"IPAMConfig": addresses, "Aliases": _flat(given["aliases"]), "DriverOpts": dict(given["options"])}
    await client.post(f"/networks/{name}/connect", {"Container": container, "EndpointConfig": endpoint})


@network.command("disconnect", cls=SwarmCommand, examples="swarm-manager network disconnect backend db")
@click.argument("name", metavar="NETWORK", shell_complete=complete_networks)
@click.argument("container", metavar="CONTAINER", shell_complete=complete_containers)
@flag("-f", "--force", is_flag=True, default=False, help="Force the container to disconnect.")
@with_client
async def disconnect(client: Client, /, name: str, container: str, *, force: bool) -> None:
    """Disconnect a container from a network."""
    await client.post(f"/networks/{name}/disconnect", {"Container": container, "Force": force})


network.add_command(
    prune_command("network", "all custom networks not used by at least one container", "Remove all unused networks.")
)


# --- address ranges ---


def ipam_configs(
    subnets: Iterable[str], ranges: Iterable[str], gateways: Iterable[str], auxiliary: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Put each range, gateway and address into the subnet that contains it.

    Raises:
        InvalidArgument: one is not an address, is in no subnet, or subnets overlap.

    """
    known = [_network("subnet", text) for text in subnets]
    _refuse_overlap(known)
    configs: list[dict[str, Any]] = [{"Subnet": str(subnet)} for subnet in known]
    for text in ranges:
        inner = _network("ip-range", text)
        _one(configs, known, inner.network_address, f"no matching subnet for range {text}", IPRange=text)
    for text in gateways:
        _one(configs, known, _address("gateway", text), f"no matching subnet for gateway {text}", Gateway=text)
    for name, text in auxiliary.items():
        place = _place(known, _address("aux-address", text), f"no matching subnet for aux-address {text}")
        configs[place].setdefault("AuxiliaryAddresses", {})[name] = text
    return configs


def _one(
    configs: list[dict[str, Any]],
    known: list[IPNetwork],
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
    problem: str,
    **value: str,
) -> None:
    config = configs[_place(known, address, problem)]
    for key in value:
        if key in config:
            raise InvalidArgument(f"cannot configure two of {key} in subnet {config['Subnet']}")
    config.update(value)


def _place(known: list[IPNetwork], address: ipaddress.IPv4Address | ipaddress.IPv6Address, problem: str) -> int:
    for index, subnet in enumerate(known):
        if address.version == subnet.version and address in subnet:
            return index
    raise InvalidArgument(problem)


def _network(kind: str, text: str) -> IPNetwork:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise InvalidArgument(f"invalid {kind} {text}: {error}") from error


def _address(kind: str, text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError as error:
        raise InvalidArgument(f"invalid {kind} {text}: {error}") from error


def _refuse_overlap(known: list[IPNetwork]) -> None:
    for index, subnet in enumerate(known):
        for other in known[:index]:
            if subnet.version == other.version and subnet.overlaps(other):
                raise InvalidArgument("multiple overlapping subnet configuration is not supported")
