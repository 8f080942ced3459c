"""What several commands of `swarm-worker` have: options, and how an error ends one."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from common.errors import SwarmError, leaves
from common.process.private_files import usable_folder
from common.process.usage import DATA_FOLDER, log_level_option
from common.text.terminal import echo
from worker.config import DEFAULT_DATA_DIR

F = TypeVar("F", bound=Callable[..., Any])


def _own_folder(ctx: click.Context, param: click.Parameter, path: Path) -> Path:
    del param
    try:
        return path if ctx.resilient_parsing else usable_folder(path)
    except SwarmError as error:
        raise click.ClickException(error.message) from error


DATA_DIR = click.option(
    "--data-dir",
    type=DATA_FOLDER,
    callback=_own_folder,
    default=DEFAULT_DATA_DIR,
    show_default=True,
    help="Directory of this worker's identity and state.",
)
LOG_LEVEL = log_level_option("worker")


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
