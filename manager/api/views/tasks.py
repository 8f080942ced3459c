"""Tasks as the engine's API shows them."""

from __future__ import annotations

import ipaddress
from typing import Any

from common.addressing6 import prefix_of, with_ipv4
from common.clock import rfc3339
from common.model import Network, Task, TaskState
from common.model.service import TaskSpec
from common.model.task import TaskStatus
from manager.api.views.cache import JsonCache
from manager.api.views.networks import PREDEFINED, Predefined, attached_view, in_mesh, ingress_of, task_address
from manager.api.views.render import head, render
from manager.state.view import View

# From so many failures in a row on, without a run of a minute between them, a slot is said to be in a crash loop.
CRASH_LOOP = 3


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
    result["DesiredState"] = desired_state(task)
    if attachments := _attachments(task, view, cache):
        result["NetworksAttachments"] = attachments
    if task.generic_resources:
        result["GenericResources"] = [render(resource) for resource in task.generic_resources]
    if task.job_iteration is not None:
        result["JobIteration"] = render(task.job_iteration)
    result["Volumes"] = None
    return result


def _back_off(task: Task) -> str:
    """Say when a task that waits for its restart's time starts; empty when it waits for nothing, or something else."""
    record = task.restart
    if task.desired_state is not TaskState.READY or not record.not_before or task.status.state.terminal:
        return ""
    when = rfc3339(record.not_before)[:19] + "Z"
    if not record.streak:
        return f"starts again at {when}"
    loop = f"crash loop, {record.streak} failures in a row: " if record.streak >= CRASH_LOOP else ""
    return f"{loop}next try at {when} (attempt {record.streak + 1})"


def desired_state(task: Task) -> str:
    """Name what is wanted of a task; of a job's task it is to complete, and when it has it stays so."""
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
        elif (known := _predefined(network_id)) is not None:
            result.append({"Network": _predefined_attached(known)})
    return result


def _attachment(network: Network, address: str, cache: JsonCache) -> dict[str, Any]:
    entry: dict[str, Any] = {"Network": cache.get(network, attached_view)}
    if address:
        entry["Addresses"] = [address, *_ipv6(address, network)]
    return entry


def _ipv6(address: str, network: Network) -> list[str]:
    """Return the IPv6 address that follows in a dual-stack network."""
    prefix = prefix_of(config.subnet for config in network.subnets)
    if prefix is None:
        return []
    return [f"{with_ipv4(prefix, ipaddress.IPv4Interface(address).ip)}/{prefix.prefixlen}"]


def _predefined(name: str) -> Predefined | None:
    return next((known for known in PREDEFINED if known.name == name), None)


def _predefined_attached(known: Predefined) -> dict[str, Any]:
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
