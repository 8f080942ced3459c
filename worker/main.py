"""`swarm-worker`: the agent that runs a cluster's tasks on this host, and the commands around it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import click

from common.process.deferred import Deferred, DeferredGroup
from common.process.launch import INTERRUPTED_EXIT, refuse_others_writing
from common.process.usage import FULL, as_epilog, dockers_usage, no_room
from common.text import shell_completion
from common.text.terminal import echo
from common.version import version

_COMMANDS = {
    "join": Deferred(
        "worker.commands.membership:join_command",
        "Make this host a node of the cluster whose manager is at HOST[:PORT].",
    ),
    "leave": Deferred(
        "worker.commands.membership:leave_command",
        "Leave the cluster: stop this node's tasks, remove what they made here, forget the identity.",
    ),
    "run": Deferred(
        "worker.commands.agent:run_command", "Run the worker in the foreground: what its systemd unit does."
    ),
    "start": Deferred(
        "worker.commands.background:start_command",
        "Start this host's worker again, where no systemd does so at boot; one that runs already is left alone.",
    ),
    "status": Deferred(
        "worker.commands.background:status_command",
        "Show whether this worker runs, which manager it talks to, and what it has. Exits with 1 if it does not run.",
    ),
}


class Program(DeferredGroup):
    """The outermost group: a command line that is wrong fails as `swarm-manager`'s and docker's do."""

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        run: Callable[[], Any] = partial(super().main, *args, standalone_mode=False, **extra)
        if not standalone_mode:
            return run()
        try:
            result = run()
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except click.Abort:
            sys.exit(INTERRUPTED_EXIT)
        except OSError as error:
            if error.errno not in FULL:
                raise
            echo(f"Error: {no_room(error)}", err=True)
            sys.exit(1)
        sys.exit(result if isinstance(result, int) else 0)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        with dockers_usage():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with dockers_usage():
            return super().invoke(ctx)


@click.group(
    cls=Program,
    deferred=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=as_epilog("swarm-worker join --token SWMTKN-1-… 10.0.0.1:2377"),
)
@click.version_option(version(), prog_name="swarm-worker")
def main() -> None:
    """Run the tasks of a cluster on this host's Docker engine."""
    refuse_others_writing()


@main.command(
    "completion",
    epilog=as_epilog(
        """
        swarm-worker completion bash > /etc/bash_completion.d/swarm-worker
        swarm-worker completion fish > ~/.config/fish/completions/swarm-worker.fish
        """
    ),
)
@click.argument("shell", type=click.Choice(shell_completion.SHELLS))
def completion_command(shell: str) -> None:
    """Print the completion script for a shell."""
    echo(shell_completion.script(main, "swarm-worker", shell))


if __name__ == "__main__":
    main(prog_name="swarm-worker")
