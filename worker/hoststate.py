"""Whether this host is going down, as far as its systemd says so."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from common.errors import Unavailable
from worker.net import command

PATIENCE_SECONDS = 2.0
SYSTEMD_MARK = Path("/run/systemd/system")

_log = logging.getLogger(__name__)


async def is_going_down() -> bool:
    """Return whether systemd shuts this host down or boots it anew; False where there is no systemd, or no answer."""
    if not SYSTEMD_MARK.is_dir():  # noqa: ASYNC240 - /run is in memory
        return False
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            said = await command.run("systemctl", "is-system-running")
    except (Unavailable, TimeoutError) as error:
        _log.warning("systemd does not say whether this host is going down, so it is taken to stay: %s", error)
        return False
    return said.text.strip() == "stopping"
