"""How a manager's files are, and what it does for its own etcd: it gives back room, and says when that is full.

etcd compacts by itself; what that frees stays in its file. While a member is defragmented it answers nothing, 1.6 s for
1.1 GB: so followers do it, and a leader lets another manager lead first.


"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

from cryptography import x509

from common.errors import Unavailable
from common.tls import Identity
from manager.ca.authority import Authority
from manager.config import DataDir
from manager.metrics.facts import Validity, Vitals, changed_at, sizes
from manager.store.backends.etcd.members import Members, Status

_LOOK_SECONDS = 60.0
# Below that it is not worth a pause.
_LEAST_BYTES = 64 << 20
_TIMES_USE = 2
_TIMES_USE_FULL = 1.1
NO_SPACE = "NOSPACE"

_log = logging.getLogger(__name__)


def is_full(status: Status) -> bool:
    """Whether etcd has raised the alarm, of whichever member, that its quota is used up."""
    return any(NO_SPACE in each for each in status.errors)


def is_wasteful(status: Status) -> bool:
    """Whether a member's file is to be made smaller: sooner where changes wait for that."""
    if is_full(status):
        return status.file_bytes > _TIMES_USE_FULL * status.used_bytes
    return status.file_bytes > max(_LEAST_BYTES, _TIMES_USE * status.used_bytes)


class Tending:
    """Looks after the member that `members` asks.

    `leads` says whether this manager leads and another could, `hand_over` ends that. `trouble` is for a person.
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
        """Look every minute, until cancelled; at another moment of it than the others' managers."""
        while True:
            await asyncio.sleep(self._rng.uniform(0.5, 1.5) * _LOOK_SECONDS)
            try:
                await self.look()
            except Unavailable as error:
                _log.info("cannot look after etcd just now: %s", error.message)

    async def look(self) -> None:
        """Look once, and do what is to be done.

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


def read_vitals(data: DataDir, own: Identity, authority: Authority) -> Vitals:
    """Read for how long certificates are valid, how large the store's files are, when a backup was last written."""
    root = x509.load_pem_x509_certificate(authority.root_certificate)
    return Vitals(
        certificates={
            "manager": Validity(own.not_before, own.not_after),
            "root": Validity(root.not_valid_before_utc.timestamp(), root.not_valid_after_utc.timestamp()),
        },
        store_bytes=sizes(data.store.parent.glob(f"{data.store.name}*")),
        backed_up_at=changed_at(data.last_backup),
    )
