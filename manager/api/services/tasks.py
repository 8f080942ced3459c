"""/tasks: list and inspect; and tasks as the engine's API shows them."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from common.clock import rfc3339, to_the_second
from common.model import Network, Task, TaskState
from common.model.client import Role
from common.model.service import TaskSpec
from common.model.task import TaskStatus
from common.model.volume import volume_id
from common.net.addressing import prefix_of, with_ipv4
from common.spec.slot_volumes import SlotVolume, slot_volumes
from manager.api.call import Answer, Call, Filters, Reply
from manager.api.context import Context
from manager.api.errors import invalid
from manager.api.http.json_list import json_list
from manager.api.lookup import any_prefix, find_node, find_service, find_task, labels_match, passes
from manager.api.networks.view import PREDEFINED, Predefined, in_mesh, ingress_of, task_address, view_attached
from manager.api.render import JsonCache, head, render
from manager.api.router import Place, Route
from manager.domain.revisions import has_right_attachment, host_published_ports
from manager.domain.transfers import stays_behind
from manager.domain.volume_claims import data_node
from manager.domain.volumes import waits_for
from manager.orchestrate.reconcile.service_context import host_ports
from manager.store.view import View

_FILTERS = frozenset({"_up-to-date", "desired-state", "id", "label", "name", "node", "runtime", "service"})
_STATES = {state.name.lower() for state in TaskState}
_DESIRED_STATES = {"running", "shutdown", "accepted"}

# So many failures in a row, without a run of a minute between them, are called a crash loop.
CRASH_LOOP = 3


async def list_tasks(context: Context, call: Call) -> Reply:
    filters = call.filters(_FILTERS)
    view = context.store.view
    _check_desired(filters.get("desired-state", ()))
    services = {find_service(view, reference).id for reference in filters.get("service", ())}
    nodes = {find_node(view, reference).id for reference in filters.get("node", ())}

    def keep(task: Task) -> bool:
        tests = {
            "id": lambda values: any_prefix(task.id, values),
            "name": lambda values: any_prefix(task.name, values) or any_prefix(_short_name(task), values),
            "label": lambda values: labels_match(_labels(task, view), values),
            "service": lambda _: task.service_id in services,
            "node": lambda _: task.node_id in nodes,
            "desired-state": lambda values: desired_state(task) in values,
            "runtime": lambda values: (task.spec.runtime or "container") in values,
            "_up-to-date": lambda _: _up_to_date(task, view),
        }
        return passes(filters, tests)

    return json_list(
        _candidates(view, services, nodes, filters), keep, lambda task: task_view(task, view, context.cache)
    )


def _candidates(view: View, services: Collection[str], nodes: Collection[str], filters: Filters) -> list[Task]:
    """Return the tasks that can pass the filters, by the best index."""
    if filters.get("service"):
        return [task for service_id in services for task in view.tasks.of_service(service_id)]
    if filters.get("node"):
        return [task for node_id in nodes for task in view.tasks.on_node(node_id)]
    return list(view.tasks)


def _short_name(task: Task) -> str:
    return task.name.rpartition(".")[0]


def _labels(task: Task, view: View) -> Mapping[str, str]:
    """Return the labels that a task is filtered by: its service's, as long as there is one."""
    service = view.services.get(task.service_id)
    return service.spec.labels if service is not None else task.labels


def _check_desired(values: Collection[str]) -> None:
    for value in values:
        if value not in _DESIRED_STATES and value not in _STATES:
            raise invalid(f"Invalid desired-state filter: '{value}'")


def _up_to_date(task: Task, view: View) -> bool:
    """Whether a task is up to date: made from its service's version, or such that no update would replace it."""
    service = view.services.get(task.service_id)
    if service is None or task.renewing:
        return False
    if task.spec_version == service.spec_version:
        return True
    template = service.spec.task_template
    same = msgspec.structs.replace(task.spec, placement=template.placement) == template
    return (
        same and host_published_ports(task.ports) == host_ports(service) and has_right_attachment(task, service, view)
    )


async def inspect_task(context: Context, call: Call) -> Reply:
    view = context.store.view
    return Answer(value=task_view(find_task(view, call.params["id"]), view, context.cache))


# --- as the engine's API shows them ---


def task_view(task: Task, view: View, cache: JsonCache) -> dict[str, Any]:
    """Render a task; networks are looked up in `view`."""
    result = head(task)
    result["Labels"] = task.labels
    result["Spec"] = cache.get(task.spec, task_spec_view)
    result["ServiceID"] = task.service_id
    if task.slot:
        result["Slot"] = task.slot
    if task.node_id:
        result["NodeID"] = task.node_id
    result["Status"] = _status_view(task.status)
    if why := _back_off(task):
        # Ours: what `swarm-manager` tells the time left by. The error is where every client shows it.
        result["Restart"] = {"Streak": task.restart.streak, "NotBefore": rfc3339(task.restart.not_before)}
        result["Status"].setdefault("Err", why)
    if why := _waits_for_data(task, view) or stays_behind(task, view):
        result["Status"]["Err"] = why
    elif why := _out_of_sight(task, view):
        result["Status"].setdefault("Err", why)
    result["DesiredState"] = desired_state(task)
    if attachments := _attachments(task, view, cache):
        result["NetworksAttachments"] = attachments
    if task.generic_resources:
        result["GenericResources"] = [render(resource) for resource in task.generic_resources]
    if task.job_iteration is not None:
        result["JobIteration"] = render(task.job_iteration)
    result["Volumes"] = [_volume(task, each) for each in slot_volumes(task) if task.node_id] or None
    return result


def _volume(task: Task, volume: SlotVolume) -> dict[str, str]:
    """Render a volume that a task has on its node; its id is that of the node's copy."""
    return {"ID": volume_id(task.node_id, volume.name), "Source": volume.name, "Target": volume.target}


def _waits_for_data(task: Task, view: View) -> str:
    """Return why a task on a node that is down is not replaced: its data is there; else an empty text."""
    node = view.nodes.get(task.node_id)
    if node is None or node.status.state != "down" or not task.live or data_node(task, view) != node.id:
        return ""
    volume = next((each.name for each in slot_volumes(task)), "")
    return waits_for(volume, node.id, view)


def _out_of_sight(task: Task, view: View) -> str:
    """Say that a task's state is what its node said before it went down; empty where that is not so."""
    node = view.nodes.get(task.node_id)
    if node is None or node.status.state != "down" or not task.placed:
        return ""
    return f"node {node.name or node.id} is down since {to_the_second(node.updated_at)}: not known whether it runs"


def _back_off(task: Task) -> str:
    """Return when a task that backs off will start; empty if it does not."""
    record = task.restart
    if task.desired_state is not TaskState.READY or not record.not_before or task.status.state.terminal:
        return ""
    when = to_the_second(record.not_before)
    if not record.streak:
        return f"starts again at {when}"
    loop = f"crash loop, {record.streak} failures in a row: " if record.streak >= CRASH_LOOP else ""
    return f"{loop}next try at {when} (attempt {record.streak + 1})"


def desired_state(task: Task) -> str:
    """Return a task's desired state as the API names it; that of a job's task is `complete`."""
    done = task.status.state is TaskState.COMPLETE and task.desired_state < TaskState.REMOVE
    if task.job_iteration is not None and (task.desired_state is TaskState.RUNNING or done):
        return TaskState.COMPLETE.name.lower()
    return task.desired_state.name.lower()


def task_spec_view(spec: TaskSpec) -> dict[str, Any]:
    result = render(spec)
    if container := result.get("ContainerSpec"):
        container.setdefault("Isolation", "default")
    return result


def _status_view(status: TaskStatus) -> dict[str, Any]:
    result: dict[str, Any] = {
        "Timestamp": rfc3339(status.timestamp),
        "State": status.state.name.lower(),
        "Message": status.message,
    }
    if status.err:
        result["Err"] = status.err
    if (container := status.container_status) is not None:
        result["ContainerStatus"] = {
            "ContainerID": container.container_id,
            "PID": container.pid,
            "ExitCode": container.exit_code,
        }
    ports = [render(port) for port in status.ports]
    result["PortStatus"] = {"Ports": ports} if ports else {}
    return result


def _attachments(task: Task, view: View, cache: JsonCache) -> list[dict[str, Any]]:
    """List the task's networks: the ingress network where it answers in the routing mesh, and those of its spec."""
    ingress = ingress_of(view) if in_mesh(task) else None
    wanted = [*task.status.addresses, *(n.target for n in task.spec.networks)]
    result = []
    for network_id in dict.fromkeys([ingress.id, *wanted] if ingress is not None else wanted):
        network = view.networks.get(network_id)
        if network is not None:
            result.append(_attachment(network, task_address(view, task, network), cache))
        elif (known := _predefined_network(network_id)) is not None:
            result.append({"Network": _view_predefined_attachment(known)})
    return result


def _attachment(network: Network, address: str, cache: JsonCache) -> dict[str, Any]:
    entry: dict[str, Any] = {"Network": cache.get(network, view_attached)}
    if address:
        entry["Addresses"] = [address, *_ipv6(address, network)]
    return entry


def _ipv6(address: str, network: Network) -> list[str]:
    """Return the IPv6 address that follows in a dual-stack network."""
    prefix = prefix_of(config.subnet for config in network.subnets)
    if prefix is None:
        return []
    return [f"{with_ipv4(prefix, ipaddress.IPv4Interface(address).ip)}/{prefix.prefixlen}"]


def _predefined_network(name: str) -> Predefined | None:
    return next((known for known in PREDEFINED if known.name == name), None)


def _view_predefined_attachment(known: Predefined) -> dict[str, Any]:
    return {
        "ID": known.id,
        "Version": {},
        "Spec": {
            "Name": known.name,
            "Labels": {"com.docker.swarm.predefined": "true"},
            "DriverConfiguration": {"Name": known.driver},
            "Scope": "swarm",
        },
        "DriverState": {"Name": known.driver},
        "IPAMOptions": {"Driver": {}},
    }


ROUTES = (
    Route("GET", "/tasks", list_tasks, needs=Role.VIEWER, place=Place.STORE),
    Route("GET", "/tasks/{id}", inspect_task, needs=Role.VIEWER, place=Place.STORE),
)
