"""Which pass is next: an end is always reached, and no downtime longer than was allowed is begun."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.volumes.copy.passes import MOST_PASSES, Pass, Work, next_step, seconds_for

MB = 10**6
WORKS = st.builds(
    Work, files=st.integers(0, 10**6), read=st.integers(0, 10**12), looking=st.floats(0, 100, allow_nan=False)
)
PASSES = st.builds(Pass, done=WORKS, seconds=st.floats(0, 10**5, allow_nan=False), left=WORKS)


def made(*left: int) -> list[Pass]:
    """Passes of 100 MB/s that leave so many MB each."""
    before = [1000, *left]
    return [Pass(Work(0, done * MB), done / 100, Work(0, rest * MB)) for done, rest in zip(before, left, strict=False)]


def test_the_first_is_a_pass_of_all():
    assert next_step([]) == "pass"


def test_passes_go_on_while_the_rest_shrinks():
    assert next_step(made(500)) == "pass"
    assert next_step(made(500, 300)) == "pass"


def test_a_short_rest_is_the_last():
    assert next_step(made(99)) == "last"
    assert next_step(made(500, 50)) == "last"


def test_a_rest_that_shrinks_no_more_is_the_last():
    assert next_step(made(500, 450)) == "last"


def test_more_than_five_are_never_made():
    assert next_step(made(800, 600, 450, 340)) == "pass"
    assert next_step(made(800, 600, 450, 340, 250)) == "last"


def test_too_long_a_downtime_is_not_begun():
    assert next_step(made(500, 450), max_downtime=4) == "give-up"
    assert next_step(made(500, 450), max_downtime=5) == "last"
    assert next_step(made(500), max_downtime=1) == "pass", "it may still shrink"


def test_many_small_files_take_time_too():
    assert seconds_for(Work(1000, 0), [Pass(Work(2000, 0), 10.0, Work(0, 0))]) == 5.0


@given(st.lists(PASSES, max_size=8), st.none() | st.floats(0, 100))
def test_there_is_always_an_end(passes: list[Pass], limit: float | None):
    step = next_step(passes, limit)
    assert len(passes) < MOST_PASSES or step != "pass"
    assert limit is not None or step != "give-up"
    if step == "last" and limit is not None:
        assert seconds_for(passes[-1].left, passes) <= limit


@given(WORKS, st.lists(PASSES, max_size=3))
def test_an_estimate_is_never_negative(work: Work, passes: list[Pass]):
    assert seconds_for(work, passes) >= 0
