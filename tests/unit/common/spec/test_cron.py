from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from common.spec import cron

BERLIN = ZoneInfo("Europe/Berlin")


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
        ("61 * * * *", "a cron expression with a valid minute"),
        ("0 0 30 2 *", "a valid day of month"),
        ("* * * * * * *", "or six"),
        ("60 * * * * *", "second"),
        (",".join(["*"] * 100_000) + " * * * *", "at most 1000 characters"),
    ],
)
def test_what_is_no_schedule(expression: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        cron.check(expression)


@pytest.mark.parametrize("name", ["Europe/Atlantis", "", "../etc/passwd", "/etc/localtime"])
def test_what_is_no_time_zone(name: str) -> None:
    with pytest.raises(ValueError, match="time zone"):
        cron.zone(name)


def test_a_long_absence_is_looked_over_at_once() -> None:
    assert cron.latest("* * * * *", "UTC", 0.0, 1_800_000_030.0) == 1_800_000_000.0
    assert cron.latest("* * * * * *", "UTC", 0.0, 1_800_000_030.5) == 1_800_000_030.0
    assert cron.latest("0 0 29 2 *", "UTC", at("2020-03-01T00:00"), at("2027-01-01T00:00")) is not None


@pytest.mark.parametrize(
    ("name", "fields"),
    [("@hourly", "0 * * * *"), ("@daily", "0 0 * * *"), ("@Weekly", "0 0 * * sun"), ("@yearly", "0 0 1 jan *")],
)
def test_names_stand_for_fields(name: str, fields: str) -> None:
    assert cron.check(name) == name
    now = 1_700_000_000.0
    for _ in range(3):
        due = cron.following(name, "Europe/Berlin", now)
        assert due == cron.following(fields, "Europe/Berlin", now)
        now = due


def test_a_name_that_stands_for_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"one of @yearly, .*@hourly, or five fields"):
        cron.check("@reboot")
