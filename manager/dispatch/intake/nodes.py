"""What a worker may say of its host, when it joins and later."""

from __future__ import annotations

from common.clock import is_instant
from common.model.node import EngineDescription, NodeDescription, NodeResources, PlainContainers, Plugin
from common.model.service import DiscreteResourceSpec, GenericResource, NamedResourceSpec, Platform
from common.net.addressing import is_hostname
from common.text.terminal import quote
from common.wire.messages import Hello, JoinRequest, NodeReport, RenewRequest
from manager.dispatch.intake.form import Form, Implausible, MessageContext, Rule, entries, keep, part
from manager.dispatch.intake.host_addresses import ADVERTISED, IPV6_ADDRESSES
from manager.dispatch.intake.scalars import FLAG, MAX_INTEGER, choice, labels, several, text, whole, word

AVAILABILITIES = ("active", "pause", "drain")
ENCRYPTIONS = ("", "wireguard", "wireguard-go")
MOST_NANO_CPUS = 10**15
MOST_BYTES = 2**60
_MOST_CONTAINERS = 10**6
_MOST_CSR = 16 * 1024
_MOST_TOKEN = 256
_PROTOCOL = Rule("this manager's", keep)  # `handshake.admit` has seen to it
_LABELS = labels(128, 4096)
_NAME = word(255)
_PLATFORM = word(64)
_CPUS = whole(0, MOST_NANO_CPUS, "0 to a million cores")
_BYTES = whole(0, MOST_BYTES, "0 to 1 EiB")
_VERSION = text(64)


def _hostname(value: str, context: MessageContext) -> str:
    """Keep to the name that the record has: constraints go by it. Only a join brings one, and an operator another."""
    if context.node is None:
        return _check_name(value)
    node, joining = context.node, context.node.joining
    recorded = (joining.hostname if joining is not None else "") or node.description.hostname
    if not recorded:
        return _check_name(value)
    if value not in (recorded, node.name):
        context.refuse(
            f"it calls itself {quote(value)} but joined as {node.name}, which remains its name: if it "
            f"was renamed, run 'swarm-manager node update --hostname NEW {node.id}'"
        )
    return value if value == recorded else recorded


def _check_name(value: str) -> str:
    if not is_hostname(value):
        raise Implausible(f"the host name {quote(value)} is not a valid one: set it with 'hostnamectl'")
    return value


PLATFORM = Form(Platform, architecture=_PLATFORM, os=_PLATFORM)
NAMED_RESOURCE = Form(NamedResourceSpec, needed=("kind", "value"), kind=_NAME, value=_NAME)
DISCRETE_RESOURCE = Form(
    DiscreteResourceSpec, needed=("kind", "value"), kind=_NAME, value=whole(0, MAX_INTEGER, "0 or more")
)
GENERIC_RESOURCE = Form(
    GenericResource,
    needed=("named_resource_spec", "discrete_resource_spec"),
    named_resource_spec=part(NAMED_RESOURCE),
    discrete_resource_spec=part(DISCRETE_RESOURCE),
)
RESOURCES = Form(
    NodeResources,
    nano_cpus=_CPUS,
    memory_bytes=_BYTES,
    generic_resources=entries(GENERIC_RESOURCE, 1024),
)
PLUGIN = Form(Plugin, needed=("type", "name"), type=_NAME, name=_NAME)
ENGINE = Form(
    EngineDescription,
    engine_version=_VERSION,
    api_version=_VERSION,
    min_api_version=_VERSION,
    labels=_LABELS,
    plugins=entries(PLUGIN, 512),
)
PLAIN = Form(
    PlainContainers,
    count=whole(0, _MOST_CONTAINERS),
    nano_cpus=_CPUS,
    memory_bytes=_BYTES,
)
DESCRIPTION = Form(
    NodeDescription,
    hostname=Rule("the one that it joined as", _hostname),
    platform=part(PLATFORM),
    resources=part(RESOURCES),
    engine=part(ENGINE),
    lacks=several(text(500), 256, "texts, each cut at 500 characters"),
    agent_version=_VERSION,
    encryption=choice(*ENCRYPTIONS),
    ipv6=FLAG,
    ipv6_addresses=IPV6_ADDRESSES,
    plain=part(PLAIN),
    measures=FLAG,
    volumes=FLAG,
    snapshots=FLAG,
    clock=FLAG,
)
HELLO = Form(
    Hello,
    protocol=_PROTOCOL,
    description=part(DESCRIPTION),
    advertise_addr=ADVERTISED,
    image_port=whole(0, 65535),
)
NODE_REPORT = Form(NodeReport, description=part(DESCRIPTION))


def _clock(value: float, _context: MessageContext) -> float:
    if not is_instant(value):
        raise Implausible(f"its clock says {value:g}, which is not a time: set it and join again")
    return value


def _csr(value: bytes, _context: MessageContext) -> bytes:
    if len(value) > _MOST_CSR:
        raise Implausible(f"it has {len(value):,} bytes, of which {_MOST_CSR:,} are allowed")
    return value


def _token(value: str, _context: MessageContext) -> str:
    if len(value) > _MOST_TOKEN or not value.isprintable():
        raise Implausible("it is not a join token")  # nor is it said what it is: part of it may be one
    return value


_CSR = Rule("16 KiB, PEM, for ECDSA P-256", _csr)
RENEW_REQUEST = Form(RenewRequest, needed=("csr",), csr=_CSR)
JOIN_REQUEST = Form(
    JoinRequest,
    protocol=_PROTOCOL,
    token=Rule("the worker's token", _token),
    csr=_CSR,
    clock=Rule("within an hour of the manager's", _clock),
    hostname=Rule("a valid host name", _hostname),
    advertise_addr=ADVERTISED,
    labels=_LABELS,
    availability=choice(*AVAILABILITIES),
    engine=_NAME,
)
