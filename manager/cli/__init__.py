"""The command line of the manager: a client of its Docker Engine API like any other.

`cli` is the click group of the program `swarm-manager`; the commands of the daemon (`init`, `run`) are added to it by
`manager.main`. One module holds the commands of one noun; `flags/` turns flags into specifications, `progress` judges
whether a service has converged. Both are pure.
"""

from manager.cli.root import cli

__all__ = ["cli"]
