"""How both command lines speak: the examples that end a help, and what is wrong with a command line.

The latter is said in the docker command line's words, with its exit codes: 125 for a flag, else 1.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from common.text.terminal import echo

USAGE_EXIT = 125
# How writing fails where there is no room, or no disk any more.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

FC = TypeVar("FC", bound=Callable[..., Any] | click.Command)


def as_epilog(examples: str) -> str:
    """Return examples, one a line, as the end of a command's help; a backspace has click keep the lines."""
    lines = [line.strip() for line in examples.strip().splitlines()]
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines) if lines else ""


def log_level_option(program: str) -> Callable[[FC], FC]:
    """Make the option `--log-level` of a daemon; `program` is what its help calls it."""
    return click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        default="info",
        show_default=True,
        help=f"What the {program} logs.",
    )


class _DataFolder(click.Path):
    """A data directory, which need not be there. One that is empty would be the folder that the shell is in."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("it is empty (is a variable of your shell's not set?)", param, ctx)
        return super().convert(value, param, ctx)


DATA_FOLDER = _DataFolder(path_type=Path, readable=False, file_okay=False)


class TooManyArguments(click.UsageError):
    """More arguments than the command has."""


def explain_usage(error: click.UsageError) -> tuple[str, int]:
    """Return what standard error is to say of a command line that is wrong, and the exit code."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return error.message, 0
    if isinstance(error, click.NoSuchOption):
        return f"unknown flag: {error.option_name}{_see_help(error)}", USAGE_EXIT
    too_few = isinstance(error, click.MissingParameter) and isinstance(error.param, click.Argument)
    if error.ctx is not None and (too_few or isinstance(error, TooManyArguments)):
        return _requires(error.ctx), 1
    if isinstance(error, click.MissingParameter) and isinstance(error.param, click.Option):
        return f"{_missing(error.param)}{_see_help(error)}", 1
    if isinstance(error, click.BadParameter) and isinstance(error.param, click.Option):
        return f"{_bad_value(error.message, error.param)}{_see_help(error)}", USAGE_EXIT
    code = USAGE_EXIT if isinstance(error, click.BadOptionUsage) else 1
    return f"{error.format_message()}{_see_help(error)}", code


def _bad_value(message: str, param: click.Option) -> str:
    """Word a bad value as Docker does, whether the type of the option did (`invalid`), or click."""
    if message.startswith("invalid argument "):
        return message
    why = message.replace("a valid integer range.", "a whole number").replace("a valid integer.", "a whole number")
    return f'invalid argument for "{", ".join(sorted(param.opts, key=len))}" flag: {why.removesuffix(".")}'


def _missing(param: click.Option) -> str:
    words = f": {' or '.join(param.type.choices)}" if isinstance(param.type, click.Choice) else ""
    return f'required flag "{max(param.opts, key=len)}" not set{words}'


def _see_help(error: click.UsageError) -> str:
    return f"\nSee '{error.ctx.command_path} --help'." if error.ctx else ""


def no_room(error: OSError) -> str:
    """Say where writing has failed: in a file, else in what a command prints."""
    return f"cannot write {error.filename or 'the output'}: {error.strerror}"


def _requires(ctx: click.Context) -> str:
    """Say how many arguments a command has, in Docker's words."""
    return (
        f"\"{ctx.command_path}\" {_count(ctx.command)}.\nSee '{ctx.command_path} --help'.\n\n"
        f"{ctx.command.get_usage(ctx)}\n\n{ctx.command.get_short_help_str(200)}"
    )


def _count(command: click.Command) -> str:
    arguments = [param for param in command.params if isinstance(param, click.Argument)]
    least = sum(1 for argument in arguments if argument.required)
    if not arguments:
        return "accepts no arguments"
    if any(argument.nargs == -1 for argument in arguments):
        return f"requires at least {least} argument{'' if least == 1 else 's'}"
    if least < len(arguments):
        return f"requires at least {least} and at most {len(arguments)} arguments"
    return f"requires exactly {least} argument{'' if least == 1 else 's'}"


@contextmanager
def dockers_usage() -> Iterator[None]:
    """Say what is wrong with a command line as docker does, and have click end the program with docker's exit code."""
    try:
        yield
    except click.UsageError as error:
        message, code = explain_usage(error)
        echo(message, err=True)
        raise click.exceptions.Exit(code) from error
