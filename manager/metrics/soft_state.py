"""Soft state: what a manager hears of workers and does not store. One that starts has none, and hears it again.

The dispatcher fills it while this manager leads; the API, the metrics and the autoscaler read it whoever leads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from common.clock import Clock
from manager.domain.refusals import Refusals
from manager.domain.transfers import TransferProgress
from manager.metrics.contacts import Contacts
from manager.overview.usage import Usages
from manager.store.measurements import Measurements
from manager.store.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftState:
    """All of it.

    measurements: what workers say of autoscaled services' tasks.
    usages: what hosts and tasks use.
    contacts: how workers' connections do.
    refusals: what workers said that was not believed.
    transfers: how far moves of volumes are.
    """

    measurements: Measurements
    usages: Usages
    contacts: Contacts
    refusals: Refusals = field(default_factory=Refusals)
    transfers: TransferProgress = field(default_factory=TransferProgress)

    @classmethod
    def new(cls, view: View, clock: Clock, delay: Callable[[float], None] = lambda _: None) -> Self:
        """Return that of a manager that has heard nothing yet; `delay` as for `Contacts`."""
        return cls(measurements=Measurements(view, clock), usages=Usages(view), contacts=Contacts(delay))
