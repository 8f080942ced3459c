"""Cut connections that go to nobody any more, so that their clients hear of it at once instead of waiting."""

from __future__ import annotations

import logging

from worker.net import command
from worker.net.plan import Purge

# What conntrack returns when there was nothing to delete.
_NOTHING_FOUND = 1

_log = logging.getLogger(__name__)


async def cut(purge: Purge) -> None:
    """Delete the kernel's records of connections to these backends, and of what was sent to these UDP ports.

    The next packet of such a connection is then balanced anew, and whoever gets it refuses it: its client is reset.
    """
    for address in purge.backends:
        await _delete("--reply-src", address)
    for port in purge.udp_ports:
        await _delete("-p", "udp", "--orig-port-dst", str(port))


async def _delete(*which: str) -> None:
    output = await command.run("conntrack", "-D", *which)
    if output.code not in (0, _NOTHING_FOUND):
        _log.warning("conntrack cannot delete %s: %s", " ".join(which), output.errors)
