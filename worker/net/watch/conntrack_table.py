"""Warns of a full conntrack table: the kernel then drops new connections, and only its own log says so."""

from __future__ import annotations

import logging
from pathlib import Path

from worker.net.apply.sysctls import PROC

FULL, NOT_FULL = 0.9, 0.8
_COUNT, _MOST = "net/netfilter/nf_conntrack_count", "net/netfilter/nf_conntrack_max"

_log = logging.getLogger(__name__)


class ConntrackTable:
    """Warns from 90 % on until the table is below 80 % again, so that one near 90 % is not news every second."""

    def __init__(self, proc: Path = PROC) -> None:
        self._proc = proc
        self._most = 0

    def check(self) -> None:
        """Read how many entries the table has, and may have; a kernel without conntrack has neither number."""
        try:
            count, most = (int((self._proc / path).read_text()) for path in (_COUNT, _MOST))
        except FileNotFoundError:
            count = most = 0
        if most and count > FULL * most and self._most != most:
            self._most = most
            _log.warning("%s", self.lacks()[0])
        elif self._most and count < NOT_FULL * most:
            self._most = 0
            _log.info("the kernel's table of connections has room again: %d of %d", count, most)
        elif not most:
            self._most = 0

    def lacks(self) -> tuple[str, ...]:
        """Return the warning to report while the table is nearly full; the count is not in it, as it always changes."""
        if not self._most:
            return ()
        setting = f"net.netfilter.nf_conntrack_max (now {self._most})"
        return (
            f"the kernel's table of connections is nearly full, new ones are lost when it is full: raise {setting}",
        )
