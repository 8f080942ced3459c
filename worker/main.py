"""`swarm-worker`: the agent that runs a cluster's tasks on this host, and the commands around it."""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from common.clock import rfc3339
from common.errors import SwarmError, leaves
from common.process import logs
from common.process.hardening import keep_memory_off_disk, refuse_others_writing
from common.process.hosts import ENGINE_HOST
from common.process.interrupt import interruptible
from common.text import help as help_text
from common.text.help import as_epilog
from common.text.terminal import echo
from common.version import version
from worker import app
from worker.config import DEFAULT_DATA_DIR, DEFAULT_IMAGE_PORT, DEFAULT_KEEP_IMAGES, DataDir, WorkerConfig
from worker.host import join, join_token, leave, status_file

F = TypeVar("F", bound=Callable[..., Any])

_DATA_DIR = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    default=DEFAULT_DATA_DIR,
    show_default=True,
    help="Directory of this worker's identity and state.",
)
_LOG_LEVEL = click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="What the worker logs.",
)


def _plain_errors(command: F) -> F:
    """Show an expected error as one line and exit with 1, as the docker command line does."""

    @functools.wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except* SwarmError as errors:
            echo(f"Error: {next(leaves(errors))}", err=True)
            sys.exit(1)

    return wrapped  # type: ignore[return-value]


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=as_epilog("swarm-worker join --token SWMTKN-1-… 10.0.0.1:2377"),
)
@click.version_option(version(), prog_name="swarm-worker")
def main() -> None:
    """Run the tasks of a cluster on this host's Docker engine."""
    refuse_others_writing()


@main.command(
    "join",
    epilog=as_epilog(
        """
        swarm-worker join --token SWMTKN-1-… 10.0.0.1:2377
        swarm-worker join --token-file /root/token 10.0.0.1:2377
        swarm-worker join --token SWMTKN-1-… --label disk=ssd --availability pause manager.example
        """
    ),
)
@click.argument("manager", metavar="HOST[:PORT]")
@click.option(
    "--token",
    default="",
    help="The token that 'swarm-manager join-token worker' prints; -: read it from standard input.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=f"Read the token from a file. The default is the variable {join_token.VARIABLE}.",
)
@click.option("--advertise-addr", default="", metavar="IP", help="Address at which other hosts reach this one.")
@click.option("--docker-host", default=ENGINE_HOST, show_default=True, help="The engine to run tasks on.")
@click.option(
    "--image-port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_IMAGE_PORT,
    show_default=True,
    help="TCP port where other workers fetch images; 0: only through the manager.",
)
@click.option(
    "--keep-images",
    type=click.IntRange(0),
    default=DEFAULT_KEEP_IMAGES,
    show_default=True,
    metavar="DAYS",
    help="How long to keep images fetched from other workers after their last use; 0: for ever.",
)
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Give the node a label; repeatable.")
@click.option(
    "--availability",
    type=click.Choice(join.AVAILABILITIES),
    default="active",
    show_default=True,
    help="Whether the node takes tasks: pause keeps its tasks, drain moves them away.",
)
@click.option("--foreground", is_flag=True, help="Stay in the foreground instead of starting the service.")
@_DATA_DIR
@_LOG_LEVEL
@_plain_errors
def join_command(
    manager: str,
    token: str,
    token_file: Path | None,
    advertise_addr: str,
    docker_host: str,
    image_port: int,
    keep_images: int,
    labels: tuple[str, ...],
    availability: str,
    foreground: bool,
    data_dir: Path,
    log_level: str,
) -> None:
    """Make this host a node of the cluster whose manager is at HOST[:PORT]."""
    data = DataDir(data_dir)
    wishes = join.JoinOptions(
        manager=manager,
        token=join_token.read_token(token, token_file),
        advertise_addr=advertise_addr,
        docker_host=docker_host,
        image_port=image_port,
        keep_images=keep_images,
        labels=join.parse_labels(labels),
        availability=availability,
    )
    with (
        interruptible("Interrupted: undoing the join."),
        join.take_back_unless_settled(data) as settle,
    ):
        config = asyncio.run(join.become_member(data, wishes, _warn))
        if foreground:
            _run(data, log_level, settle)
            return
        status = join.start(data)
        settle()
    echo(f"This host joined cluster {config.cluster_id} as node {config.node_id}.")
    for sentence in status.lacks:
        _warn(sentence)


def _warn(sentence: str) -> None:
    echo(f"Warning: {sentence}", err=True)


@main.command(
    "start",
    epilog=as_epilog(
        """
        swarm-worker start
        swarm-worker start --manager 10.0.0.2:2377
        """
    ),
)
@click.option("--manager", default="", metavar="HOST[:PORT]", help="New address of the manager, if it has moved.")
@_DATA_DIR
@_plain_errors
def start_command(manager: str, data_dir: Path) -> None:
    """Start this host's worker again, where no systemd does so at boot; one that runs already is left alone.

    With --manager one that runs is started anew, and goes there. Its containers run on.
    """
    data = DataDir(data_dir)
    join.start_again(data, manager)
    status = status_file.read(data.status)
    if status is None or not status.manager:
        hint = join.daemon(data).log_hint()
        echo(f"The worker runs, but no manager has accepted it yet: see {hint}", err=True)


@main.command("run", epilog=as_epilog("swarm-worker run --data-dir /var/lib/swarm-worker"))
@_DATA_DIR
@_LOG_LEVEL
@_plain_errors
def run_command(data_dir: Path, log_level: str) -> None:
    """Run the worker in the foreground: what its systemd unit does.

    Stopping it stops no container.
    """
    _run(DataDir(data_dir), log_level)


@main.command("leave", epilog=as_epilog("swarm-worker leave"))
@_DATA_DIR
@_plain_errors
def leave_command(data_dir: Path) -> None:
    """Leave the cluster: stop this node's tasks, remove what they made here, forget the identity."""
    data = DataDir(data_dir)
    config = data.load()
    asyncio.run(join.engine_info(config.docker_host))
    join.daemon(data).stop()
    join.check_not_running(data)
    match asyncio.run(leave.leave(data)):
        case leave.Told.HEARD:
            echo("This host left the cluster.")
        case leave.Told.REMOVED:
            echo("This host left the cluster, which had already removed its node.")
        case leave.Told.UNHEARD:
            echo(
                "This host left the cluster, but no manager could be told: "
                f"remove it there with 'swarm-manager node rm --force {config.node_id}'."
            )


@main.command(
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
@_DATA_DIR
@_plain_errors
def status_command(layout: str, data_dir: Path) -> None:
    """Show whether this worker runs, which manager it talks to, and what it has. Exits with 1 if it does not run."""
    data = DataDir(data_dir)
    config = data.load()
    status = status_file.read(data.status)
    if layout == "json":
        known = {"node_id": config.node_id, "cluster_id": config.cluster_id, "running": status is not None}
        echo(msgspec.json.format(msgspec.json.encode(known | msgspec.to_builtins(status or {}))).decode())
    else:
        for name, value in _status_lines(config, status, join.daemon(data).log_hint()):
            echo(f"{name + ':':<14}{value}")
    if status is None:
        sys.exit(1)


def _status_lines(
    config: WorkerConfig, status: status_file.WorkerStatus | None, log_hint: str
) -> Iterator[tuple[str, str]]:
    yield "Node", config.node_id
    yield "Cluster", config.cluster_id
    if status is None:
        yield "Worker", f"not running (log: {log_hint})"
        return
    yield "Worker", f"running as process {status.pid}"
    session = f"with {status.manager}" if status.manager else f"none (known managers: {', '.join(config.managers)})"
    yield "Session", session + (f", since {rfc3339(status.since)}" if status.since else "")
    if status.refused:
        yield "Reason", status.refused
    yield "Engine", f"Docker {status.engine}" if status.engine else "no answer yet"
    yield "Tasks", f"{status.tasks_running} of {status.tasks} run"
    yield "Certificate", f"until {rfc3339(status.certificate_until)}"
    for sentence in status.lacks:
        yield "Lacks", sentence


@main.command(
    "completion",
    epilog=as_epilog(
        """
        swarm-worker completion bash > /etc/bash_completion.d/swarm-worker
        swarm-worker completion fish > ~/.config/fish/completions/swarm-worker.fish
        """
    ),
)
@click.argument("shell", type=click.Choice(help_text.SHELLS))
def completion_command(shell: str) -> None:
    """Print the completion script for a shell."""
    echo(help_text.script(main, "swarm-worker", shell))


def _run(data: DataDir, log_level: str, welcomed: Callable[[], None] = lambda: None) -> None:
    """Run the agent to its end, as `app.run` does."""
    logs.setup(log_level)
    keep_memory_off_disk()
    join.check_not_running(data)
    asyncio.run(app.run(data, welcomed))


if __name__ == "__main__":
    main(prog_name="swarm-worker")
