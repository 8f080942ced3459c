"""/nodes: list, inspect, update, remove; and nodes as the engine's API shows them."""

from __future__ import annotations

from typing import Any

import msgspec

from common.clock import rfc3339
from common.errors import AlreadyExists, FailedPrecondition, OutOfSequence
from common.model import Node, RootKey
from common.model.client import Role
from common.model.node import NodeSpec
from common.net.addressing import is_hostname
from manager.api.access.roles import authorise
from manager.api.call import Answer, Call, Reply, warning
from manager.api.context import Context
from manager.api.errors import invalid
from manager.api.http.json_list import json_list
from manager.api.lookup import any_prefix, find_node, labels_match, passes
from manager.api.render import head, render
from manager.api.router import Place, Route
from manager.api.swarm import tls_info
from manager.api.volumes.stay import only_copies, refuse_stateful, stateful
from manager.ca.rotation import root_of, taken_step
from manager.domain import hostnames
from manager.domain.clock_offset import status_message
from manager.domain.managers import without_manager
from manager.store.transaction import Transaction
from manager.store.view import View

_FILTERS = frozenset({"id", "label", "membership", "name", "node.label", "role"})
_ROLES = ("worker", "manager")
_AVAILABILITIES = ("active", "pause", "drain")
_MEMBERSHIPS = ("accepted", "pending")


async def list_nodes(context: Context, call: Call) -> Reply:
    filters = call.filters(_FILTERS)
    for name, known in (("role", _ROLES), ("membership", _MEMBERSHIPS)):
        for value in filters.get(name, ()):
            if value not in known:
                raise invalid(f"Invalid {name} filter: '{value}'")
    view = context.store.view
    root = root_of(view)

    def keep(node: Node) -> bool:
        tests = {
            "id": lambda values: any_prefix(node.id, values),
            "name": lambda values: any_prefix(node.name, values),
            "label": lambda values: labels_match(node.description.engine.labels, values),
            "node.label": lambda values: labels_match(node.spec.labels, values),
            "role": lambda values: node.spec.role in values,
            "membership": lambda values: "accepted" in values,
        }
        return passes(filters, tests)

    def show(node: Node) -> dict[str, Any]:
        return node_view(context, node, node_tls_info(view, node, root))

    return json_list(list(view.nodes), keep, show)


async def inspect_node(context: Context, call: Call) -> Reply:
    view = context.store.view
    node = find_node(view, call.params["id"])
    return Answer(value=node_view(context, node, node_tls_info(view, node, root_of(view))))


async def update_node(context: Context, call: Call) -> Reply:
    index = call.index("node")
    spec = call.decode(NodeSpec)
    _check(spec)
    found = find_node(context.store.view, call.params["id"])
    if spec.role != found.spec.role:
        authorise(call.caller, Role.ADMIN, "changing a node's role")
        await context.quorum.check_role(found, spec.role)

    def update(tx: Transaction) -> str:
        node = find_node(tx, call.params["id"])
        if not node.is_current(index):
            raise OutOfSequence
        if found.spec.role != node.spec.role:
            raise OutOfSequence
        if call.query.get("stateful") == "refuse" and spec.availability == "drain":
            refuse_stateful(tx, node)
        stopped = stateful(tx, node) if spec.availability == "drain" != node.spec.availability else ""
        tx.put(_with_spec(tx, without_manager(node) if spec.role == "worker" else node, spec))
        return f"stopped until the node is active again, as their data is there: {stopped}" if stopped else ""

    return Answer(headers=warning(await context.store.update(update)))


def _check(spec: NodeSpec) -> None:
    if spec.role not in _ROLES:
        raise invalid(f'invalid Role: "{spec.role}"')
    if spec.availability not in _AVAILABILITIES:
        raise invalid(f'invalid Availability: "{spec.availability}"')


def _with_spec(view: View, node: Node, spec: NodeSpec) -> Node:
    """Return a node with another spec, and so perhaps with another host name.

    Raises:
        EngineError: 400, no host can be called so.
        AlreadyExists: another node is called so.

    """
    changed = msgspec.structs.replace(node, spec=spec)
    if spec.name == node.spec.name:
        return changed
    if spec.name and not is_hostname(spec.name):
        raise invalid(f"invalid Name: {spec.name[:80]!r} is not a host name: use letters, digits, '.', '_' and '-'")
    other = next((each for each in hostnames.nodes_called(view, spec.name) if each.id != node.id), None)
    if spec.name and other is not None:
        raise AlreadyExists(f"node {other.id} is called {other.name} already: remove it, or choose another name")
    return hostnames.with_new_name(view, changed)


async def remove_node(context: Context, call: Call) -> Reply:
    """Forget a node. It cannot come back with its old certificate; its tasks are replaced."""

    def remove(tx: Transaction) -> None:
        node = find_node(tx, call.params["id"])
        if node.spec.role == "manager":
            text = f"node {node.id} is a cluster manager and is a member of the raft cluster"
            raise FailedPrecondition(f"{text}. It must be demoted to worker before removal")
        if node.status.state in ("ready", "disconnected") and not call.flag("force"):
            text = f"node {node.id} is not down and can't be removed"
            raise FailedPrecondition(f"{text}. 'swarm-worker leave' on its host takes it out of the cluster")
        if (only := only_copies(node, tx)) and not call.flag("force"):
            text = f"node {node.id} has the only copy of {only}"
            raise FailedPrecondition(f"{text}: with --force it is removed, and these wait for its host to join again")
        tx.remove(node)

    await context.store.update(remove)
    return Answer()


# --- as the engine's API shows them ---


def node_tls_info(view: View, node: Node, root: RootKey | None) -> dict[str, str]:
    """Return which root a node believes, and which has signed its certificate."""
    return tls_info(view.cluster, root, taken_step(node, root.step) if root is not None else None)


def node_view(context: Context, node: Node, tls_info: dict[str, str]) -> dict[str, Any]:
    """Render a node; `tls_info` is about its certificate: `node_tls_info`.

    What its worker said that was not believed is there, and of a manager whether it leads, or can be reached.
    """
    result = head(node)
    spec = render(node.spec)
    spec.setdefault("Labels", {})
    result["Spec"] = spec
    result["Description"] = _description_view(node, tls_info)
    result["Status"] = render(msgspec.structs.replace(node.status, message=status_message(node)))
    if node.clock_offset is not None:
        result["Status"]["ClockOffset"] = node.clock_offset.seconds
    if (status := context.quorum.status_of(node)) is not None:
        result["ManagerStatus"] = render(status)
        for ours in ("CertificateStep", "Awaited"):
            result["ManagerStatus"].pop(ours, None)
    if refused := context.soft.refusals.of(node.id):
        result["Refused"] = [
            {"Field": each.field, "Reason": each.reason, "Count": each.count, "At": rfc3339(each.at)}
            for each in refused
        ]
    return result


def _description_view(node: Node, tls_info: dict[str, str]) -> dict[str, Any]:
    description = node.description
    ours = {
        "Lacks": description.lacks,
        "Encryption": description.encryption,
        "PlainContainers": render(description.plain) if description.plain.count else None,
        "HostnameTaken": node.hostname_taken,
    }
    return {
        **{key: value for key, value in ours.items() if value},
        "Hostname": node.name,
        "Platform": render(description.platform),
        "Resources": render(description.resources),
        "Engine": render(description.engine),
        "TLSInfo": tls_info,
    }


ROUTES = (
    Route("GET", "/nodes", list_nodes, needs=Role.VIEWER, place=Place.STORE),
    Route("GET", "/nodes/{id}", inspect_node, needs=Role.VIEWER, place=Place.STORE),
    Route("DELETE", "/nodes/{id}", remove_node, needs=Role.ADMIN),
    Route("POST", "/nodes/{id}/update", update_node, needs=Role.OPERATOR),
)
