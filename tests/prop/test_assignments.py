"""A worker's assignments, in increments of any kind."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from common.wire.messages import Assignments
from tests.unit.worker.test_assignments import complete
from tests.unit.worker.worlds import make_task
from worker.assignments import AssignmentSet


@given(st.lists(st.tuples(st.sets(st.sampled_from("abcd")), st.sets(st.sampled_from("abcd")))))
def test_increments_add_up_to_what_is_left(steps):
    found = AssignmentSet().apply(complete(0))
    expected = set()
    for number, (added, removed) in enumerate(steps):
        message = Assignments(
            complete=False,
            applies_to=number,
            results_in=number + 1,
            tasks=tuple(make_task(name) for name in added),
            removed_tasks=tuple(removed),
        )
        found = found.apply(message)
        expected = (expected | added) - removed
        assert set(found.tasks) == expected
