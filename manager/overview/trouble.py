"""What is wrong now, the worst first: each with a sentence, since when, and what to do. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, islice

from common.model import Node, Service
from common.model.naming import Model
from common.model.node import ClockOffset
from common.model.update import HALTED, Requested, TasksFailed, UpdateState, UpdateStatus
from manager.domain.clock_offset import clock_words
from manager.domain.update_status import halted
from manager.overview.counters import Counters, NodeTally, ServiceTally
from manager.overview.entries import named
from manager.overview.marks import PLACED, Mark
from manager.overview.rows import LONGEST_ERROR, ServiceState, error_of, service_state
from manager.overview.timeline import Named

# Nodes that are down are listed one by one up to so many.
MOST_DOWN = 3
# Likewise those with a wrong clock.
MOST_WRONG_CLOCKS = 3
# More failures than this in this many seconds are a loop.
LOOP_FAILURES = 3
LOOP_SECONDS = 600.0
# For how many seconds a rolled back update is shown.
ROLLED_BACK_SECONDS = 3600.0
# An agent or a host that restarts is back after so many seconds.
DISCONNECTED_SECONDS = 60.0


class TroubleKind(StrEnum):
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
    NODE_CLOCK = "node-clock"


_RANKS = {kind: number for number, kind in enumerate(TroubleKind)}


class Trouble(Model):
    """Something that is wrong with an `object` since an instant (Unix seconds). `text` says it, `hint` what to do.

    `command` is one that shows more, or mends it.
    """

    kind: TroubleKind
    text: str
    since: float
    object: Named
    hint: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """A trouble without its sentence: only the worst of many are shown, and wording takes longer than finding."""

    kind: TroubleKind
    of: Node | Service
    since: float
    hint: str
    command: str
    text: Callable[[], str]

    @property
    def place(self) -> tuple[int, float]:
        """The sort key: the worst first, of the same kind the oldest."""
        return _RANKS[self.kind], self.since

    def trouble(self) -> Trouble:
        return Trouble(
            kind=self.kind,
            text=self.text(),
            since=round(self.since, 3),
            object=named(self.of),
            hint=self.hint,
            command=self.command,
        )


# --- nodes ---


def _of_nodes(counters: Counters, now: float) -> Iterator[Finding]:
    """Yield what is wrong with nodes; many that are down are one trouble, to leave room for those of services."""
    tallies = [counters.nodes[node_id] for node_id in counters.unready]
    found = [(tally, finding) for tally in tallies if (finding := _of_node(tally, now)) is not None]
    down = [tally for tally, finding in found if finding.kind is TroubleKind.NODE_DOWN]
    if len(down) > MOST_DOWN:
        yield _many_down(sorted(down, key=lambda tally: tally.since))
    yield from (each for _, each in found if each.kind is not TroubleKind.NODE_DOWN or len(down) <= MOST_DOWN)


def _many_down(tallies: Sequence[NodeTally]) -> Finding:
    nodes = [tally.node for tally in tallies if tally.node is not None]
    names = ", ".join(node.name for node in nodes[:MOST_DOWN])
    return Finding(
        kind=TroubleKind.NODE_DOWN,
        of=nodes[0],
        since=tallies[0].since,
        hint="see what they have in common: a switch, a rack, a power supply; and whether they reach the manager",
        command="swarm-manager node ls",
        text=lambda: f"{len(nodes)} nodes are down, {names} and {len(nodes) - MOST_DOWN} more{_tasks_of(*tallies)}",
    )


def _of_clocks(counters: Counters) -> Iterator[Finding]:
    """Yield the ready nodes whose clocks are wrong; of many that may be the manager's own."""
    nodes = [node for each in counters.wrong_clocks if (node := counters.nodes[each].node) is not None]
    wrong = sorted(
        ((node.clock_offset, node) for node in nodes if node.clock_offset and node.status.state == "ready"),
        key=lambda each: each[0].since,
    )
    for offset, node in wrong[: 1 if len(wrong) > MOST_WRONG_CLOCKS else None]:
        yield _wrong_clock(offset, node, len(wrong) if len(wrong) > MOST_WRONG_CLOCKS else 1)


def _wrong_clock(offset: ClockOffset, node: Node, count: int) -> Finding:
    name, says = node.name, clock_words(offset.seconds)
    hint = "set it, for example with NTP: certificates, and the times in logs, go by it"
    several = "set them, or the manager's own if that is the wrong one, for example with NTP"
    return Finding(
        kind=TroubleKind.NODE_CLOCK,
        of=node,
        since=offset.since,
        hint=hint if count == 1 else several,
        command=f"swarm-manager node inspect --pretty {node.name}" if count == 1 else "swarm-manager node ls",
        text=lambda: (
            f"the clock of node {name} {says}"
            if count == 1
            else f"the clocks of {count} nodes are not the manager's; that of node {name} {says}"
        ),
    )


def _of_node(tally: NodeTally, now: float) -> Finding | None:
    node = tally.node
    if node is None or (node.left and node.manager_status is None):
        return None  # it has left the cluster; only its record is left
    state = node.status.state
    if state == "down":
        why = f" ({node.status.message})" if node.status.message else ""
        return Finding(
            kind=TroubleKind.NODE_DOWN,
            of=node,
            since=tally.since,
            hint="see whether its host runs and reaches the manager; its tasks are replaced where there is room",
            command=f"swarm-manager node inspect --pretty {node.name}",
            text=lambda: f"node {node.name} is down{why}{_tasks_of(tally)}",
        )
    if now - tally.since < DISCONNECTED_SECONDS:
        return None
    return Finding(
        kind=TroubleKind.NODE_AWAY,
        of=node,
        since=tally.since,
        hint="start its worker again: systemctl start swarm-worker",
        command=f"swarm-manager node inspect --pretty {node.name}",
        text=lambda: f"node {node.name} is {state}: it keeps its tasks and takes no new ones",
    )


def _tasks_of(*tallies: NodeTally) -> str:
    count = sum(number for tally in tallies for mark, number in tally.marks.items() if mark in PLACED)
    return f": nothing is known of {plural(count, 'task')} there" if count else ""


# --- services ---


def _of_service(tally: ServiceTally, service: Service, state: ServiceState, now: float) -> Iterator[Finding]:
    """Yield what is wrong with a service, the worst first."""
    status, marks = service.update_status, tally.marks
    short_since = tally.short_since
    if state is ServiceState.DOWN:
        yield _found(TroubleKind.SERVICE_DOWN, service, short_since, _PS, lambda: _down(tally, service))
    if status is not None and status.state in HALTED:
        since = status.held_at or service.updated_at
        yield _found(
            TroubleKind.UPDATE_HALTED, service, since, _UPDATE, lambda: f"{_run(tally, service)}: {halted(status)}"
        )
    if Mark.WAITING in marks and (waiting := [task for task in tally.complaints.values() if task.finds_no_node]):
        since = min(task.created_at for task in waiting)
        yield _found(TroubleKind.TASKS_WAIT, service, since, _WAITS, lambda: _waits(tally, service, len(waiting)))
    if (recent := tally.failures.since(now - LOOP_SECONDS)) > LOOP_FAILURES:
        since = short_since or tally.failures.last_at
        yield _found(TroubleKind.CRASH_LOOP, service, since, _LOGS, lambda: _loops(tally, service, recent))
    if state is ServiceState.SHORT:
        yield _found(
            TroubleKind.SERVICE_SHORT,
            service,
            short_since,
            _PS,
            lambda: f"{_run(tally, service)} tasks run{_why(tally)}",
        )
    if state is ServiceState.FAILED:
        since = tally.failures.last_at
        yield _found(TroubleKind.JOB_FAILED, service, since, _LOGS, lambda: f"job {service.name} failed{_why(tally)}")
    if status is not None and _is_news(status, now):
        yield _found(
            TroubleKind.ROLLED_BACK, service, status.completed_at, _HISTORY, lambda: _rolled_back(service, status)
        )


def _found(
    kind: TroubleKind, service: Service, since: float, advice: tuple[str, str], text: Callable[[], str]
) -> Finding:
    hint, command = advice
    return Finding(kind=kind, of=service, since=since, hint=hint, command=f"{command} {service.name}", text=text)


def _run(tally: ServiceTally, service: Service) -> str:
    return f"{service.name} {tally.running}/{tally.desired}"


def _why(tally: ServiceTally) -> str:
    error = error_of(tally)
    return f": {error}" if error else ""


def _down(tally: ServiceTally, service: Service) -> str:
    return f"{service.name} is down, 0 of {plural(tally.desired, 'task')} run{_why(tally)}"


def _waits(tally: ServiceTally, service: Service, count: int) -> str:
    return f"{_run(tally, service)}: {plural(count, 'task')} without a node{_why(tally)}"


def _loops(tally: ServiceTally, service: Service, recent: int) -> str:
    return f"{_run(tally, service)}: {recent} tasks failed in ten minutes{_why(tally) or _last_failure(tally)}"


def _last_failure(tally: ServiceTally) -> str:
    last = tally.failures.last
    return f", last with: {last.status.err[:LONGEST_ERROR]}" if last is not None and last.status.err else ""


def _is_news(status: UpdateStatus, now: float) -> bool:
    """Whether an update failed and was rolled back recently."""
    taken_back = status.state is UpdateState.ROLLBACK_COMPLETED and not isinstance(status.reason, Requested)
    return taken_back and now - status.completed_at <= ROLLED_BACK_SECONDS


def _rolled_back(service: Service, status: UpdateStatus) -> str:
    why = f": {status.reason.error}" if isinstance(status.reason, TasksFailed) and status.reason.error else ""
    return f"the update of {service.name} failed, and was rolled back{why}"


_PS = ("look at what its tasks say", "swarm-manager service ps --no-trunc")
_LOGS = ("look at what its tasks wrote before they ended", "swarm-manager service logs --tail 50")
_WAITS = ("make room, change what it asks for, or add a node", "swarm-manager service ps --no-trunc")
_HISTORY = ("see what the update changed, and what its tasks said", "swarm-manager timeline")
_UPDATE = ("mend the cause and go on with --continue, or go back", "swarm-manager service update --abort")


def plural(count: int, noun: str) -> str:
    """Return a number with its noun: `1 task`, `2 tasks`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """The state of a service that may be in trouble."""

    tally: ServiceTally
    service: Service
    state: ServiceState


def service_statuses(counters: Counters, now: float) -> Iterator[ServiceStatus]:
    """Yield the state of each service that may be in trouble, and of each job."""
    for service_id in {**counters.suspects, **counters.sums.jobs}:
        tally = counters.services.get(service_id)
        if tally is not None and tally.service is not None and not tally.leaves:
            yield ServiceStatus(tally, tally.service, service_state(tally, now))


def findings(counters: Counters, statuses: Iterable[ServiceStatus], now: float) -> list[Finding]:
    """Return all that is wrong with nodes and with these services, the worst first, of the same kind the oldest."""
    of_services = (islice(_of_service(each.tally, each.service, each.state, now), 1) for each in statuses)
    found = [*_of_nodes(counters, now), *_of_clocks(counters), *chain.from_iterable(of_services)]
    return sorted(found, key=lambda each: each.place)
