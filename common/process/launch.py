"""How both programs begin: readable on every terminal, and quiet when they are interrupted while they load.

Before one has a key or a secret, its files and its memory are made its own. Where nothing else is said, as by `-H` and
DOCKER_HOST, the two daemons are found here.
"""

from __future__ import annotations

import ctypes
import io
import logging
import os
import resource
import sys
from importlib import import_module

INTERRUPTED_EXIT = 130


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


MANAGER_HOST = "unix:///run/swarm-manager/docker.sock"
ENGINE_HOST = "unix:///var/run/docker.sock"


_WRITABLE_BY_OTHERS = 0o022
_PR_SET_DUMPABLE = 4

_log = logging.getLogger(__name__)


def refuse_others_writing() -> None:
    """Let no file or folder that is made from now on be written by others, whatever the shell's umask is."""
    os.umask(os.umask(_WRITABLE_BY_OTHERS) | _WRITABLE_BY_OTHERS)


def keep_memory_off_disk() -> None:
    """Leave no core dump of this process, nor of those that it starts; of this one not even to a handler's pipe.

    Nor may anybody trace it or read its memory who may not do so to any process.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        _log.warning("a crash may leave a core dump: prctl: %s", os.strerror(ctypes.get_errno()))
