"""Logging for daemons: one line a record, a priority that journald understands, and no join token in clear.

Names and messages of others are in it: what would act on the terminal that shows the log is written as an escape.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Mapping
from typing import TextIO

from common.text.terminal import visible

# syslog's numbers, as sd-daemon(3) reads them at the start of a line.
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
_TOKEN = re.compile(r"(SWMTKN-1-[0-9a-z]+-)[0-9a-z]+")


class LineFormatter(logging.Formatter):
    """Format a record on one line; line ends, those of a traceback too, become ` | `.

    `journal` leaves out the time, which journald has anyhow, and puts `<priority>` first.
    """

    def __init__(self, *, journal: bool) -> None:
        fields = "%(levelname).1s %(name)s: %(message)s"
        super().__init__(fields if journal else f"%(asctime)s.%(msecs)03d {fields}", "%Y-%m-%dT%H:%M:%S")
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        line = " | ".join(part.rstrip() for part in super().format(record).splitlines() if part.strip())
        line = visible(_TOKEN.sub(r"\1…", line))
        return f"<{_PRIORITIES.get(record.levelno, 6)}>{line}" if self._journal else line


def setup(level: str = "info", stream: TextIO | None = None, environment: Mapping[str, str] = os.environ) -> None:
    """Send records of `level` (debug, info, warning, error) and above to `stream`, standard error by default.

    The libraries' own chatter is kept one level up.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(LineFormatter(journal="JOURNAL_STREAM" in environment))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty in ("aiohttp", "aiodocker", "asyncio", "pyroute2"):
        logging.getLogger(chatty).setLevel(max(root.level, logging.WARNING))
