"""Maintenance of a manager's own etcd: it is defragmented when its file has grown, and a full one is reported.

etcd compacts by itself; what that frees stays in its file. While a member is defragmented it answers nothing, 1.6 s for
1.1 GB: so followers do it, and a leader lets another manager lead first.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

from common.errors import Unavailable
from manager.store.backends.etcd.members import Members, Status

_LOOK_SECONDS = 60.0
# A smaller file is not worth the pause that a defragmentation is.
_LEAST_BYTES = 64 << 20
# How many times larger than what is in use a file is when it is made smaller; the second is for a full etcd.
_WASTEFUL_RATIO = 2
_WASTEFUL_RATIO_FULL = 1.1
NO_SPACE = "NOSPACE"

_log = logging.getLogger(__name__)


def is_full(status: Status) -> bool:
    """Whether etcd has raised the alarm that a member, whichever it is, has used up its quota."""
    return any(NO_SPACE in each for each in status.errors)


def is_wasteful(status: Status) -> bool:
    """Whether a member's file is to be made smaller: sooner where changes wait for that."""
    if is_full(status):
        return status.file_bytes > _WASTEFUL_RATIO_FULL * status.used_bytes
    return status.file_bytes > max(_LEAST_BYTES, _WASTEFUL_RATIO * status.used_bytes)


class EtcdMaintenance:
    """Defragments the member of etcd that `members` asks.

    `leads` says whether this manager leads and another could take over, `hand_over` lets that one lead. `trouble` tells
    a person what is wrong with etcd; it is empty while nothing is.
    """

    def __init__(
        self, members: Members, leads: Callable[[], bool], hand_over: Callable[[], None], rng: random.Random
    ) -> None:
        self._members = members
        self._leads = leads
        self._hand_over = hand_over
        self._rng = rng
        self.trouble = ""

    async def run(self) -> None:
        """Look every minute, until cancelled; the pause varies, so that the managers do not look at the same time."""
        while True:
            await asyncio.sleep(self._rng.uniform(0.5, 1.5) * _LOOK_SECONDS)
            try:
                await self.look()
            except Unavailable as error:
                _log.info("cannot ask etcd whether it needs a defragmentation: %s", error.message)

    async def look(self) -> None:
        """Look once, and defragment if that is worth it.

        Raises:
            Unavailable: etcd does not answer.

        """
        status = await self._members.status()
        self.trouble = _words(status) if is_full(status) else ""
        if not is_wasteful(status):
            return
        if self._leads():
            _log.info("another manager is to lead while this one's etcd is defragmented")
            self._hand_over()
            return
        await self._members.defragment()
        after = await self._members.status()
        _log.info("etcd's file was made smaller: %d MB, of %d", after.file_bytes >> 20, status.file_bytes >> 20)
        if is_full(status):
            await self._members.disarm(status.member_id)
            self.trouble = ""


def _words(status: Status) -> str:
    size, used = status.file_bytes >> 20, status.used_bytes >> 20
    return (
        f"etcd takes no more changes: its file has {size} MB, of which {used} MB are in use: remove what is not needed"
    )
