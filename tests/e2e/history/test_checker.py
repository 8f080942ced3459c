"""The checker takes good histories, and names what is wrong with each bad one."""

from typing import Any

import pytest

from tests.e2e.history.checker import violations
from tests.e2e.history.record import (
    Append,
    Calm,
    Container,
    Create,
    Death,
    Fault,
    History,
    Listing,
    Outcome,
    Probe,
    Read,
    Remove,
    Scale,
)
from tests.e2e.history.summary import outages

DONE, REFUSED, UNKNOWN = Outcome


def at(began: float, ended: float | None = None, outcome: Outcome = DONE, client: str = "c") -> dict[str, Any]:
    ended = began + 0.5 if ended is None else ended
    return {"client": client, "manager": "h1", "began": began, "ended": ended, "outcome": outcome}


def append(element: str, began: float, outcome: Outcome = DONE) -> Append:
    return Append(**at(began, outcome=outcome), list="l", element=element)


def read(elements: str, began: float, **more: Any) -> Read:
    return Read(**at(began), list="l", elements=tuple(elements), **more)


def create(began: float, outcome: Outcome = DONE) -> Create:
    return Create(**at(began, outcome=outcome), service="s", replicas=1)


def scale(replicas: int, began: float, outcome: Outcome = DONE) -> Scale:
    return Scale(**at(began, outcome=outcome), service="s", replicas=replicas)


def remove(began: float, outcome: Outcome = DONE) -> Remove:
    return Remove(**at(began, outcome=outcome), service="s")


def listing(services: str, began: float, **more: Any) -> Listing:
    return Listing(**at(began), services=tuple(services), **more)


def calm(elements: str = "", **services: int) -> Calm:
    """Three managers that agree, and a container for each replica."""
    containers = [Container("h1", name, f"{name}.{slot}") for name, count in services.items() for slot in range(count)]
    lists = {f"h{number}": {"l": tuple(elements)} for number in (1, 2, 3)}
    return Calm(lists=lists, services=services, containers=tuple(containers))


GOOD = {
    "nothing": History(),
    "reads see what was acknowledged": History((read("", 0), append("a", 1), read("a", 2)), calm=calm("a")),
    "a read beside an append sees it or not": History(
        (Append(**at(1, 3), list="l", element="a"), read("", 2), read("a", 4)), calm=calm("a")
    ),
    "what nobody knows is there": History((append("a", 1, UNKNOWN),), calm=calm("a")),
    "what nobody knows is not there": History((append("a", 1, UNKNOWN),), calm=calm()),
    "what was refused is not there": History((append("a", 1, REFUSED),), calm=calm()),
    "a state that is said to be old": History((append("a", 1), read("", 2, stale=True)), calm=calm("a")),
    "a whole life": History((create(1), scale(3, 2), remove(3), listing("", 4)), calm=calm()),
    "a scaling that nobody knows": History((create(1), scale(3, 2, UNKNOWN)), calm=calm(s=3)),
    "a removal that nobody knows": History((create(1), remove(2, UNKNOWN)), calm=calm()),
    "a creation that is listed": History((create(1), listing("s", 2)), calm=calm(s=1)),
    "a removal beside a listing": History((create(1), Remove(**at(2, 4), service="s"), listing("s", 3)), calm=calm()),
    "a container of a host that was cut off": History(
        (create(1),), (Fault("cut", ("h1",), 2, 9, isolates=True),), (Death("h1", "s", "s.1", 12),), calm=calm(s=1)
    ),
    "a container of a service that was scaled": History(
        (create(1), scale(2, 2)), deaths=(Death("h1", "s", "s.1", 3),), calm=calm(s=2)
    ),
    "a port that answers": History(probes=(Probe(1, 1.2, answered=True),)),
}

TWICE = Calm(services={"s": 1}, containers=(Container("h1", "s", "s.1"), Container("h2", "s", "s.1")))
BAD = {
    "lost: a was acknowledged": History((append("a", 1),), calm=calm()),
    "refused: a was refused": History((append("a", 1, REFUSED),), calm=calm("a")),
    "applied twice: a is 2 times": History((append("a", 1, UNKNOWN),), calm=calm("aa")),
    "invented: a": History(calm=calm("a")),
    "another past": History((append("a", 1), append("b", 2), read("b", 3)), calm=calm("ab")),
    "went back: c has read 0 elements": History((append("a", 1), read("", 2)), calm=calm("a")),
    "when 2 were known": History(
        (append("a", 1, UNKNOWN), append("b", 1, UNKNOWN), read("ab", 2), read("a", 3)), calm=calm("ab")
    ),
    "managers of h1 and h2 show different": History(calm=Calm(lists={"h1": {"l": ()}, "h2": {}})),
    "service s: not there, and should be: 1 replicas": History((create(1),), calm=calm()),
    "service s: 1 replicas, and should be: 2 replicas": History((create(1), scale(2, 2)), calm=calm(s=1)),
    "service s: 1 replicas, and should be: not there": History((create(1), remove(2)), calm=calm(s=1)),
    "nobody has asked for it": History(calm=calm(s=1)),
    "without s, which was made before": History((create(1), listing("", 2)), calm=calm(s=1)),
    "listed s, which was removed before": History((create(1), remove(2), listing("s", 3)), calm=calm()),
    "doubled: slot s.1 of s has 2 containers once calm, on h1, h2": History((create(1),), calm=TWICE),
    "containers in 0 slots once calm, and should have 1": History((create(1),), calm=Calm(services={"s": 1})),
    "containers in 1 slots once calm, and should have 0": History(calm=Calm(containers=(Container("h1", "s", "s.1"),))),
    "restarted needlessly: s.1 of s has ended on h1": History(
        (create(1),),
        (Fault("cut", ("h2",), 2, 9, isolates=True), Fault("killed", ("h1",), 2, 9)),
        (Death("h1", "s", "s.1", 4),),
        calm=calm(s=1),
    ),
    "silent: nobody has answered at the published port for 6.0 s": History(probes=(Probe(1, 7, answered=False),)),
}


def test_an_outage_is_the_longest_time_without_a_change() -> None:
    changes = [append(f"{number}", began) for number, began in enumerate((9, 11, 13.5, 14, 40))]
    faults = (Fault("killed", ("h1",), 10, 12), Fault("cut", ("h1",), 20, 25))
    assert outages(History((*changes, append("x", 12, REFUSED)), faults)) == {"killed": [2.5], "cut": [10.0]}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_history_has_no_violation(name: str) -> None:
    assert violations(GOOD[name]) == []


@pytest.mark.parametrize("name", BAD)
def test_a_bad_history_is_named(name: str) -> None:
    assert any(name in each for each in violations(BAD[name])), violations(BAD[name])
