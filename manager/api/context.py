"""What handlers work with: the store and the few things outside it, given by the composition root."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import aiohttp

from common.clock import Clock
from manager.api.eventlog import EventLog
from manager.api.host import Host
from manager.api.views.cache import JsonCache
from manager.state.store import Store


class Engines(Protocol):
    """The way to the Docker engines of the nodes, through the connections that their agents hold."""

    def session(self, node_id: str) -> aiohttp.ClientSession:
        """Return a new client session whose every connection ends at the engine of a node; the caller closes it.

        Raises:
            Unavailable: the node is not connected; the message says so.

        """


@dataclass(frozen=True, slots=True)
class Identity:
    """This manager: its node's id and address as clients see them, and the program's version."""

    node_id: str
    address: str
    version: str


@dataclass(frozen=True, slots=True)
class Context:
    """All that a handler may use.

    `registry_auth(service_id, auth)` takes credentials (decoded JSON) for a service's pulls; `leave()` ends the cluster.
    """

    store: Store
    clock: Clock
    rng: random.Random
    engines: Engines
    identity: Identity
    host: Host
    registry_auth: Callable[[str, str], None]
    leave: Callable[[], Awaitable[None]]
    events: EventLog
    cache: JsonCache
