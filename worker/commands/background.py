"""`swarm-worker start` and `status`: the worker in the background."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from common.clock import to_the_second
from common.process.usage import as_epilog
from common.text.terminal import echo
from worker.commands.options import DATA_DIR, plain_errors
from worker.config import DataDir, WorkerConfig
from worker.host import background, status_file


@click.command(
    "start",
    epilog=as_epilog(
        """
        swarm-worker start
        swarm-worker start --manager 10.0.0.2:2377
        """
    ),
)
@click.option("--manager", default="", metavar="HOST[:PORT]", help="New address of the manager, if it has moved.")
@DATA_DIR
@plain_errors
def start_command(manager: str, data_dir: Path) -> None:
    """Start this host's worker again, where no systemd does so at boot; one that runs already is left alone.

    With --manager one that runs is started anew, and goes there. Its containers run on.
    """
    data = DataDir(data_dir)
    background.start_again(data, manager)
    status = status_file.read(data.status)
    if status is None or not status.manager:
        hint = background.daemon(data).log_hint()
        echo(f"The worker runs, but no manager has accepted it yet: see {hint}", err=True)


@click.command(
    "status",
    epilog=as_epilog(
        """
        swarm-worker status
        swarm-worker status --format json
        """
    ),
)
@click.option(
    "--format",
    "layout",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Output format.",
)
@DATA_DIR
@plain_errors
def status_command(layout: str, data_dir: Path) -> None:
    """Show whether this worker runs, which manager it talks to, and what it has. Exits with 1 if it does not run."""
    data = DataDir(data_dir)
    config = data.load()
    status, obstacle = status_file.read(data.status), status_file.obstacle(data.status)
    if layout == "json":
        known = {
            "node_id": config.node_id,
            "cluster_id": config.cluster_id,
            "running": status is not None,
            "written_at": status_file.written_at(data.status),
            "obstacle": obstacle,
        }
        echo(msgspec.json.format(msgspec.json.encode(known | msgspec.to_builtins(status or {}))).decode())
    else:
        for name, value in _status_lines(data, config, status, obstacle):
            echo(f"{name + ':':<14}{value}")
    if status is None:
        sys.exit(1)


def _status_lines(
    data: DataDir, config: WorkerConfig, status: status_file.WorkerStatus | None, obstacle: str
) -> Iterator[tuple[str, str]]:
    """Yield what to show; `obstacle` is why the worker cannot write a newer status."""
    yield "Node", config.node_id
    yield "Cluster", config.cluster_id
    unwritable = f"{data.path} cannot be written: {obstacle}"
    if status is None:
        state = f"not running, or {unwritable}" if obstacle else "not running"
        yield "Worker", f"{state} (log: {background.daemon(data).log_hint()})"
        return
    yield "Worker", f"running as process {status.pid}"
    if obstacle:
        written = to_the_second(status_file.written_at(data.status))
        yield "As of", f"{written}: what follows may have changed since, as {unwritable}"
    session = f"with {status.manager}" if status.manager else f"none (known managers: {', '.join(config.managers)})"
    yield "Session", session + (f", since {to_the_second(status.since)}" if status.since else "")
    if status.refused:
        yield "Reason", status.refused
    yield "Engine", f"Docker {status.engine}" if status.engine else "no answer yet"
    yield "Tasks", f"{status.tasks_running} of {status.tasks} run"
    yield "Certificate", f"until {to_the_second(status.certificate_until)}"
    for sentence in status.lacks:
        yield "Lacks", sentence
