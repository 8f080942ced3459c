"""What handlers work with: the store and the few things outside it, given by the composition root."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from common.clock import Clock
from manager.api.answer_memory import Lease
from manager.api.containers_index import ContainerIndex
from manager.api.engines import Engines
from manager.api.eventlog import EventLog
from manager.api.host import Host
from manager.api.proxy_presence import Presence
from manager.api.views.cache import JsonCache
from manager.ca.authority import Authority
from manager.state.measurements import Measurements
from manager.state.refusals import Refusals
from manager.state.store import Records


@dataclass(frozen=True, slots=True)
class Identity:
    """This manager: its node's id, the address that it advertises, and the program's version.

    `hosts` are the `tcp://ADDRESS:PORT` at which clients from elsewhere reach its API.
    """

    node_id: str
    address: str
    version: str
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Context:
    """All that a handler may use.

    `registry_auth(service_id, auth)` takes credentials for a service's pulls (JSON text); `leave()` ends the cluster.
    `answers` is charged for what engines say in the course of one request.
    """

    store: Records
    clock: Clock
    rng: random.Random
    engines: Engines
    identity: Identity
    authority: Authority
    host: Host
    registry_auth: Callable[[str, str], None]
    leave: Callable[[], Awaitable[None]]
    events: EventLog
    cache: JsonCache
    presence: Presence
    containers: ContainerIndex
    measurements: Measurements
    refusals: Refusals
    answers: Lease
