"""The program `swarm-manager` itself: its groups, and what happens when a command fails."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

import click

import common.text.shell_completion  # noqa: F401  # click completes for the shells that it registers
from common.errors import leaves
from common.process.deferred import Deferred
from common.process.usage import as_epilog
from common.text.terminal import echo
from common.version import version
from manager.cli.command import SwarmGroup, connection_flags
from manager.cli.failures import explain

PROGRAM = "swarm-manager"

_EXAMPLES = """
swarm-manager init --advertise-addr 192.0.2.10
swarm-manager stack deploy -c docker-compose.yaml shop
swarm-manager -H tcp://192.0.2.10:2376 service ls
swarm-manager ps           # docker's names without a noun: container ls; logs, cp, images, pull, …
"""


_COMMANDS = {
    "ca": Deferred(
        "manager.cli.cluster.ca:ca",
        "Print the root certificate that the cluster's members trust, or replace it without losing any of them.",
    ),
    "client-cert": Deferred(
        "manager.cli.cluster.client_cert:client_cert",
        "Make, list and revoke certificates for clients of the API: `client-cert NAME` makes one.",
    ),
    "cluster": Deferred("manager.cli.cluster.commands:cluster", "Manage the cluster as a whole."),
    "completion": Deferred("manager.cli.completion:completion", "Print the completion script for a shell."),
    "config": Deferred("manager.cli.files.config:config", "Manage configs: small files that services get mounted."),
    "container": Deferred("manager.cli.container.commands:container", "Manage containers on all nodes."),
    "dashboard": Deferred(
        "manager.cli.dashboard.commands:dashboard", "Open the dashboard in your browser, until Ctrl-C or for 8 hours."
    ),
    "events": Deferred("manager.cli.cluster.events:events", "Print what happens in the cluster as it happens."),
    "exec": Deferred(
        "manager.cli.container.exec:execute",
        "Run a command in a running container; its exit code is this command's.",
    ),
    "image": Deferred(
        "manager.cli.image.commands:image",
        "Manage the cluster's images: built on one node, run on any, without a registry.",
    ),
    "inspect": Deferred(
        "manager.cli.inspect_any:inspect_any", "Show all that is known of one or more objects of any kind."
    ),
    "join-token": Deferred(
        "manager.cli.cluster.commands:join_token",
        "Print how a host joins the cluster, or replace the token for it.",
    ),
    "leave": Deferred(
        "manager.cli.cluster.commands:leave",
        "Take the manager that answers out of the cluster, which ends with the last one; needs --force.",
    ),
    "network": Deferred("manager.cli.network.network:network", "Manage networks that reach over all hosts."),
    "node": Deferred("manager.cli.node.commands:node", "Manage the nodes of the cluster."),
    "secret": Deferred(
        "manager.cli.files.secret:secret", "Manage secrets: small files that only the tasks which need them get."
    ),
    "service": Deferred("manager.cli.service.commands:service", "Manage services."),
    "stack": Deferred(
        "manager.cli.stack.group:stack",
        "Manage stacks: the services, networks, secrets and configs of compose files.",
    ),
    "status": Deferred(
        "manager.cli.cluster.commands:status",
        "Tell whether the manager runs and how its cluster is; exit code 1 when it does not.",
    ),
    "task": Deferred("manager.cli.service.task:task", "Look at tasks."),
    "timeline": Deferred(
        "manager.cli.cluster.events:timeline",
        "Show what happened: who changed what, which tasks failed where and why, how updates ended.",
    ),
    "unlock": Deferred(
        "manager.cli.cluster.lock:unlock",
        "Unlock this host's manager, which was started with locked keys; the key is asked for, or read from stdin.",
    ),
    "unlock-key": Deferred(
        "manager.cli.cluster.lock:unlock_key", "Print the key that unlocks the managers, or replace it."
    ),
    "volume": Deferred("manager.cli.network.volume:volume", "Manage volumes, each on the node that has it."),
}

# Docker's names without a noun, and what they are with one. `start` and `run` mean the manager itself here.
_SHORT = {
    **{
        name: ("container", name)
        for name in (
            *("attach", "commit", "cp", "diff", "export", "kill", "logs", "pause", "port", "rename", "restart", "rm"),
            *("stats", "stop", "top", "unpause", "wait"),
        )
    },
    **{name: ("image", name) for name in ("build", "load", "pull", "push", "save", "tag")},
    "images": ("image", "ls"),
    "ps": ("container", "ls"),
    "rmi": ("image", "rm"),
}


class Program(SwarmGroup):
    """The outermost group: errors become a message and an exit code, never a traceback (but with --debug)."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = super().get_command(ctx, cmd_name)
        if found is not None or cmd_name not in _SHORT:
            return found
        noun, verb = _SHORT[cmd_name]
        group = self.commands[noun]
        assert isinstance(group, SwarmGroup), f"{noun} has commands"
        return group.commands[verb]

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        run: Callable[[], Any] = partial(super().main, *args, standalone_mode=False, **{"prog_name": PROGRAM, **extra})
        if not standalone_mode:
            return run()
        try:
            result = run()
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  # the one place that turns any error into an exit
            if any(isinstance(each, BrokenPipeError) for each in leaves(error)):
                _leave_quietly()
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
    deferred=_COMMANDS,
)

click.version_option(version(), message="%(prog)s %(version)s")(cli)
