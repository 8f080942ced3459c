"""What is wrong now, the worst first, each in a sentence with since when and what to do. Pure.

The overview has that, one sentence for all of it, how much there is of what, and what happened last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import islice

from common.model import Service
from common.model.naming import Model
from common.model.update import ACTIVE, HALTED, Requested, TasksFailed, UpdateState
from manager.domain.update_status import halted, state_of
from manager.overview.counters import Counters, NodeTally, ServiceTally
from manager.overview.entries import named
from manager.overview.marks import PLACED, Mark
from manager.overview.rows import LONGEST_ERROR, ServiceState, error_of, service_state, stack_of
from manager.overview.timeline import Entry, Named
from manager.store.view import View

MOST = 50
# Nodes that are down are told one by one up to so many.
MOST_DOWN = 3
# More failures than this in this many seconds are a loop.
LOOP_FAILURES = 3
LOOP_SECONDS = 600.0
# How long an update that was taken back is told of.
ROLLED_BACK_SECONDS = 3600.0
# An agent that is restarted, or its host, is back by then.
DISCONNECTED_SECONDS = 60.0


class Ailment(StrEnum):
    """What may be wrong, the worst first."""

    SERVICE_DOWN = "service-down"
    NODE_DOWN = "node-down"
    UPDATE_HALTED = "update-halted"
    TASKS_WAIT = "tasks-wait"
    CRASH_LOOP = "crash-loop"
    SERVICE_SHORT = "service-short"
    JOB_FAILED = "job-failed"
    ROLLED_BACK = "rolled-back"
    NODE_AWAY = "node-away"


_RANKS = {ailment: number for number, ailment in enumerate(Ailment)}


class Trouble(Model):
    """Something that is wrong with an `object` since an instant (Unix seconds). `text` says it, `hint` what to do.

    `command` is one that shows more, or mends it.
    """

    kind: Ailment
    text: str
    since: float
    object: Named
    hint: str = ""
    command: str = ""


def troubles(counters: Counters, now: float) -> list[Trouble]:
    """Return all that is wrong, the worst first, of the same kind the oldest."""
    found = [*_of_nodes(counters, now), *_of_services(counters, now)]
    return sorted(found, key=lambda each: (_RANKS[each.kind], each.since))


# --- nodes ---


def _of_nodes(counters: Counters, now: float) -> Iterator[Trouble]:
    """Yield what is wrong with nodes; many that are down are one trouble, which leaves room for the services'."""
    tallies = [counters.nodes[node_id] for node_id in counters.unready]
    found = [(tally, trouble) for tally in tallies if (trouble := _of_node(tally, now)) is not None]
    down = [tally for tally, trouble in found if trouble.kind is Ailment.NODE_DOWN]
    if len(down) > MOST_DOWN:
        yield _many_down(sorted(down, key=lambda tally: tally.since))
    yield from (each for _, each in found if each.kind is not Ailment.NODE_DOWN or len(down) <= MOST_DOWN)


def _many_down(tallies: Sequence[NodeTally]) -> Trouble:
    nodes = [tally.node for tally in tallies if tally.node is not None]
    names = ", ".join(node.name for node in nodes[:MOST_DOWN])
    return Trouble(
        kind=Ailment.NODE_DOWN,
        text=f"{len(nodes)} nodes are down, {names} and {len(nodes) - MOST_DOWN} more{_tasks_of(*tallies)}",
        since=tallies[0].since,
        object=named(nodes[0]),
        hint="see what they have in common: a switch, a rack, a power supply; and whether they reach the manager",
        command="swarm-manager node ls",
    )


def _of_node(tally: NodeTally, now: float) -> Trouble | None:
    node = tally.node
    if node is None or (node.left and node.manager_status is None):
        return None  # it has left the cluster, and only its record is there
    state = node.status.state
    if state == "down":
        why = f" ({node.status.message})" if node.status.message else ""
        return Trouble(
            kind=Ailment.NODE_DOWN,
            text=f"node {node.name} is down{why}{_tasks_of(tally)}",
            since=tally.since,
            object=named(node),
            hint="see whether its host runs and reaches the manager; its tasks are replaced where there is room",
            command=f"swarm-manager node inspect --pretty {node.name}",
        )
    if now - tally.since < DISCONNECTED_SECONDS:
        return None
    return Trouble(
        kind=Ailment.NODE_AWAY,
        text=f"node {node.name} is {state}: it keeps its tasks and takes no new ones",
        since=tally.since,
        object=named(node),
        hint="start its worker again: systemctl start swarm-worker",
        command=f"swarm-manager node inspect --pretty {node.name}",
    )


def _tasks_of(*tallies: NodeTally) -> str:
    count = sum(number for tally in tallies for mark, number in tally.marks.items() if mark in PLACED)
    return f": nothing is known of {plural(count, 'task')} there" if count else ""


# --- services ---


def _of_services(counters: Counters, now: float) -> Iterator[Trouble]:
    for service_id in counters.suspects:
        tally = counters.services.get(service_id)
        if tally is not None and tally.service is not None and not tally.leaves:
            yield from islice(_of_service(tally, tally.service, now), 1)


def _of_service(tally: ServiceTally, service: Service, now: float) -> Iterator[Trouble]:
    """Yield what is wrong with a service, the worst first."""
    state = service_state(tally, now)
    numbers = f"{service.name} {tally.running}/{tally.desired}"
    error = error_of(tally)
    why = f": {error}" if error else ""
    if state is ServiceState.DOWN:
        text = f"{service.name} is down, 0 of {plural(tally.desired, 'task')} run{why}"
        yield _trouble(Ailment.SERVICE_DOWN, service, text, tally.short_since, _PS)
    if state_of(service) in HALTED and service.update_status is not None:
        text = f"{numbers}: {halted(service.update_status)}"
        yield _trouble(Ailment.UPDATE_HALTED, service, text, _halted_since(service), _UPDATE)
    if Mark.WAITING in tally.marks and (waiting := [task for task in tally.complaints.values() if task.finds_no_node]):
        text = f"{numbers}: {plural(len(waiting), 'task')} without a node{why}"
        yield _trouble(Ailment.TASKS_WAIT, service, text, min(task.created_at for task in waiting), _WAITS)
    if (recent := tally.failures.since(now - LOOP_SECONDS)) > LOOP_FAILURES:
        since = tally.short_since or tally.failures.last_at
        text = f"{numbers}: {recent} tasks failed in ten minutes{why or _last_failure(tally)}"
        yield _trouble(Ailment.CRASH_LOOP, service, text, since, _LOGS)
    if state is ServiceState.SHORT:
        yield _trouble(Ailment.SERVICE_SHORT, service, f"{numbers} tasks run{why}", tally.short_since, _PS)
    if state is ServiceState.FAILED:
        text = f"job {service.name} failed{why}"
        yield _trouble(Ailment.JOB_FAILED, service, text, tally.failures.last_at, _LOGS)
    yield from _rolled_back(service, now)


def _halted_since(service: Service) -> float:
    held = service.update_status.held_at if service.update_status is not None else 0.0
    return held or service.updated_at


def _last_failure(tally: ServiceTally) -> str:
    last = tally.failures.last
    return f", last with: {last.status.err[:LONGEST_ERROR]}" if last is not None and last.status.err else ""


def _rolled_back(service: Service, now: float) -> Iterator[Trouble]:
    """Say that an update has failed, and was taken back, for as long as that is news."""
    status = service.update_status
    if status is None or status.state is not UpdateState.ROLLBACK_COMPLETED or isinstance(status.reason, Requested):
        return
    if now - status.completed_at <= ROLLED_BACK_SECONDS:
        why = f": {status.reason.error}" if isinstance(status.reason, TasksFailed) and status.reason.error else ""
        text = f"the update of {service.name} failed, and was rolled back{why}"
        yield _trouble(Ailment.ROLLED_BACK, service, text, status.completed_at, _HISTORY)


def _trouble(kind: Ailment, service: Service, text: str, since: float, advice: tuple[str, str]) -> Trouble:
    hint, command = advice
    return Trouble(
        kind=kind,
        text=text,
        since=round(since, 3),
        object=named(service),
        hint=hint,
        command=f"{command} {service.name}",
    )


_PS = ("look at what its tasks say", "swarm-manager service ps --no-trunc")
_LOGS = ("look at what its tasks wrote before they ended", "swarm-manager service logs --tail 50")
_WAITS = ("make room, change what it asks for, or add a node", "swarm-manager service ps --no-trunc")
_HISTORY = ("see what the update changed, and what its tasks said", "swarm-manager timeline")
_UPDATE = ("mend the cause and go on with --continue, or go back", "swarm-manager service update --abort")


def plural(count: int, noun: str) -> str:
    """Return a number with its noun: `1 task`, `2 tasks`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


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
    services = unlike = updates = 0
    tasks: dict[Mark, int] = {}
    stacks = set()
    for service_id, each in counters.services.items():
        service = each.service
        if service is None or service.pending_delete:
            continue
        services += 1
        if service_id in counters.suspects or each.is_job:  # of all others nothing is to be said
            unlike += not service_state(each, now).as_wanted
            updates += state_of(service) in ACTIVE
        stacks.add(stack_of(service))
        for mark, count in each.marks.items():
            tasks[mark] = tasks.get(mark, 0) + count
    tasks.pop(Mark.STOPPED, None)
    stacks.discard("")
    return Totals(
        nodes=nodes,
        services=services,
        services_as_wanted=services - unlike,
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
