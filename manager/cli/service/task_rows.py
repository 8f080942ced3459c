"""Tasks in a table, with the names of their services and nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from common.model import Task, TaskState
from common.text.image_names import short_name
from manager.cli import codec
from manager.cli.client import Client, filter_query
from manager.cli.format.tables import Row, Table, ago, capitalize, natural, short_id, shorten

_ERROR_WIDTH = 30
# Why a task has never run says what and where only after docker's 30 characters.
_REASON_WIDTH = 160
_NEVER_RAN = (TaskState.PENDING, TaskState.PREPARING, TaskState.STARTING, TaskState.REJECTED)
CRASH_LOOP = 3

TASKS = Table(
    columns=(
        "{{.ID}}",
        "{{.Name}}",
        "{{.Image}}",
        "{{.Node}}",
        "{{.DesiredState}}",
        "{{.CurrentState}}",
        "{{.Error}}",
        "{{.Ports}}",
    ),
    headings={
        "ID": "ID",
        "Name": "NAME",
        "Image": "IMAGE",
        "Node": "NODE",
        "DesiredState": "DESIRED STATE",
        "CurrentState": "CURRENT STATE",
        "Error": "ERROR",
        "Ports": "PORTS",
    },
    raw={
        "id": "ID",
        "name": "Name",
        "image": "Image",
        "node": "Node",
        "desired_state": "DesiredState",
        "current_state": "CurrentState",
        "error": "Error",
        "ports": "Ports",
    },
)
# Of jobs that were executed more than once: which execution a task is of, counted from 1.
EXECUTIONS = replace(
    TASKS,
    columns=(*TASKS.columns[:2], "{{.Execution}}", *TASKS.columns[2:]),
    headings={**TASKS.headings, "Execution": "EXECUTION"},
)


@dataclass(frozen=True, slots=True)
class Names:
    """Names by id, of services and nodes; an id without one stands for itself."""

    services: Mapping[str, str]
    nodes: Mapping[str, str]

    def task(self, task: Task) -> str:
        service = self.services.get(task.service_id, task.service_id)
        return f"{service}.{task.slot or task.node_id}"


async def names(client: Client) -> Names:
    services = {each["ID"]: each["Spec"]["Name"] for each in await client.get("/services")}
    nodes = {each["ID"]: node_name(each) for each in await client.get("/nodes")}
    return Names(services, nodes)


def node_name(data: codec.Json) -> str:
    return str((data.get("Spec") or {}).get("Name") or data["Description"].get("Hostname", ""))


async def fetch(client: Client, filters: Mapping[str, list[str]]) -> list[Task]:
    return [codec.task(each) for each in await client.get("/tasks", filter_query(filters))]


def rows(tasks: Iterable[Task], known: Names, now: float, *, full: bool = False, tree: bool = True) -> list[Row]:
    """Make the rows in order: by name, the newest of a slot first and the ones before it indented (`tree`).

    Of a job the slots of each execution stand for themselves, the newest execution first.
    """
    ordered = sorted(tasks, key=lambda task: (natural(known.task(task)), -execution(task), -task.created_at))
    jobs = any(task.job_iteration is not None for task in ordered)
    made: list[Row] = []
    previous = ("", 0)
    for task in ordered:
        name, number = known.task(task), execution(task)
        row = {
            **_row(task, known, now, full=full),
            "Name": f" \\_ {name}" if tree and (name, number) == previous else name,
        }
        made.append({**row, "Execution": number or ""} if jobs else row)
        previous = (name, number)
    return made


def execution(task: Task) -> int:
    """Return which execution of its job a task is of, from 1 on; 0 for other tasks."""
    return task.job_iteration.index + 1 if task.job_iteration is not None else 0


def _row(task: Task, known: Names, now: float, *, full: bool) -> dict[str, object]:
    spec = task.spec.container_spec
    image = spec.image if spec else ""
    state = task.status.state.name.lower()
    since = ago(task.status.timestamp, now)
    error = back_off(task, now) or task.status.err
    return {
        "ID": task.id if full else short_id(task.id),
        "Image": image if full else short_name(image),
        "Node": known.nodes.get(task.node_id, task.node_id),
        "DesiredState": capitalize(task.desired_state.name),
        "CurrentState": f"{capitalize(state)} {since.lower()}",
        "Error": _quote_error(error, full=full, has_run=task.status.state not in _NEVER_RAN),
        "Ports": ",".join(f"*:{p.published_port}->{p.target_port}/{p.protocol}" for p in task.status.ports),
    }


def back_off(task: Task, now: float) -> str:
    """Say in how long a task that waits after a failure starts: `crash loop: next try in 40 s (attempt 5)`."""
    left = task.restart.not_before - now
    if task.desired_state is not TaskState.READY or left <= 0:
        return ""
    streak = task.restart.streak
    loop = "crash loop: " if streak >= CRASH_LOOP else ""
    return f"{loop}next try in {left:.0f} s (attempt {streak + 1})" if streak else f"starts again in {left:.0f} s"


def _quote_error(error: str, *, full: bool, has_run: bool) -> str:
    text = error if full else shorten(error, _ERROR_WIDTH if has_run else _REASON_WIDTH)
    return f'"{text}"' if text else ""


async def print_tasks(
    client: Client,
    tasks: list[Task],
    now: float,
    *,
    layout: str = "",
    quiet: bool = False,
    no_trunc: bool = False,
    no_resolve: bool = False,
) -> str:
    """Render tasks as `service ps`, `node ps`, `stack ps` and `task ls` do."""
    known = Names({}, {}) if no_resolve else await names(client)
    in_table = layout in ("", "raw") or layout.startswith("table")
    made = rows(tasks, known, now, full=no_trunc, tree=in_table and layout != "raw")
    table = EXECUTIONS if any(execution(task) > 1 for task in tasks) else TASKS
    return table.render(made, layout, quiet=quiet)
