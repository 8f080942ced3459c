"""Whether a firewall of the host's own drops what the host itself must get, or forward between its nodes' containers.

Rules of ours cannot undo another table's drop. But they can tell of it, whoever dropped and with which tool: what comes
in is counted before and after all others have judged it (`worker.net.rules`), and what came and was never let through
was dropped in between.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from worker.net.counters import counts
from worker.net.names import BRIDGE_PREFIX, LINK_PREFIX

LOOK_SECONDS = 5.0
_FORWARDING = (
    f"let it forward between the interfaces {BRIDGE_PREFIX}* and {LINK_PREFIX}* (firewalld: "
    f"firewall-cmd --permanent --zone=docker --add-interface={LINK_PREFIX}+, then firewall-cmd --reload)"
)

_log = logging.getLogger(__name__)


class Firewall:
    """What of the data plane's a firewall drops, as of late. What did not come at all says nothing new."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._next = 0.0
        self._before: dict[str, int] = {}
        self._dropped: dict[str, str] = {}

    def check(self, tunnel_port: int) -> None:
        """Look at the counters, every few seconds."""
        if self._now() < self._next:
            return
        self._next = self._now() + LOOK_SECONDS
        try:
            self.judge(counts(), tunnel_port)
        except OSError as error:
            _log.debug("cannot see whether a firewall is in the way: %s", error)

    def judge(self, counted: Mapping[str, int], tunnel_port: int) -> None:
        """Compare the counters with those of the last look; they begin anew when the table is replaced."""
        grown = {name: count - self._before.get(name, 0) for name, count in counted.items()}
        began_anew = any(growth < 0 for growth in grown.values()) or not self._before
        self._before = dict(counted)
        if began_anew:
            return
        for what, sentence in _sentences(tunnel_port).items():
            if grown.get(f"{what}_let"):
                if self._dropped.pop(what, ""):
                    _log.info("it is let through now, which was not before: %s", sentence)
            elif grown.get(f"{what}_came") and what not in self._dropped:
                self._dropped[what] = sentence
                _log.warning("%s", sentence)

    def lacks(self) -> tuple[str, ...]:
        return tuple(self._dropped.values())


def _sentences(tunnel_port: int) -> dict[str, str]:
    forwarded = {
        f"{way}{six}": f"this host's firewall drops what {what}{over}: {_FORWARDING}"
        for six, over in (("", ""), ("6", " over IPv6"))
        for way, what in (
            ("inward", "other nodes send to this host's containers"),
            ("outward", "its containers send to those of other nodes"),
        )
    }
    return {
        "tunnel": (
            f"this host's firewall drops what the other nodes send to UDP port {tunnel_port}: open it to them, "
            "else no network and no published port reaches this host's containers from there"
        ),
        "names": (
            f"this host's firewall drops what containers ask their name server: open port 53, UDP and TCP, to the "
            f"interfaces {BRIDGE_PREFIX}*"
        ),
        **forwarded,
    }
