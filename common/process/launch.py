"""How both programs begin: readable on every terminal, and quiet when they are interrupted while they load.

`MANAGER_HOST` and `ENGINE_HOST` are where the two daemons are, unless `-H` or DOCKER_HOST says otherwise. Each command
loads this module, so it imports little.
"""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module

INTERRUPTED_EXIT = 130
MANAGER_HOST = "unix:///run/swarm-manager/docker.sock"
ENGINE_HOST = "unix:///var/run/docker.sock"
_WRITABLE_BY_OTHERS = 0o022


def launch(module: str) -> None:
    """Load a program's module, which takes a second on a slow machine, and call its `main`.

    A character that the terminal's encoding lacks is written as a question mark.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        import_module(module).main()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED_EXIT)


def refuse_others_writing() -> None:
    """Let no file or folder that is made from now on be written by others, whatever the shell's umask is."""
    os.umask(os.umask(_WRITABLE_BY_OTHERS) | _WRITABLE_BY_OTHERS)
