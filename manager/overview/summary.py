"""The cluster at a glance: one sentence, totals, what is wrong, and the last events. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum

from common.model.naming import Model
from common.model.update import ACTIVE
from manager.domain.update_status import state_of
from manager.overview.counters import Counters
from manager.overview.marks import Mark
from manager.overview.timeline import Entry
from manager.overview.trouble import Finding, ServiceStatus, Trouble, findings, plural, service_statuses
from manager.store.view import View

MOST_TROUBLE = 50


class ClusterState(StrEnum):
    """The state of the cluster. EMPTY: it has no service yet."""

    TROUBLE = "trouble"
    CHANGING = "changing"
    WELL = "well"
    EMPTY = "empty"


class Totals(Model):
    """Totals; `nodes` by state, `tasks` by the mark of each slot."""

    nodes: dict[str, int] = {}
    services: int = 0
    services_as_wanted: int = 0
    stacks: int = 0
    updates: int = 0
    tasks: dict[Mark, int] = {}
    networks: int = 0
    secrets: int = 0
    configs: int = 0


class Overview(Model):
    """The whole overview, `at` an instant (Unix seconds) and an `index` of the store.

    `trouble` has at most `MOST_TROUBLE`, `trouble_total` says how many there are; `changes` are the last entries of the
    timeline, the newest first.
    """

    at: float
    index: int
    level: ClusterState
    sentence: str
    trouble: tuple[Trouble, ...] = ()
    trouble_total: int = 0
    totals: Totals = Totals()
    changes: tuple[Entry, ...] = ()


def summarize(counters: Counters, view: View, changes: Sequence[Entry], now: float) -> Overview:
    """Return the overview. Only suspects are checked, and only the worst troubles are worded."""
    counters.drop_suspects(now)
    statuses = list(service_statuses(counters, now))
    found = findings(counters, statuses, now)
    totals = _totals(counters, statuses, view)
    state = _state(totals, found)
    return Overview(
        at=round(now, 3),
        index=view.index,
        level=state,
        sentence=_sentence(state, totals, len(found)),
        trouble=tuple(each.trouble() for each in found[:MOST_TROUBLE]),
        trouble_total=len(found),
        totals=totals,
        changes=tuple(changes),
    )


def _totals(counters: Counters, statuses: Sequence[ServiceStatus], view: View) -> Totals:
    sums = counters.sums
    tasks = dict(sums.marks)
    tasks.pop(Mark.STOPPED, None)
    return Totals(
        nodes=dict(sums.nodes),
        services=sums.services,
        services_as_wanted=sums.services - sum(not each.state.as_wanted for each in statuses),
        stacks=len(sums.stacks),
        updates=sum(state_of(each.service) in ACTIVE for each in statuses),
        tasks=tasks,
        networks=len(view.networks),
        secrets=len(view.secrets),
        configs=len(view.configs),
    )


def _state(totals: Totals, found: Sequence[Finding]) -> ClusterState:
    if found:
        return ClusterState.TROUBLE
    if not totals.services:
        return ClusterState.EMPTY
    return ClusterState.WELL if totals.services_as_wanted == totals.services else ClusterState.CHANGING


def _sentence(state: ClusterState, totals: Totals, wrong: int) -> str:
    return " · ".join(_phrases(state, totals, wrong))


def _phrases(state: ClusterState, totals: Totals, wrong: int) -> Iterator[str]:
    all_nodes, ready = sum(totals.nodes.values()), totals.nodes.get("ready", 0)
    nodes = f"{ready} of {plural(all_nodes, 'node')} ready"
    if state is ClusterState.EMPTY:
        yield "No services yet"
        yield nodes
        return
    if state is ClusterState.TROUBLE:
        yield f"{plural(wrong, 'thing')} {'needs' if wrong == 1 else 'need'} attention"
    elif state is ClusterState.WELL:
        yield "All is well"
    yield f"{totals.services_as_wanted} of {plural(totals.services, 'service')} as wanted"
    yield nodes
    if totals.updates:
        yield f"{plural(totals.updates, 'update')} in progress"
