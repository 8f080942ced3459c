"""What was done to a cluster and what was seen of it, as values: the checker reads nothing else.

Instants are seconds of CLOCK_MONOTONIC, which all hosts of a lab share.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """What a client was told of a change: it is done, it was not done, or nobody knows."""

    DONE = "done"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Operation:
    """One call of one client, by the manager of a host; `outcome` of a read is always DONE, as others see nothing.

    `said` is what the manager said where that is not done.
    """

    client: str
    manager: str
    began: float
    ended: float
    outcome: Outcome
    said: str = field(default="", kw_only=True)


@dataclass(frozen=True)
class Append(Operation):
    """An element, of which there is only one, is put to the end of a list, as it was read before."""

    list: str
    element: str


@dataclass(frozen=True)
class Read(Operation):
    """A list as it was read; `stale` when the manager has said that it may be an old state (it has no majority)."""

    list: str
    elements: tuple[str, ...]
    stale: bool = False


@dataclass(frozen=True)
class Create(Operation):
    """A service, of which there is only one of this name, is made."""

    service: str
    replicas: int


@dataclass(frozen=True)
class Scale(Operation):
    service: str
    replicas: int


@dataclass(frozen=True)
class Remove(Operation):
    service: str


@dataclass(frozen=True)
class Listing(Operation):
    """The names of all services."""

    services: tuple[str, ...]
    stale: bool = False


@dataclass(frozen=True)
class Fault:
    """Something that was done to hosts. `isolates`: their workers may count as lost, and their tasks be replaced."""

    kind: str
    hosts: tuple[str, ...]
    began: float
    ended: float
    isolates: bool = False


@dataclass(frozen=True)
class Death:
    """A container of a service ended, as its engine said."""

    host: str
    service: str
    container: str
    at: float


@dataclass(frozen=True)
class Probe:
    """One question to a published port, asked again of one host after the other until one answers or time is up."""

    began: float
    ended: float
    answered: bool


@dataclass(frozen=True)
class Container:
    """One that runs, as its engine shows it. `slot` is its task's name without the task's id."""

    host: str
    service: str
    slot: str


@dataclass(frozen=True)
class Calm:
    """What there is when all faults are mended and nothing changes any more. `lists` by manager, then by name."""

    lists: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    services: dict[str, int] = field(default_factory=dict)
    containers: tuple[Container, ...] = ()


@dataclass(frozen=True)
class History:
    operations: tuple[Operation, ...] = ()
    faults: tuple[Fault, ...] = ()
    deaths: tuple[Death, ...] = ()
    probes: tuple[Probe, ...] = ()
    calm: Calm = field(default_factory=Calm)
