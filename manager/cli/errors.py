"""What is printed, and the exit code, when a command fails. Docker's: 125 for a bad flag, 1 for everything else."""

from __future__ import annotations

import errno

import click

from common.errors import SwarmError, leaves

USAGE_EXIT = 125
INTERRUPTED_EXIT = 130
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def explain(error: BaseException) -> tuple[str, int]:
    """Turn an error into a message for standard error (may be empty) and an exit code; anything unknown is a bug."""
    error = next(leaves(error))  # of several waits that failed at once, one reason is enough
    match error:
        case click.UsageError():
            return _explain_usage(error)
        case click.ClickException():
            return error.format_message(), error.exit_code
        case SwarmError():
            return error.message, 1
        case KeyboardInterrupt() | click.Abort():
            return "", INTERRUPTED_EXIT
        case OSError() if error.errno in _FULL:
            return f"cannot write the output: {error.strerror}", 1
    report = "This is a bug in swarm-manager; run the command again with --debug to see where."
    return f"{type(error).__name__}: {error}\n{report}", 1


def _explain_usage(error: click.UsageError) -> tuple[str, int]:
    if isinstance(error, click.NoSuchOption):
        return f"unknown flag: {error.option_name}{_see_help(error)}", USAGE_EXIT
    if isinstance(error, click.MissingParameter) and isinstance(error.param, click.Argument):
        return _requires(error), 1
    if isinstance(error, click.BadParameter) and isinstance(error.param, click.Option):
        return f"{error.message}{_see_help(error)}", USAGE_EXIT
    code = USAGE_EXIT if isinstance(error, click.BadOptionUsage) else 1
    return f"{error.format_message()}{_see_help(error)}", code


def _see_help(error: click.UsageError) -> str:
    return f"\nSee '{error.ctx.command_path} --help'." if error.ctx else ""


def _requires(error: click.MissingParameter) -> str:
    ctx = error.ctx
    if ctx is None:
        return error.format_message()
    arguments = [param for param in ctx.command.params if isinstance(param, click.Argument)]
    least = sum(1 for argument in arguments if argument.required)
    exact = all(argument.required and argument.nargs == 1 for argument in arguments)
    count = f"{'exactly' if exact else 'at least'} {least} argument{'' if least == 1 else 's'}"
    usage = ctx.command.get_usage(ctx)
    return (
        f'"{ctx.command_path}" requires {count}.{_see_help(error)}\n\n{usage}\n\n{ctx.command.get_short_help_str(200)}'
    )
