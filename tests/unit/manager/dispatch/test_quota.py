import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ResourceExhausted
from common.model.node import NodeDescription
from common.model.task import TaskStatus
from common.wire.allowances import BYTES, MESSAGES
from common.wire.messages import Heartbeat, NodeReport, Resync, StatusReport, TaskReport
from manager.dispatch.quota import (
    EXCESS_SECONDS,
    FIRST_BAN_SECONDS,
    FORGET_SECONDS,
    MAX_BAN_SECONDS,
    SESSIONS,
    Banned,
    OverBudget,
    Quota,
    Violation,
)


def report(count: int) -> StatusReport:
    return StatusReport(tasks=(TaskReport(task_id="t", status=TaskStatus()),) * count)


def flood(quota: Quota, now: float, message: object, size: int) -> tuple[float, int, str]:
    """Say the same as fast as one is read, until the session is ended: when that is, how much was read, and why."""
    for said in range(10**6):
        try:
            now += quota.spend(message, size, now)  # type: ignore[arg-type]
        except OverBudget as error:
            return now, said, error.message
    raise AssertionError("it goes on for ever")


def test_what_a_worker_says_normally_costs_no_time() -> None:
    quota = Quota(0.0)
    for second in range(3600):
        assert quota.spend(Heartbeat(), 4, second) == 0.0
        assert quota.spend(report(100), 10_000, second) == 0.0
        assert not quota.slowed


@pytest.mark.parametrize(
    ("message", "size", "each", "words"),
    [
        (Heartbeat(), 4, 1, "500 messages a second"),
        (report(100), 6_000, 101, "500 messages a second"),
        (report(3), 60_000, 4, "262144 bytes a second"),
        (NodeReport(description=NodeDescription()), 65_536, 20, "262144 bytes a second"),
        (Resync(), 4, 1000, "500 messages a second"),
    ],
)
def test_a_flood_is_slowed_and_ended_with_the_limit_it_exceeded(
    message: object, size: int, each: float, words: str
) -> None:
    ended, said, why = flood(Quota(0.0), 0.0, message, size)
    assert words in why
    assert EXCESS_SECONDS < ended < EXCESS_SECONDS + 5
    assert said * each <= MESSAGES.burst + (ended + 1) * MESSAGES.per_second
    assert said * size <= BYTES.burst + (ended + 1) * BYTES.per_second


def test_a_burst_is_slowed_and_forgotten_once_quiet() -> None:
    quota = Quota(0.0)
    now = 0.0
    for _ in range(20):
        for _ in range(30):
            now += quota.spend(report(100), 1000, now)
        assert quota.slowed
        now += 10.0
        assert quota.spend(Heartbeat(), 4, now) == 0.0
        assert not quota.slowed


def test_one_message_about_too_much_ends_the_session() -> None:
    with pytest.raises(OverBudget, match="2501 messages at once, where 2000 are the most"):
        Quota(0.0).spend(report(2500), 60_000, 0.0)


def test_sessions_may_begin_in_a_burst_and_then_one_a_second() -> None:
    quota = Quota(0.0)
    for _ in range(int(SESSIONS.burst)):
        quota.begin_session(0.0)
    with pytest.raises(ResourceExhausted, match=r"more than 10 sessions in a short time.*: try again in 1 s"):
        quota.begin_session(0.5)
    quota.begin_session(1.0)


def test_repeat_offenders_are_kept_out_longer_and_later_forgiven() -> None:
    quota = Quota(0.0)
    now, waits = 0.0, []
    for _ in range(7):
        assert quota.record_violation(Violation("it said too much"), now) == "its session was ended: it said too much"
        with pytest.raises(Banned, match="it said too much: try again in") as caught:
            quota.begin_session(now)
        assert caught.value.why == "its session was ended: it said too much"
        wait = float(caught.value.message.split()[-2])
        with pytest.raises(ResourceExhausted):
            quota.begin_session(now + wait - 0.1)
        now += wait
        quota.begin_session(now)
        waits.append(wait)
    assert waits == [FIRST_BAN_SECONDS, 30, 60, 120, 240, MAX_BAN_SECONDS, MAX_BAN_SECONDS]
    now += FORGET_SECONDS
    quota.record_violation(Violation("again"), now)
    quota.begin_session(now + FIRST_BAN_SECONDS)


@given(st.lists(st.tuples(st.floats(0, 60), st.integers(0, 1500), st.integers(0, 65_536)), max_size=200))
def test_a_node_is_never_read_faster_than_it_may_speak(steps: list[tuple[float, int, int]]) -> None:
    quota, now, said, size = Quota(0.0), 0.0, 0.0, 0
    for pause, entries, more in steps:
        now += pause
        said += 1 + entries
        size += more
        try:
            now += quota.spend(report(entries), more, now)
        except OverBudget:
            return
        assert said <= MESSAGES.burst + now * MESSAGES.per_second + 1e-6 * said
        assert size <= BYTES.burst + now * BYTES.per_second + 1e-6 * size
