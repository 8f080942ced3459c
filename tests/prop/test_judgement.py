"""What the command line says of a service's progress, of any tasks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from common.model import TaskState
from manager.cli.progress.judgement import Verdict
from tests.unit.manager.cli.progress.test_judgement import MONITOR, RUNNING, service, story, task


@given(
    st.integers(0, 4),
    st.lists(
        st.tuples(st.integers(1, 4), st.sampled_from(sorted(TaskState)), st.sampled_from(sorted(TaskState))),
        max_size=12,
    ),
)
def test_converged_needs_every_slot_running_and_none_too_many(
    replicas: int, made: list[tuple[int, TaskState, TaskState]]
):
    tasks = [task(slot, state, desired=desired, number=n) for n, (slot, state, desired) in enumerate(made)]
    seen = story(service(replicas), [(0, tasks), (MONITOR, tasks)])
    running = {each.slot for each in tasks if each.live and each.status.state is RUNNING}
    if seen.verdict is Verdict.CONVERGED:
        assert len(running) == replicas == seen.done
    if len(made) == len({slot for slot, _, _ in made}) == replicas and len(running) == replicas:
        assert seen.verdict is Verdict.CONVERGED
