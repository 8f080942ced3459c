"""Failures are counted by the minute, an hour back."""

from common.model import Task
from manager.overview.failures import HOUR_SECONDS, MINUTE_SECONDS, Failures

NOW = 100 * HOUR_SECONDS


def test_those_since_an_instant_are_counted_by_minutes() -> None:
    failures = Failures()
    for ago in (0.0, 30.0, 5 * MINUTE_SECONDS, 50 * MINUTE_SECONDS):
        failures.add(Task(id=f"t{ago}"), NOW - ago, heard=True)
    assert failures.since(NOW - HOUR_SECONDS) == 4
    assert failures.since(NOW - 10 * MINUTE_SECONDS) == 3
    assert failures.since(NOW + MINUTE_SECONDS) == 0


def test_an_hour_has_a_number_a_minute() -> None:
    failures = Failures()
    for ago in (0.0, 30.0, 5 * MINUTE_SECONDS, 59 * MINUTE_SECONDS, 60 * MINUTE_SECONDS):
        failures.add(Task(id="t"), NOW + 30.0 - ago, heard=True)
    minutes = failures.by_minute(NOW + 30.0)
    assert len(minutes) == 60
    assert {-n - 1: count for n, count in enumerate(reversed(minutes)) if count} == {-1: 2, -6: 1, -60: 1}


def test_the_last_one_is_the_newest_whatever_is_found_later() -> None:
    failures = Failures()
    failures.add(Task(id="new"), NOW, heard=True)
    failures.add(Task(id="old"), NOW - 10, heard=False)
    assert failures.last is not None
    assert (failures.last.id, failures.last_at, failures.total) == ("new", NOW, 1)


def test_ten_thousand_cost_no_more_than_an_hour() -> None:
    failures = Failures()
    for minute in range(10_000):
        failures.add(Task(id="t"), minute * MINUTE_SECONDS, heard=True)
    assert failures.since(0.0) == 60
    assert failures.total == 10_000
