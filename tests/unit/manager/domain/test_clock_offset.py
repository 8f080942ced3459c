"""When a worker's clock is wrong, and how that is said."""

import random

import pytest

from common.model import Node
from common.model.node import ClockOffset, NodeStatus
from manager.domain.clock_offset import APART_SECONDS, ClockWatch, clock_words, status_message


def told(watch: ClockWatch, *offsets: float, apart: float = 10.0, begin: float = 0.0) -> list[int]:
    found = (watch.sample(offset, begin + apart * number) for number, offset in enumerate(offsets))
    return [each for each in found if each is not None]


def test_a_clock_is_wrong_when_three_samples_say_so() -> None:
    watch = ClockWatch()
    assert told(watch, -720.0, -720.2) == []
    assert told(watch, -720.1, begin=20.0) == [-720]
    assert told(watch, *[-720.0] * 10, begin=30.0) == [], "it is told once"


def test_one_late_message_is_no_wrong_clock() -> None:
    assert told(ClockWatch(), 0.0, -45.0, 0.0, -45.0, -45.0, 0.0) == []


def test_messages_that_came_at_once_are_one_sample() -> None:
    """A manager that stood still for a minute reads six messages at once, the first a minute old."""
    assert told(ClockWatch(), -60.0, -50.0, -40.0, -31.0, apart=0.01) == []


def test_it_is_right_again_well_below_the_limit() -> None:
    watch = ClockWatch(40)
    assert told(watch, *[20.0] * 5) == [], "it hovers between"
    assert told(watch, *[1.0] * 3, begin=50.0) == [0]
    assert told(watch, *[20.0] * 5, begin=80.0) == []


def test_a_clock_that_goes_on_drifting_is_told_anew() -> None:
    assert told(ClockWatch(40), *[60.0] * 4) == []
    assert told(ClockWatch(40), *[75.0] * 4) == [75]
    assert told(ClockWatch(-3600), *[-3700.0] * 4) == []
    assert told(ClockWatch(-3600), *[3600.0] * 4) == [3600]


def test_a_liar_changes_the_record_seldom() -> None:
    rng, watch = random.Random(1), ClockWatch()
    lies = [rng.choice([0.0, 1e9, -1e9]) for _ in range(3000)]
    assert len(told(watch, *lies, apart=APART_SECONDS / 5)) <= len(lies) / 5 / 3


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-720, "is 12 minutes behind the manager's"),
        (45, "is 45 seconds ahead of the manager's"),
        (75, "is about a minute ahead of the manager's"),
        (-4000, "is about an hour behind the manager's"),
    ],
)
def test_it_is_said_in_words(seconds: float, words: str) -> None:
    assert clock_words(seconds) == words


def test_a_ready_node_with_a_wrong_clock_says_so() -> None:
    node = Node(id="n", status=NodeStatus(state="ready"), clock_offset=ClockOffset(seconds=-720, since=1.0))
    assert status_message(node) == (
        "its clock is 12 minutes behind the manager's: set the wrong one, for example with NTP"
    )
    down = NodeStatus(state="down", message="no sign of life")
    assert status_message(Node(id="n", status=down, clock_offset=node.clock_offset)) == "no sign of life"
    assert status_message(Node(id="n", status=NodeStatus(state="ready"))) == ""
