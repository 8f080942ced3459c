"""Whether this host is going down, as far as its systemd says so."""

from __future__ import annotations

import asyncio
import logging

from common.errors import Unavailable
from common.process.daemon import SYSTEMD_MARK
from worker.host import command

PATIENCE_SECONDS = 2.0

_log = logging.getLogger(__name__)


async def is_going_down() -> bool:
    """Return whether systemd shuts this host down or boots it anew; False where there is no systemd, or no answer."""
    if not SYSTEMD_MARK.is_dir():
        return False
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            said = await command.run("systemctl", "is-system-running")
    except (Unavailable, TimeoutError) as error:
        _log.warning("systemd does not say whether this host is shutting down; assuming that it is not: %s", error)
        return False
    return said.text.strip() == "stopping"
