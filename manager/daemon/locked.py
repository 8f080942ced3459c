"""The start of a manager whose keys are locked: its API says so, until somebody unlocks it."""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import NoReturn

from common.clock import Clock
from common.errors import Unavailable
from manager.api.access.audit_file import AuditFile
from manager.api.app import Api
from manager.api.context import Identity, ThisManager
from manager.api.front import Front
from manager.api.http.server import serve
from manager.ca.authority import Authority
from manager.daemon.keys import ManagerKeys
from manager.daemon.leading import LeadersEngines
from manager.store.backends.memory import MemoryBackend
from manager.store.store import Store

_log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def answer_locked(
    keys: ManagerKeys,
    identity: Identity,
    clock: Clock,
    rng: random.Random,
    *,
    sockets: Sequence[str],
    group: str,
    audit: AuditFile,
    leave: Callable[[], Awaitable[None]],
) -> AsyncIterator[Front]:
    """Answer on these unix sockets while the context lasts; the front is to be given the cluster's own API.

    There is no TCP before that: what this manager proves itself with is locked, too.

    Raises:
        Unavailable: a socket cannot be had.

    """
    async with Store(MemoryBackend(), clock) as nothing:
        api = Api(
            nothing,
            clock,
            rng,
            LeadersEngines(lambda: None),
            Authority(_locked_root),
            ThisManager(identity=identity, leave=leave, keys=keys),
            audit,
        )
        front = Front(api)
        async with api, serve(front, sockets, group=group):
            _log.warning("this manager is locked: unlock it with 'swarm-manager unlock' and the cluster's unlock key")
            yield front


def _locked_root() -> NoReturn:
    raise Unavailable("the key of the cluster's authority is locked")
