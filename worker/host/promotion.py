"""Making this host a manager, too, as `node promote` asks of its worker.

The manager is a separate program, which this one starts by its command line.
"""

from __future__ import annotations

import asyncio
import logging
import sys

from common.wire.manager_messages import BecomeManager
from worker.intake.identifiers import quote_foreign

_JOIN_SECONDS = 90.0

_log = logging.getLogger(__name__)


def join_command(message: BecomeManager, address: str) -> list[str]:
    """Return the command that joins as a manager, by the one at `address`; it reads the ticket from its input."""
    command = [sys.executable, "-m", "manager.main", "join", "--token", "-"]
    return [*command, *(["--advertise-addr", message.addr] if message.addr else []), "--", address]


async def become_manager(message: BecomeManager, address: str) -> None:
    """Run the command, and log how it ended; the leader sees for itself whether the host has joined."""
    _log.info("this host is to be a manager, too")
    process = await asyncio.create_subprocess_exec(
        *join_command(message, address),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(_JOIN_SECONDS):
            _, said = await process.communicate(message.ticket.encode())
    except TimeoutError:
        process.terminate()
        _log.error("this host has not become a manager within %g s", _JOIN_SECONDS)
        return
    if process.returncode:
        _log.error("this host has not become a manager: %s", quote_foreign(said.decode(errors="replace").strip()))
