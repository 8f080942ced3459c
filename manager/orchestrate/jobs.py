"""Jobs: tasks that are to complete, so many in all or one on each node, once an iteration.

The rules are SwarmKit's (`orchestrator/jobs`). An iteration is one execution of the job; the API begins another when
the job is changed or forced. Tasks carry the iteration they belong to. What is left of an earlier one stops, and its
records are history.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from common.model import Node, Task, TaskState
from common.model.service import ReplicatedJob
from common.model.task import RestartRecord
from manager.orchestrate import restart
from manager.orchestrate.case import Case
from manager.orchestrate.slots import Slot
from manager.orchestrate.standing import Standing, standing
from manager.orchestrate.upkeep import Phase, settle, successor
from manager.state import extensions
from manager.state.constraints import unmet

# A slot's number, or 0 and a node's id.
_Place: TypeAlias = tuple[int, str]


def decide(case: Case) -> None:
    """Look after a job's present execution."""
    job = case.service.spec.mode.replicated_job
    if job is not None:
        decide_replicated(case, job)
    else:
        decide_global(case)


def decide_replicated(case: Case, job: ReplicatedJob) -> None:
    """Bring the job to its completions, at most `max_concurrent` slots at a time.

    A slot that its restart policy gives up is not filled again: the job then stays short of its completions.
    """
    slots, earlier = _sort_out(case)
    wanted = total(job)
    busy = 0
    for (number, _), slot in (*slots.items(), *_beyond(earlier, wanted)):
        if case.draft.full:
            case.continue_at_once()
            return
        if number > wanted:
            _discard(case, slot)
            continue
        busy += bool(slot.live) or successor(case, slot) is not None
        _look_after(case, slot)
    free = [number for number in range(1, wanted + 1) if (number, "") not in slots]
    for number in free[: max(0, concurrent(job) - busy)]:
        if case.draft.full:
            case.continue_at_once()
            return
        _begin(case, number, "", earlier.get((number, "")))


def _beyond(slots: Mapping[_Place, Slot], total: int) -> list[tuple[_Place, Slot]]:
    """Return the slots that there will be no more, so that their history goes too."""
    return [(place, slot) for place, slot in slots.items() if place[0] > total]


def total(job: ReplicatedJob) -> int:
    """Return how many tasks of a job are to complete."""
    return concurrent(job) if job.total_completions is None else job.total_completions


def concurrent(job: ReplicatedJob) -> int:
    return 1 if job.max_concurrent is None else job.max_concurrent


def decide_global(case: Case) -> None:
    """Let each eligible node complete one task; a node that joins during the iteration is among them."""
    slots, earlier = _sort_out(case)
    constraints = case.recipe.placement.constraints if case.recipe.placement else ()
    for node in case.view.nodes:
        if case.draft.full:
            case.continue_at_once()
            return
        slot = slots.pop((0, node.id), None)
        if unmet(constraints, node):
            _discard(case, slot)
        else:
            _on_node(case, node, slot, earlier)
    for slot in slots.values():
        _discard(case, slot)


def _on_node(case: Case, node: Node, slot: Slot | None, earlier: Mapping[_Place, Slot]) -> None:
    stands = standing(node)
    if stands in (Standing.DRAINED, Standing.LOST):
        for task in slot.tasks if slot is not None else ():
            case.stop(task)
    elif slot is not None and slot.tasks:
        if stands is Standing.OPEN or slot.live:
            settle(case, slot)
    elif stands is Standing.OPEN:
        _begin(case, 0, node.id, earlier.get((0, node.id)))


def _sort_out(case: Case) -> tuple[dict[_Place, Slot], dict[_Place, Slot]]:
    """Return the slots of the present iteration, and those of earlier tasks, which are told to stop.

    A present slot knows the earlier tasks of its place as leaving: it waits for them as for its own.
    """
    present: dict[_Place, list[Task]] = {}
    past: dict[_Place, list[Task]] = {}
    for task in case.view.tasks.of_service(case.service.id):
        place = (task.slot, "" if task.slot else task.node_id)
        counts = task.job_iteration == case.iteration and task.desired_state < TaskState.REMOVE
        (present if counts else past).setdefault(place, []).append(task)
    for task in (task for tasks in past.values() for task in tasks):
        _retire(case, task)
    slots = {place: Slot(tasks) for place, tasks in sorted(present.items())}
    for place, slot in slots.items():
        slot.leaving += past.get(place, [])
    return slots, {place: Slot(tasks) for place, tasks in past.items()}


def _retire(case: Case, task: Task) -> None:
    """Stop a task of before; let its record go when its execution is longer past than the schedule keeps."""
    kept = extensions.of(case.service).schedule_history
    if kept and task.job_iteration and case.iteration and case.iteration.index - task.job_iteration.index > kept:
        case.discard(task)
    else:
        case.stop(task)


def _look_after(case: Case, slot: Slot) -> None:
    """Look after a slot; on a drained node its task stops and starts anew elsewhere: two must not do one thing."""
    if settle(case, slot) is not Phase.DRAINING:
        return
    task = slot.live[0]
    if restart.movable(task):
        case.replace(slot, task, restart.moved(task))
    else:
        case.stop(task)


def _begin(case: Case, number: int, node_id: str, earlier: Slot | None) -> None:
    if earlier is None:
        case.create(number, node_id, restart=RestartRecord())
    else:
        case.succeed(earlier, RestartRecord())


def _discard(case: Case, slot: Slot | None) -> None:
    tasks: Iterable[Task] = slot.tasks if slot is not None else ()
    for task in tasks:
        case.discard(task)
