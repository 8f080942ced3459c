"""Who claims the leadership, and when: whatever instants come together."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.store.backend import Epoch, LeaderRecord
from manager.store.leadership import Claim, LeadershipTimeouts, Seen, Serve, StepDown, Wait, judge

PATIENCE = LeadershipTimeouts()
instants = st.floats(0, 100)
jitters = st.floats(0, 0.15)
records = st.none() | st.builds(
    LeaderRecord,
    node_id=st.sampled_from(["own", "other"]),
    epoch=st.builds(Epoch, st.integers(0, 3), st.integers(0, 9)),
    addr=st.just("host:2377"),
    release=st.just("1.0"),
    vacant=st.booleans(),
)


def seen(
    record: LeaderRecord | None, moved_at: float = 0.0, tried_at: float = -math.inf, *, has_led: bool = False
) -> Seen:
    return Seen("own", record, has_led, moved_at, None, tried_at)


def record(node_id: str, *, vacant: bool = False) -> LeaderRecord:
    return LeaderRecord(node_id, Epoch(1, 7), "host:2377", "1.0", vacant)


@given(records, instants, instants, instants, jitters)
def test_a_leader_serves_only_until_another_may_lead(
    found: LeaderRecord | None, moved_at: float, shown_at: float, now: float, jitter: float
) -> None:
    verdict = judge(Seen("own", found, False, moved_at, shown_at, 0.0), now, jitter, PATIENCE)
    if now - shown_at < PATIENCE.step_down:
        assert verdict == Serve(shown_at + PATIENCE.step_down)
    else:
        assert verdict == StepDown()


@given(records, instants, instants, instants, jitters, st.integers(0, 3))
def test_a_follower_waits_for_an_instant_and_then_claims(
    found: LeaderRecord | None, moved_at: float, tried_at: float, now: float, jitter: float, generation: int
) -> None:
    here = seen(found, moved_at, tried_at)
    verdict = judge(here, now, jitter, PATIENCE, generation)
    if isinstance(verdict, Wait):
        assert verdict.until > now
        verdict = judge(here, verdict.until, jitter, PATIENCE, generation)
    assert isinstance(verdict, Claim)
    last = found.epoch if found is not None else Epoch()
    assert verdict.epoch > last
    assert verdict.epoch.generation == max(generation, last.generation)


@given(instants, st.floats(0, 1.49), jitters)
def test_nobody_claims_beside_a_leader_that_was_heard_of(moved_at: float, silent: float, jitter: float) -> None:
    assert isinstance(judge(seen(record("other"), moved_at), moved_at + silent, jitter, PATIENCE), Wait)


@pytest.mark.parametrize("found", [None, record("own"), record("other", vacant=True)])
def test_where_nobody_leads_claims_are_made_at_once(found: LeaderRecord | None) -> None:
    assert isinstance(judge(seen(found, moved_at=5.0), 5.0, 0.1, PATIENCE), Claim)


@pytest.mark.parametrize("found", [None, record("own"), record("other", vacant=True)])
def test_a_claim_that_failed_is_not_repeated_at_once(found: LeaderRecord | None) -> None:
    decided = judge(seen(found, 5.0, tried_at=6.0), 6.0, 0.1, PATIENCE)
    assert isinstance(decided, Wait)
    assert decided.until == pytest.approx(6.4)


def test_a_claim_that_failed_is_repeated_when_there_is_news() -> None:
    vacant = record("other", vacant=True)
    assert isinstance(judge(seen(vacant, 6.1, tried_at=6.0), 6.1, 0.1, PATIENCE), Claim)


@pytest.mark.parametrize("vacant", [False, True])
def test_who_has_led_leaves_it_to_the_others_first(vacant: bool) -> None:
    here = seen(record("own", vacant=vacant), moved_at=5.0, has_led=True)
    decided = judge(here, 5.0, 0.1, PATIENCE)
    assert isinstance(decided, Wait)
    assert decided.until == pytest.approx(6.6)
    assert isinstance(judge(here, 6.61, 0.1, PATIENCE), Claim), "there are none"


@pytest.mark.parametrize("sure", [1.0, 1.2])
def test_patience_that_would_let_two_be_sure_cannot_be_made(sure: float) -> None:
    with pytest.raises(AssertionError, match="must be unsure before another one can lead"):
        LeadershipTimeouts(silence=1.0, sure=sure)
