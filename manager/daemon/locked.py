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
from manager.api.context import ThisManager
from manager.api.front import Front
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
) -> AsyncIterator[Front]:
    """Answer on these unix sockets while the context lasts. Once unlocked, give the front the cluster's own API.

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
        front = Front(api)
        async with api, serve(front, sockets, group=group):
            _log.warning("this manager is locked: unlock it with 'swarm-manager unlock' and the cluster's unlock key")
            yield front


def _locked_root() -> NoReturn:
    raise Unavailable("the key of the cluster's authority is locked")
