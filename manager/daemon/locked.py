"""The start of a manager whose keys are locked: its API says so, until somebody unlocks it."""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import AsyncIterator, Sequence
from typing import NoReturn

from common.clock import Clock
from common.errors import Unavailable
from manager.api.access.audit_file import AuditFile
from manager.api.app import Api
from manager.api.call import Answer, BodyHandling, Call, Reply
from manager.api.context import Context, ThisManager
from manager.api.http.answer_memory import Lease
from manager.api.http.server import serve
from manager.ca.authority import Authority
from manager.daemon.leader import LeaderEngines
from manager.store.backends.memory import MemoryBackend
from manager.store.store import Store

_log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def answer_locked(
    manager: ThisManager,
    audit: AuditFile,
    clock: Clock,
    rng: random.Random,
    *,
    sockets: Sequence[str],
    group: str,
) -> AsyncIterator[ApiSwitch]:
    """Answer on these unix sockets while the context lasts. Once unlocked, switch to the cluster's API.

    `group` is the one whose members may use the sockets, empty: their owner alone. Nothing listens on TCP meanwhile, as
    this manager's certificate is locked, too.

    Raises:
        Unavailable: a socket cannot be opened.

    """
    async with Store(MemoryBackend(), clock) as empty:
        api = Api(
            empty,
            clock,
            rng,
            LeaderEngines(lambda: None),
            Authority(_locked_root),
            manager,
            audit,
        )
        switch = ApiSwitch(api)
        async with api, serve(switch, sockets, group=group):
            _log.warning("this manager is locked: unlock it with 'swarm-manager unlock' and the cluster's unlock key")
            yield switch


class ApiSwitch:
    """Lets one API after the other answer at the same sockets: `present` is the one that answers now."""

    def __init__(self, present: Api) -> None:
        self.present = present

    @property
    def context(self) -> Context:
        return self.present.context

    def end_streams(self) -> None:
        self.present.end_streams()

    def body_handling(self, call: Call) -> BodyHandling:
        return self.present.body_handling(call)

    def lease(self) -> Lease:
        return self.present.lease()

    async def answer(self, call: Call, lease: Lease | None = None) -> Reply:
        return await self.present.answer(call, lease)

    def failure(self, call: Call, error: Exception) -> Answer:
        return self.present.failure(call, error)


def _locked_root() -> NoReturn:
    raise Unavailable("the key of the cluster's authority is locked")
