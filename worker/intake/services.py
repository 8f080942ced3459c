"""How services and plain containers are reached, read strictly: malformed parts are left out one by one. Pure.

Addresses and names in networks that this host does not have are not read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from ipaddress import IPv4Network
from typing import TypeAlias

from common.wire import messages as wire
from common.wire.messages import MESH, MESH6
from worker.intake.addresses import address4, pack4, pack6, port, port_number
from worker.intake.entries import Refuse
from worker.intake.identifiers import NO_NAME, DnsName, Unusable, dns_name, identifier, quote_foreign
from worker.intake.world import Backend, Endpoint, PublishedPort

# The networks of this host, and where their virtual addresses are.
Here: TypeAlias = Mapping[str, IPv4Network | None]
# What reads the addresses of a network, or of the mesh.
Readers: TypeAlias = Mapping[str, Callable[[str], bytes]]


def read_endpoint(here: Here, sent: wire.ServiceEndpoint, refuse: Refuse) -> Endpoint:
    """Read an endpoint for a host with these networks.

    Raises:
        Unusable: it has no id.

    """
    refuse_name = partial(refuse, "name of service", sent.service_id)
    aliases = {network_id: names for network_id, names in sent.aliases.items() if network_id in here}
    return Endpoint(
        service_id=identifier(sent.service_id),
        name=_name(sent.name, refuse_name),
        stack=sent.stack,
        vips=dict(_read_vips(here, sent, refuse)),
        aliases={
            network_id: tuple(name for each in names if (name := _name(each, refuse_name)))
            for network_id, names in aliases.items()
        },
        ports=tuple(_read_ports(sent, refuse)),
        backends=tuple(_read_backends(here, sent.backends, refuse)),
        draining=tuple(_read_backends(here, sent.draining, refuse)),
    )


def _read_vips(here: Here, sent: wire.ServiceEndpoint, refuse: Refuse) -> Iterator[tuple[str, bytes]]:
    for network_id, text in sent.vips.items():
        if (vips := here.get(network_id)) is None:
            continue
        try:
            vip = address4(text)
        except Unusable as error:
            refuse("virtual address of service", sent.service_id, error.message)
            continue
        if vip in vips:
            yield network_id, vip.packed
        else:
            refuse("virtual address of service", sent.service_id, f"{vip} is not in {vips}")


def _read_ports(sent: wire.ServiceEndpoint, refuse: Refuse) -> Iterator[PublishedPort]:
    for each in sent.ports:
        try:
            yield PublishedPort(port(each.protocol, each.published, each.host_ip), port_number(each.target))
        except Unusable as error:
            refuse("published port of service", sent.service_id, error.message)


def _read_backends(here: Here, sent: tuple[wire.Backend, ...], refuse: Refuse) -> Iterator[Backend]:
    readers = {**dict.fromkeys(here, pack4), MESH: pack4, MESH6: pack6}
    for each in sent:
        try:
            yield _read_backend(readers, each, refuse)
        except Unusable as error:
            refuse("task", each.task_id, error.message)


def _read_backend(readers: Readers, sent: wire.Backend, refuse: Refuse) -> Backend:
    try:  # there are ten thousands, and hardly ever anything is wrong with one
        found = sent.addresses.items()
        addresses = {each: readers[each](text) for each, text in found if each in readers}
    except (OSError, ValueError):
        addresses = dict(_read_addresses(readers, sent, refuse))
    hostname = _name(sent.hostname, partial(refuse, "task", sent.task_id)) if sent.hostname else NO_NAME
    node_id = identifier(sent.node_id) if sent.node_id else None
    return Backend(identifier(sent.task_id), sent.slot, node_id, addresses, hostname)


def _read_addresses(readers: Readers, sent: wire.Backend, refuse: Refuse) -> Iterator[tuple[str, bytes]]:
    """Yield the addresses that are well-formed, and refuse the others one by one."""
    for network_id, text in sent.addresses.items():
        try:
            if network_id in readers:
                yield network_id, readers[network_id](text)
        except (OSError, ValueError):
            refuse("task", sent.task_id, f"{quote_foreign(text)} is not an address in network {network_id}")


def _name(text: str, refuse: Callable[[str], None]) -> DnsName:
    """Read a name; `NO_NAME` for one that cannot be asked for, as that of some containers, which is too long."""
    try:
        return dns_name(text)
    except Unusable as error:
        if not (text.isascii() and text.isprintable()):
            refuse(error.message)
        return NO_NAME
