"""/tasks: list and inspect."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from common.model import Task, TaskState
from common.model.client import Role
from manager.api.call import Answer, Call, Filters, Reply
from manager.api.context import Context
from manager.api.errors import invalid
from manager.api.json_list import json_list
from manager.api.lookup import any_prefix, find_node, find_service, find_task, labels_match, passes
from manager.api.router import Route
from manager.api.views.tasks import desired_state, task_view
from manager.orchestrate import wayin
from manager.orchestrate.case import host_ports
from manager.state.revisions import opened_on_host
from manager.state.view import View

_FILTERS = frozenset({"_up-to-date", "desired-state", "id", "label", "name", "node", "runtime", "service"})
_STATES = {state.name.lower() for state in TaskState}
_DESIRED_STATES = {"running", "shutdown", "accepted"}


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
    """Return the tasks that can pass, by the best index there is."""
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
    """Whether a task is as its service says now: made from that version, or such that no update need replace it."""
    service = view.services.get(task.service_id)
    if service is None or task.renewing:
        return False
    if task.spec_version == service.spec_version:
        return True
    template = service.spec.task_template
    same = msgspec.structs.replace(task.spec, placement=template.placement) == template
    return same and opened_on_host(task.ports) == host_ports(service) and wayin.as_wanted(task, service, view)


async def inspect_task(context: Context, call: Call) -> Reply:
    view = context.store.view
    return Answer(value=task_view(find_task(view, call.params["id"]), view, context.cache))


ROUTES = (
    Route("GET", "/tasks", list_tasks, needs=Role.VIEWER),
    Route("GET", "/tasks/{id}", inspect_task, needs=Role.VIEWER),
)
