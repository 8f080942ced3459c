from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manager.state import cron

BERLIN = ZoneInfo("Europe/Berlin")
EXPRESSIONS = [
    "* * * * *",
    "*/7 * * * *",
    "30 2 * * *",
    "0 6-20/2 * * mon-fri",
    "15 3 1 jan,jul *",
    "0 0 29 2 *",
    "*/20 * * * * *",
]


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


@pytest.mark.parametrize(
    ("expression", "after", "due"),
    [
        ("0 6 * * mon-fri", "2026-11-27T07:00", "2026-11-30T06:00"),
        ("*/15 * * * *", "2026-11-24T12:15", "2026-11-24T12:30"),
        ("30 2 * * *", "2026-03-28T12:00", "2026-03-29T03:00"),  # 02:30 does not exist that day
        ("30 4 1 jan *", "2026-01-01T04:30", "2027-01-01T04:30"),
        ("*/10 * * * * *", "2026-11-24T12:15:51", "2026-11-24T12:16:00"),
        ("30 0 6 * * mon-fri", "2026-11-27T07:00", "2026-11-30T06:00:30"),
    ],
)
def test_the_next_due_time(expression: str, after: str, due: str) -> None:
    assert cron.following(expression, "Europe/Berlin", at(after)) == at(due)


def test_a_time_in_a_repeated_hour_is_due_once() -> None:
    first = cron.following("30 2 * * *", "Europe/Berlin", at("2026-10-24T12:00"))
    second = cron.following("30 2 * * *", "Europe/Berlin", first)
    assert (first, second) == (at("2026-10-25T02:30"), at("2026-10-26T02:30"))


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("* * * *", "five fields"),
        ("61 * * * *", "Bad minute"),
        ("0 0 30 2 *", "Bad day"),
        ("* * * * * * *", "or six"),
        ("60 * * * * *", "second"),
    ],
)
def test_what_is_no_schedule(expression: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        cron.check(expression)


@pytest.mark.parametrize("name", ["Europe/Atlantis", "", "../etc/passwd", "/etc/localtime"])
def test_what_is_no_time_zone(name: str) -> None:
    with pytest.raises(ValueError, match="time zone"):
        cron.zone(name)


@settings(max_examples=60, deadline=None)
@given(
    expression=st.sampled_from(EXPRESSIONS),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
    begin=st.integers(1_770_000_000, 1_810_000_000),
    steps=st.lists(st.integers(1, 90_000), min_size=1, max_size=12),
)
def test_looked_at_whenever_each_due_time_is_found_at_most_once_and_the_last_never_missed(
    expression: str, zone: str, begin: int, steps: list[int]
) -> None:
    found, last, now = [], float(begin), float(begin)
    for step in steps:
        now += step
        due = cron.latest(expression, zone, last, now)
        if due is not None:
            found.append(due)
            last = due
            assert due <= now < cron.following(expression, zone, due)
        else:
            assert cron.following(expression, zone, last) > now
    assert all(one < other for one, other in pairwise(found))


def test_a_long_absence_is_looked_over_at_once() -> None:
    assert cron.latest("* * * * *", "UTC", 0.0, 1_800_000_030.0) == 1_800_000_000.0
    assert cron.latest("* * * * * *", "UTC", 0.0, 1_800_000_030.5) == 1_800_000_030.0
    assert cron.latest("0 0 29 2 *", "UTC", at("2020-03-01T00:00"), at("2027-01-01T00:00")) is not None
