"""The overview: one sentence, what is wrong, how much of what there is, what happened last. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum

from common.model.naming import Model
from common.model.update import ACTIVE
from manager.domain.update_status import state_of
from manager.overview.counters import Counters
from manager.overview.marks import Mark
from manager.overview.rows import service_state, stack_of
from manager.overview.timeline import Entry
from manager.overview.trouble import MOST, Trouble, plural, troubles
from manager.store.view import View


class Level(StrEnum):
    """How the cluster is. EMPTY: it has no service yet."""

    TROUBLE = "trouble"
    CHANGING = "changing"
    WELL = "well"
    EMPTY = "empty"


class Totals(Model):
    """How much of what there is; `nodes` by their states, `tasks` by the mark of each slot."""

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
    """All of it, `at` an instant (Unix seconds) and an `index` of the store.

    `trouble` has at most `MOST`, `trouble_total` says how many there are; `changes` are the last entries of the
    timeline, the newest first.
    """

    at: float
    index: int
    level: Level
    sentence: str
    trouble: tuple[Trouble, ...] = ()
    trouble_total: int = 0
    totals: Totals = Totals()
    changes: tuple[Entry, ...] = ()


def summarize(counters: Counters, view: View, changes: Sequence[Entry], now: float) -> Overview:
    """Return the overview."""
    counters.settle(now)
    found = troubles(counters, now)
    totals = _totals(counters, view, now)
    level = _level(totals, found)
    return Overview(
        at=round(now, 3),
        index=view.index,
        level=level,
        sentence=_sentence(level, totals, len(found)),
        trouble=tuple(found[:MOST]),
        trouble_total=len(found),
        totals=totals,
        changes=tuple(changes),
    )


def _totals(counters: Counters, view: View, now: float) -> Totals:
    nodes: dict[str, int] = {}
    for tally in counters.nodes.values():
        if tally.node is not None:
            state = tally.node.status.state
            nodes[state] = nodes.get(state, 0) + 1
    services = as_wanted = updates = 0
    tasks: dict[Mark, int] = {}
    stacks = set()
    for each in counters.services.values():
        if each.service is None or each.leaves:
            continue
        services += 1
        as_wanted += service_state(each, now).as_wanted
        updates += state_of(each.service) in ACTIVE
        if stack := stack_of(each.service):
            stacks.add(stack)
        for mark, count in each.marks.items():
            if mark is not Mark.STOPPED:
                tasks[mark] = tasks.get(mark, 0) + count
    return Totals(
        nodes=nodes,
        services=services,
        services_as_wanted=as_wanted,
        stacks=len(stacks),
        updates=updates,
        tasks=tasks,
        networks=len(view.networks),
        secrets=len(view.secrets),
        configs=len(view.configs),
    )


def _level(totals: Totals, found: Sequence[Trouble]) -> Level:
    if found:
        return Level.TROUBLE
    if not totals.services:
        return Level.EMPTY
    return Level.WELL if totals.services_as_wanted == totals.services else Level.CHANGING


def _sentence(level: Level, totals: Totals, wrong: int) -> str:
    return " · ".join(_parts(level, totals, wrong))


def _parts(level: Level, totals: Totals, wrong: int) -> Iterator[str]:
    all_nodes, ready = sum(totals.nodes.values()), totals.nodes.get("ready", 0)
    nodes = f"{ready} of {plural(all_nodes, 'node')} ready"
    if level is Level.EMPTY:
        yield "No services yet"
        yield nodes
        return
    if level is Level.TROUBLE:
        yield f"{plural(wrong, 'thing')} {'needs' if wrong == 1 else 'need'} attention"
    elif level is Level.WELL:
        yield "All is well"
    yield f"{totals.services_as_wanted} of {plural(totals.services, 'service')} as wanted"
    yield nodes
    if totals.updates:
        yield f"{plural(totals.updates, 'update')} in progress"
