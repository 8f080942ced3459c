"""What a worker may say of plain containers in the cluster's networks. The API makes and connects them with it."""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import IPv4Address

from common.model import NetworkAttachment
from common.model.attachment import AttachedEnd, AttachmentStatus
from common.model.container import Mount
from common.net.addressing import fold
from common.net.engine_networks import GATEWAY_NETWORK, engine_network
from common.text.terminal import quote
from common.wire.allowances import LONGEST_ERROR
from common.wire.messages import MESH, AttachmentReport, AttachmentState
from manager.dispatch.intake.form import Dropped, Form, Implausible, MessageContext, Rule, entries, part
from manager.dispatch.intake.scalars import FLAG, NOTHING, choice, several, text
from manager.dispatch.intake.task_addresses import check_beside, check_own, mesh_addresses, part_addresses
from manager.dispatch.intake.tasks import check_container_id
from manager.store.view import View

RESOLV_CONF = "/etc/resolv.conf"
MOST_SERVERS = 3
_LONGEST_PATH = 4096
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}")


def _own_attachment(value: str, context: MessageContext) -> str:
    """Take an attachment of this node; nothing is said of one that ended while this was on its way."""
    known = context.view.attachments.get(value)
    if known is None or not known.live:
        raise Dropped
    if known.node_id != context.node_id:
        raise Implausible(f"the attachment of container {known.name or known.id} is another node's")
    context.attachment = known
    return value


def _container_id(value: str, context: MessageContext) -> str:
    known = context.attachment
    if not value:
        return value
    if known.container_id not in ("", value):
        raise Implausible(f"the container of attachment {known.id} is {known.container_id[:12]}, not {quote(value)}")
    check_container_id(value, known, context.view)
    return value


def _name(value: str, context: MessageContext) -> str:
    """Let a container be renamed, but not to what others in its networks are called: they would be asked for by it."""
    known = context.attachment
    if not value or value == known.name:
        return value
    if _NAME.fullmatch(value) is None:
        raise Implausible(f"{quote(value)} is not a container's name")
    if _is_taken(context.view, fold(value), known):
        raise Implausible(f"container {known.name} is called {quote(value)} now, as something else in its networks is")
    return value


def _is_taken(view: View, name: str, known: NetworkAttachment) -> bool:
    networks = {each.target for each in known.networks}
    for service in view.services:
        shared = [each for each in service.spec.attachments if each.target in networks]
        if shared and name in {fold(service.name), *(fold(alias) for each in shared for alias in each.aliases)}:
            return True
    others = (other for other in view.attachments if other.live and other.id != known.id)
    return any(_is_called(other, name, networks) for other in others)


def _is_called(other: NetworkAttachment, name: str, networks: Collection[str]) -> bool:
    shared = [each for each in other.networks if each.target in networks]
    called = (other.name, other.hostname, *(alias for each in shared for alias in each.aliases))
    return bool(shared) and name in map(fold, called)


def _network_id(value: str, context: MessageContext) -> str:
    if value != MESH and all(each.target != value for each in context.attachment.networks):
        raise Implausible(f"container {context.attachment.name} is not in network {quote(value)}")
    return value


def _network(value: str, context: MessageContext) -> str:
    """Keep to what engines call a network: with a data plane, or as a bridge of one host alone."""
    network_id = context.said.network_id
    network = context.view.networks.get(network_id)
    known = {GATEWAY_NETWORK} if network_id == MESH else set()
    if network is not None:
        known = {engine_network(network), f"{network.name}.{context.node_id}"}
    if value not in known:
        raise Implausible(f"{quote(value)} is not what engines call network {quote(network_id)}")
    return value


def _address(value: str, context: MessageContext) -> str:
    if not value:  # the engine chooses
        return value
    known, network_id = context.attachment, context.said.network_id
    check_own(value, network_id, context)
    asked = next((each.address for each in known.networks if each.target == network_id), "")
    if asked and asked != value:
        raise Implausible(f"container {known.name} is to have the address {asked}, not {value}")
    return value


def _address6(value: str, context: MessageContext) -> str:
    if not value:
        return value
    end = context.said
    check_own(end.address, end.network_id, context)
    return check_beside(value, end.address, end.network_id, context)


def _aliases(value: tuple[str, ...], context: MessageContext) -> tuple[str, ...]:
    known = context.attachment
    asked = {alias for each in known.networks for alias in each.aliases} | {known.name}
    if not asked.issuperset(value) or len(value) > len(asked):
        raise Implausible(f"container {known.name} has aliases that it was not given")
    return value


def _server(value: str, context: MessageContext) -> str:
    """Let the cluster's name server be at the gateway of one of the container's networks: its bridge's address."""
    networks = [context.view.networks.get(each.target) for each in context.attachment.networks]
    parts = [mesh_addresses(context), *(part_addresses(network, context) for network in networks)]
    bridges = [str(IPv4Address(part.start - 1)) for part in parts if part]
    if value not in bridges:
        raise Implausible(f"{quote(value)} is not a name server of this node")
    return value


def _source(value: str, context: MessageContext) -> str:
    ours = value.startswith("/") and value.endswith(f"/{context.attachment.id}") and ".." not in value.split("/")
    if not ours or len(value) > _LONGEST_PATH or not value.isprintable():
        raise Implausible(f"{quote(value)} is not a file that was made for container {context.attachment.name}")
    return value


END = Form(
    AttachedEnd,
    needed=("network_id", "network", "address", "address6"),
    network_id=Rule("a network that it is to be in, or the gateway's", _network_id),
    network=Rule("what engines call that", _network),
    address=Rule("in this node's part of it, as asked for", _address),
    address6=Rule("the one that goes with it", _address6),
    aliases=Rule("those that it was given", _aliases),
)
RESOLV_MOUNT = Form(
    Mount,
    needed=("type", "source", "target"),
    type=choice("bind"),
    source=Rule("a file called as the attachment", _source),
    target=choice(RESOLV_CONF),
    read_only=FLAG,
    consistency=NOTHING,
    bind_options=NOTHING,
    volume_options=NOTHING,
    tmpfs_options=NOTHING,
)
STATUS = Form(
    AttachmentStatus,
    container_id=Rule("the attachment's own", _container_id),
    name=Rule("no other's in its networks", _name),
    running=FLAG,
    ends=entries(END, 256),
    dns=several(Rule("", _server), MOST_SERVERS, "gateways of this node"),
    mounts=entries(RESOLV_MOUNT, 1),
    err=text(LONGEST_ERROR),
    gone=FLAG,
)
STATE = Form(AttachmentState, attachment_id=Rule("an attachment of this node", _own_attachment), status=part(STATUS))
ATTACHMENT_REPORT = Form(AttachmentReport, attachments=entries(STATE))
