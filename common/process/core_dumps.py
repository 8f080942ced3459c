"""What a process has in memory, keys among it, does not reach the disk in a core dump."""

from __future__ import annotations

import ctypes
import logging
import os
import resource

_PR_SET_DUMPABLE = 4

_log = logging.getLogger(__name__)


def keep_memory_off_disk() -> None:
    """Leave no core dump of this process, nor of those that it starts; of this one not even to a handler's pipe.

    Nor may anybody trace it or read its memory who may not do so to any process.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        _log.warning("a crash may leave a core dump: prctl: %s", os.strerror(ctypes.get_errno()))
