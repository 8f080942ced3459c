"""`swarm-worker run`: the agent in the foreground; options of several commands, and how an error ends one."""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from common.errors import SwarmError, leaves
from common.process import logs
from common.process.launch import keep_memory_off_disk
from common.text.help import as_epilog
from common.text.terminal import echo
from worker import app
from worker.config import DEFAULT_DATA_DIR, DataDir
from worker.host import background

F = TypeVar("F", bound=Callable[..., Any])

DATA_DIR = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    default=DEFAULT_DATA_DIR,
    show_default=True,
    help="Directory of this worker's identity and state.",
)
LOG_LEVEL = click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="What the worker logs.",
)


def plain_errors(command: F) -> F:
    """Show an expected error as one line and exit with 1, as the docker command line does."""

    @functools.wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except* SwarmError as errors:
            echo(f"Error: {next(leaves(errors))}", err=True)
            sys.exit(1)

    return wrapped  # type: ignore[return-value]


@click.command("run", epilog=as_epilog("swarm-worker run --data-dir /var/lib/swarm-worker"))
@DATA_DIR
@LOG_LEVEL
@plain_errors
def run_command(data_dir: Path, log_level: str) -> None:
    """Run the worker in the foreground: what its systemd unit does.

    Stopping it stops no container.
    """
    run_agent(DataDir(data_dir), log_level)


def run_agent(data: DataDir, log_level: str, welcomed: Callable[[], None] = lambda: None) -> None:
    """Run the agent to its end, as `app.run` does."""
    logs.setup(log_level)
    keep_memory_off_disk()
    background.check_not_running(data)
    asyncio.run(app.run(data, welcomed))
