"""Whether a firewall of the host's own drops what the host must receive, or forward between containers of the nodes.

Rules of ours cannot undo another table's drop. But they can tell of it, whoever dropped and with which tool: what comes
in is counted before and after all others have judged it (`worker.net.plan.rules`), and what came and was never let
through was dropped in between. The counters are read from the kernel itself: `nft` takes fifty times as long to say the
same. Numbers of messages and attributes are those of linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import logging
import socket
import struct
import time
from collections.abc import Mapping

from worker.net.plan import nf_messages
from worker.net.plan.names import BRIDGE_PREFIX, LINK_PREFIX, TABLE
from worker.net.watch.netlink_bytes import NETFILTER, attributes, dump, text

LOOK_SECONDS = 5.0
_FORWARDING = (
    f"let it forward between the interfaces {BRIDGE_PREFIX}* and {LINK_PREFIX}* (firewalld: "
    f"firewall-cmd --permanent --zone=docker --add-interface={LINK_PREFIX}+, then firewall-cmd --reload)"
)

_log = logging.getLogger(__name__)

_GETOBJ = 19
_FAMILY = struct.Struct("!BBH")
_NAME_OF_TABLE, _NAME, _TYPE, _DATA = 1, 2, 3, 4
_PACKETS = 2
_COUNTERS = 1
# A dump is answered within the call that asks for it: this is for a kernel that is not well.
_PATIENCE_SECONDS = 1.0


class Firewall:
    """The traffic of the data plane that a firewall drops, by the latest counts; without traffic nothing changes."""

    def __init__(self) -> None:
        self._next = 0.0
        self._before: dict[str, int] = {}
        self._dropped: dict[str, str] = {}

    def check(self, tunnel_port: int) -> None:
        """Look at the counters, every few seconds."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + LOOK_SECONDS
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
                    _log.info("traffic that was dropped is let through again: %s", sentence)
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
            f"this host's firewall drops what the other nodes send to UDP port {tunnel_port}: open it to "
            "them, or networks and published ports do not reach this host's containers from there"
        ),
        "names": (
            f"this host's firewall drops what containers ask their name server: open port 53, UDP and TCP, to the "
            f"interfaces {BRIDGE_PREFIX}*"
        ),
        "neighbours": (
            "this host's firewall drops what its containers need to find their gateway over IPv6: accept ICMPv6's "
            f"nd-neighbor-solicit and nd-neighbor-advert from the interfaces {BRIDGE_PREFIX}*"
        ),
        **forwarded,
    }


# --- counters ---


def counts() -> dict[str, int]:
    """Return the packets by counter of `table ip` and `table ip6`; none where there is no table.

    Raises:
        OSError: the kernel refuses.

    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETFILTER) as kernel:
        kernel.settimeout(_PATIENCE_SECONDS)
        kind = nf_messages.SUBSYSTEM << 8 | _GETOBJ
        families = (socket.AF_INET, socket.AF_INET6)
        return dict(_read(found) for family in families for found in dump(kernel, kind, _question(family)))


def _question(family: int) -> bytes:
    body = _FAMILY.pack(family, 0, 0)
    return body + nf_messages.text(_NAME_OF_TABLE, TABLE) + nf_messages.number(_TYPE, _COUNTERS)


def _read(body: memoryview) -> tuple[str, int]:
    of_object = dict(attributes(body, _FAMILY.size))
    of_counter = dict(attributes(of_object[_DATA], 0))
    return text(of_object[_NAME]), int.from_bytes(of_counter[_PACKETS])
