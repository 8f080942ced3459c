"""What a program of ours does with itself before it has a key or a secret: its files and its memory are its own."""

from __future__ import annotations

import ctypes
import logging
import os
import resource

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
