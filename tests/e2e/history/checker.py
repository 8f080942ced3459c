"""What must hold of a history, whatever the faults were: each violation is a sentence, and none is the verdict.

Lists stand for registers and sets alike, as each state of one shows all changes before it, in their order.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from tests.e2e.history.record import (
    Append,
    Create,
    Fault,
    History,
    Listing,
    Operation,
    Outcome,
    Read,
    Remove,
    Scale,
)

_Kind = TypeVar("_Kind", bound=Operation)

# A host that was cut off hears only afterwards that its tasks run elsewhere, and ends its own.
_AFTERMATH_SECONDS = 60.0


def violations(history: History) -> list[str]:
    """Return what is wrong with a history."""
    return [
        *_managers_differ(history),
        *_appends(history),
        *_reads(history),
        *_lives(history),
        *_listings(history),
        *_slots(history),
        *_deaths(history),
        *_probes(history),
    ]


def _managers_differ(history: History) -> Iterator[str]:
    said = list(history.calm.lists.items())
    for manager, lists in said[1:]:
        if lists != said[0][1]:
            yield f"once calm, the managers of {said[0][0]} and {manager} show different lists"


def _final(history: History) -> Mapping[str, tuple[str, ...]]:
    return next(iter(history.calm.lists.values()), {})


def _appends(history: History) -> Iterator[str]:
    final = _final(history)
    for each in _of(history, Append):
        there = each.element in final.get(each.list, ())
        if each.outcome is Outcome.DONE and not there:
            yield f"lost: {each.element} was acknowledged by {each.manager} to {each.client}, and is not in {each.list}"
        if each.outcome is Outcome.REFUSED and there:
            yield f"refused: {each.element} was refused by {each.manager} ({each.said}), and is in {each.list}"
    asked = {(each.list, each.element) for each in _of(history, Append)}
    for name, elements in final.items():
        for element, count in Counter(elements).items():
            if count > 1:
                yield f"applied twice: {element} is {count} times in {name}"
            if (name, element) not in asked:
                yield f"invented: {element} is in {name}, and nobody has asked for it"


def _reads(history: History) -> Iterator[str]:
    """Every state is a beginning of the last one, and none is older than what anybody knew before it was asked for."""
    final = _final(history)
    reads = _of(history, Read)
    for each in reads:
        whole = final.get(each.list, ())
        if each.elements != whole[: len(each.elements)]:
            yield f"another past: {each.client} has read {each.list} in a state that does not lead to the last one"
    known = [(read.ended, read.list, len(read.elements)) for read in reads]
    for append in _of(history, Append):
        whole = final.get(append.list, ())
        if append.outcome is Outcome.DONE and append.element in whole:
            known.append((append.ended, append.list, whole.index(append.element) + 1))
    yield from _older_than_known(reads, sorted(known))


def _older_than_known(reads: Iterable[Read], known: list[tuple[float, str, int]]) -> Iterator[str]:
    """Compare each read with the longest state of its list that had been seen, or acknowledged, before it began."""
    longest: defaultdict[str, int] = defaultdict(int)
    position = 0
    for read in sorted(reads, key=lambda each: each.began):
        while position < len(known) and known[position][0] < read.began:
            _, name, length = known[position]
            longest[name] = max(longest[name], length)
            position += 1
        if not read.stale and len(read.elements) < longest[read.list]:
            yield (
                f"went back: {read.client} has read {len(read.elements)} elements of {read.list} from {read.manager}, "
                f"when {longest[read.list]} were known"
            )


def _lives(history: History) -> Iterator[str]:
    """A service is as its client has left it: clients touch only their own, one change after the other."""
    for name, life in _by_service(history).items():
        last = history.calm.services.get(name)
        if last not in (expected := _expected(life)):
            wanted = " or ".join(sorted(map(_in_words, expected)))
            yield f"service {name}: {_in_words(last)}, and should be: {wanted}"
    for name in history.calm.services:
        if name not in _by_service(history):
            yield f"invented: service {name} is there, and nobody has asked for it"


def _in_words(replicas: int | None) -> str:
    return "not there" if replicas is None else f"{replicas} replicas"


def _by_service(history: History) -> dict[str, list[Create | Scale | Remove]]:
    lives: dict[str, list[Create | Scale | Remove]] = defaultdict(list)
    for each in history.operations:
        if isinstance(each, Create | Scale | Remove):
            lives[each.service].append(each)
    return lives


def _expected(life: Iterable[Create | Scale | Remove]) -> set[int | None]:
    """Return the numbers of replicas that a service may have after its life; None: it is not there."""
    possible: set[int | None] = {None}
    for change in life:
        result = None if isinstance(change, Remove) else change.replicas
        match change.outcome:
            case Outcome.DONE:
                possible = {result}
            case Outcome.UNKNOWN:
                possible = possible | {result}
            case Outcome.REFUSED:
                continue
    return possible


def _listings(history: History) -> Iterator[str]:
    """Whoever lists the services sees all that were acknowledged before, and none whose removal was."""
    created = {each.service: each.ended for each in _of(history, Create) if each.outcome is Outcome.DONE}
    removing: dict[str, float] = {}
    removed: dict[str, float] = {}
    for each in _of(history, Remove):
        removing.setdefault(each.service, each.began)
        if each.outcome is Outcome.DONE:
            removed[each.service] = each.ended
    for listing in _of(history, Listing):
        if listing.stale:
            continue
        shown = set(listing.services)
        for name, instant in created.items():
            if instant < listing.began and removing.get(name, listing.ended) >= listing.ended and name not in shown:
                yield f"went back: {listing.manager} has listed the services without {name}, which was made before"
        for name, instant in removed.items():
            if instant < listing.began and name in shown:
                yield f"went back: {listing.manager} has listed {name}, which was removed before"


def _slots(history: History) -> Iterator[str]:
    """Once calm each service has the containers that it should have, and no slot has two."""
    running = Counter((each.service, each.slot) for each in history.calm.containers)
    for (service, slot), count in running.items():
        if count > 1:
            hosts = ", ".join(sorted(each.host for each in history.calm.containers if each.slot == slot))
            yield f"doubled: slot {slot} of {service} has {count} containers once calm, on {hosts}"
    replicas = Counter(service for service, _ in running)
    for name in sorted(replicas.keys() | history.calm.services.keys()):
        wanted = history.calm.services.get(name, 0)
        if replicas[name] != wanted:
            yield f"service {name} has containers in {replicas[name]} slots once calm, and should have {wanted}"


def _deaths(history: History) -> Iterator[str]:
    """No container ends for what happens to managers: only with its host cut off, or as its client has asked."""
    for death in history.deaths:
        excused = any(_excuses(fault, death.host, death.at) for fault in history.faults)
        asked = any(
            isinstance(each, Scale | Remove) and each.began <= death.at
            for each in _by_service(history).get(death.service, ())
        )
        if not excused and not asked:
            yield f"restarted needlessly: {death.container} of {death.service} has ended on {death.host}"


def _excuses(fault: Fault, host: str, at: float) -> bool:
    return fault.isolates and host in fault.hosts and fault.began <= at <= fault.ended + _AFTERMATH_SECONDS


def _probes(history: History) -> Iterator[str]:
    for probe in history.probes:
        if not probe.answered:
            yield f"silent: nobody has answered at the published port for {probe.ended - probe.began:.1f} s"


def _of(history: History, kind: type[_Kind]) -> list[_Kind]:
    return [each for each in history.operations if isinstance(each, kind)]
