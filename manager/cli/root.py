"""The program `swarm-manager` itself: its groups, and what happens when a command fails."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

import click

from common.text.help import as_epilog
from common.text.terminal import echo
from manager.cli.cluster.client_cert import client_cert
from manager.cli.cluster.commands import cluster, join_token, leave
from manager.cli.cluster.events import events
from manager.cli.cluster.status import status
from manager.cli.command import SwarmGroup, connection_flags
from manager.cli.completion import completion
from manager.cli.container.commands import container
from manager.cli.container.exec import execute
from manager.cli.failures import explain
from manager.cli.files.config import config
from manager.cli.files.secret import secret
from manager.cli.image.commands import image
from manager.cli.inspect_any import inspect_any
from manager.cli.network.network import network
from manager.cli.network.volume import volume
from manager.cli.node.commands import node
from manager.cli.service.commands import service
from manager.cli.service.task import task
from manager.cli.stack.commands import stack

PROGRAM = "swarm-manager"

_EXAMPLES = """
swarm-manager init --advertise-addr 192.0.2.10
swarm-manager stack deploy -c docker-compose.yaml shop
swarm-manager -H tcp://192.0.2.10:2376 service ls
swarm-manager ps           # docker's names without a noun: container ls; logs, cp, images, pull, …
"""


# Docker's names without a noun. `start` and `run` mean the manager itself here.
_SHORT: dict[str, click.Command] = {
    **{
        name: container.commands[name]
        for name in (
            *("attach", "commit", "cp", "diff", "export", "kill", "logs", "pause", "port", "rename", "restart", "rm"),
            *("stats", "stop", "top", "unpause", "wait"),
        )
    },
    **{name: image.commands[name] for name in ("build", "load", "pull", "push", "save", "tag")},
    "images": image.commands["ls"],
    "ps": container.commands["ls"],
    "rmi": image.commands["rm"],
}


class Program(SwarmGroup):
    """The outermost group: errors become a message and an exit code, never a traceback (but with --debug)."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, cmd_name) or _SHORT.get(cmd_name)

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        run: Callable[[], Any] = partial(super().main, *args, standalone_mode=False, **{"prog_name": PROGRAM, **extra})
        if not standalone_mode:
            return run()
        try:
            result = run()
        except BrokenPipeError:
            _leave_quietly()
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  # the one place that turns any error into an exit
            if "--debug" in (args[0] if args and args[0] is not None else extra.get("args") or sys.argv):
                echo(traceback.format_exc(), err=True, nl=False)
            message, code = explain(error)
            if message:
                echo(message, err=True)
            sys.exit(code)
        sys.exit(result if isinstance(result, int) else 0)


def _leave_quietly() -> NoReturn:
    """End as a program does whose reader (`| head`) went away: nothing more can be written, not even at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(1)


cli = Program(
    PROGRAM,
    help="Run and use a cluster of Docker hosts: services, stacks, nodes, secrets.",
    epilog=as_epilog(_EXAMPLES),
    params=connection_flags(taken=set()),
    context_settings={"help_option_names": ["-h", "--help"]},
)

click.version_option(package_name="swarm", message="%(prog)s %(version)s")(cli)

for command in (
    client_cert,
    cluster,
    completion,
    config,
    container,
    events,
    execute,
    image,
    inspect_any,
    join_token,
    leave,
    network,
    node,
    secret,
    service,
    stack,
    status,
    task,
    volume,
):
    cli.add_command(command)
