"""`swarm-manager`: the daemon's own commands, and those of its command line."""

from __future__ import annotations

from common.process.deferred import Deferred
from manager.cli import cli

__all__ = ["cli", "main"]

cli.commands.defer(
    {
        "backup": Deferred(
            "manager.commands:backup",
            "Write a backup of this host's manager to FILE (-: standard output), while it runs or not.",
        ),
        "convert": Deferred(
            "manager.commands:convert",
            "Move the store of this host's manager, which must not run, into etcd or back; the old one is kept.",
        ),
        "init": Deferred("manager.commands:init", "Make this host the manager of a new cluster."),
        "join": Deferred(
            "manager.commands:join", "Make this host one of a cluster's managers; its store must be in etcd."
        ),
        "repair": Deferred(
            "manager.commands:repair",
            "Say whether this host's manager, which must not run, has all of its store, "
            "and what is left of a damaged one.",
        ),
        "restore": Deferred(
            "manager.commands:restore",
            "Make this host the manager of the cluster in a backup, FILE (-: standard input).",
        ),
        "run": Deferred(
            "manager.commands:run",
            "Run the manager of a data directory in the foreground; systemd's unit does this.",
        ),
        "start": Deferred(
            "manager.commands:start", "Start this host's manager again, where no systemd does so at boot."
        ),
    }
)


def main() -> None:
    """Run the program: `swarm-manager`, or `python -m manager.main`."""
    cli()


if __name__ == "__main__":
    main()
