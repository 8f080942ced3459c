"""`swarm-manager service logs`."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from common.model import Task
from common.text.terminal import one_line, pass_on
from manager.cli import codec
from manager.cli.client import Client
from manager.cli.cluster.events import moment
from manager.cli.command import SwarmCommand, flag
from manager.cli.completion import complete_services
from manager.cli.container.streams import STDERR, frames
from manager.cli.failures import ApiError, CommandFailed
from manager.cli.format.tables import short_id
from manager.cli.service import task_rows
from manager.cli.service.task_rows import Names
from manager.cli.session import with_client

if TYPE_CHECKING:
    from aiohttp import StreamReader

_TASK_LABEL = "com.docker.swarm.task.id"
_OUR_LABELS = ("com.docker.swarm.node.id", "com.docker.swarm.service.id", _TASK_LABEL)


@click.command(
    cls=SwarmCommand,
    examples="""
    swarm-manager service logs --follow --tail 20 web
    swarm-manager service logs --since 10m --timestamps web
    """,
)
@click.argument("reference", metavar="SERVICE|TASK", shell_complete=complete_services)
@flag("--details", is_flag=True, default=False, help="Show extra details provided to logs.")
@flag("-f", "--follow", is_flag=True, default=False, help="Follow log output.")
@flag("--no-resolve", is_flag=True, default=False, help="Do not map IDs to names in output.")
@flag("--no-task-ids", is_flag=True, default=False, help="Do not include task IDs in output.")
@flag("--no-trunc", is_flag=True, default=False, help="Do not truncate output.")
@flag("--raw", is_flag=True, default=False, help="Do not neatly format logs.")
@flag("--since", metavar="STRING", help="Show logs since a time (2026-01-31T12:00:00Z) or a duration before now (42m).")
@flag("-n", "--tail", default="all", show_default=True, metavar="STRING", help="Number of lines from the end.")
@flag("-t", "--timestamps", is_flag=True, default=False, help="Show timestamps.")
@with_client
async def logs(client: Client, /, reference: str, **given: Any) -> None:
    """Print the logs of all tasks of a service, or of one task."""
    path, tty, replicas = await _find(client, reference)
    query = {
        "stdout": "true",
        "stderr": "true",
        "details": "true" if given["details"] or not given["raw"] else "false",
        "follow": "true" if given["follow"] else "false",
        "tail": given["tail"],
        "timestamps": "true" if given["timestamps"] else "false",
        **({"since": moment(given["since"], time.time())} if given["since"] else {}),
    }
    async with client.stream(path, query) as body:
        if tty:
            await _copy(body)
            return
        known = Names({}, {}) if given["no_resolve"] else await task_rows.names(client)
        writer = _Writer(client, known, given, len(str(replicas)))
        async for channel, piece in frames(body):
            line = piece.decode(errors="replace")
            text = line if given["raw"] else await writer.format(line)
            pass_on(text, err=channel == STDERR)


async def _find(client: Client, reference: str) -> tuple[str, bool, int]:
    """Return the path of the logs, whether they are a terminal's, and how many replicas' names to leave room for."""
    try:
        service = codec.service(await client.get(f"/services/{reference}"))
    except ApiError as error:
        if not error.not_found:
            raise
    else:
        container, replicated = service.spec.task_template.container_spec, service.spec.mode.replicated
        return (
            f"/services/{service.id}/logs",
            bool(container and container.tty),
            (replicated and replicated.replicas) or 1,
        )
    try:
        task = codec.task(await client.get(f"/tasks/{reference}"))
    except ApiError as error:
        raise CommandFailed(f"no such task or service: {reference}" if error.not_found else error.message) from error
    return f"/tasks/{task.id}/logs", bool(task.spec.container_spec and task.spec.container_spec.tty), task.slot


async def _copy(body: StreamReader) -> None:
    async for chunk in body.iter_any():
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()


class _Writer:
    """Puts `service.slot.task@node | ` before each line; a task is asked for once."""

    def __init__(self, client: Client, known: Names, given: Mapping[str, Any], digits: int) -> None:
        self._client = client
        self._known = known
        self._given = given
        self._digits = digits
        self._labels: dict[str, str] = {}

    async def format(self, line: str) -> str:
        stamp, rest = "", line
        if self._given["timestamps"]:
            stamp, _, rest = line.partition(" ")
        details, _, message = rest.partition(" ")
        pairs = dict(pair.partition("=")[::2] for pair in details.split(","))
        if _TASK_LABEL not in pairs:
            return line
        label = await self._label(pairs[_TASK_LABEL], pairs.get("com.docker.swarm.node.id", ""))
        if self._given["details"]:
            kept = ",".join(f"{key}={value}" for key, value in pairs.items() if key not in _OUR_LABELS)
            message = f"{one_line(kept)} {message}" if kept else message
        return f"{stamp + ' ' if stamp else ''}{one_line(label)}    | {message}"

    async def _label(self, task_id: str, node_id: str) -> str:
        if task_id not in self._labels:
            try:
                task = codec.task(await self._client.get(f"/tasks/{task_id}"))
                self._labels[task_id] = log_label(task, self._known, self._given, self._digits)
            except ApiError:  # its record is gone by now; its lines are not
                self._labels[task_id] = f"{short_id(task_id)}@{self._known.nodes.get(node_id, node_id)}"
        return self._labels[task_id]


def log_label(task: Task, known: Names, given: Mapping[str, Any], digits: int) -> str:
    """Name a task in front of its lines; slots of fewer digits are padded so that the lines stay aligned."""
    name = f"{known.services.get(task.service_id, task.service_id)}.{task.slot}"
    if not given["no_task_ids"]:
        name += f".{task.id if given['no_trunc'] else short_id(task.id)}"
    padding = " " * (digits - len(str(task.slot)))
    return f"{name}@{known.nodes.get(task.node_id, task.node_id)}{padding}"
