"""Jobs: tasks that are to complete, so many in all or one on each node, once an iteration.

The rules are SwarmKit's (`orchestrator/jobs`). An iteration is one execution of the job; the API begins another when
the job is changed or forced, and a schedule when it is due. Tasks carry the iteration they belong to. What is left of
an earlier one stops, unless executions may run beside each other, and its records are history.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec

from common.model import Node, Task, TaskState
from common.model.meta import Version
from common.model.service import ReplicatedJob
from common.model.task import RestartRecord
from manager.orchestrate import restart
from manager.orchestrate.case import Case
from manager.orchestrate.slots import Slot
from manager.orchestrate.standing import Standing, standing
from manager.orchestrate.upkeep import Phase, settle, successor
from manager.state import executions, extensions
from manager.state.constraints import unmet

# A slot's number, or 0 and a node's id.
_Place: TypeAlias = tuple[int, str]
_Slots: TypeAlias = Mapping[_Place, Slot]


def decide(case: Case) -> None:
    """Look after a job's executions: those that go on beside the present one until they are through, and that."""
    status, present = case.service.job_status, case.iteration
    tasks = _by_execution(case)
    newest = present.index if present is not None else None
    alive = {newest, *executions.beside(case.service)}
    past = [task for index, each in tasks.items() if index not in alive for task in each]
    _retire(case, past)
    going = []
    for index in executions.beside(case.service):
        case.iteration = Version(index=index)
        if _execute(case, tasks.get(index, [])):
            going.append(index)
    case.iteration = present
    _execute(case, [*past, *tasks.get(newest, [])])
    if status is not None and status.beside != tuple(going):
        status = msgspec.structs.replace(status, beside=tuple(going))
        case.update(msgspec.structs.replace(case.service, job_status=status))


def _by_execution(case: Case) -> dict[int | None, list[Task]]:
    groups: dict[int | None, list[Task]] = {}
    for task in case.view.tasks.of_service(case.service.id):
        groups.setdefault(task.job_iteration.index if task.job_iteration is not None else None, []).append(task)
    return groups


def _execute(case: Case, tasks: Sequence[Task]) -> bool:
    """Look after one execution, of which these are the tasks; return whether it goes on, as some are yet to end.

    One that goes on beside another does not wait for nodes that are lost or drained.
    """
    slots, earlier = _sort_out(case, tasks)
    job = case.service.spec.mode.replicated_job
    return _replicated(case, job, slots, earlier) if job is not None else _global(case, slots, earlier)


def _replicated(case: Case, job: ReplicatedJob, slots: _Slots, earlier: _Slots) -> bool:
    """Bring the job to its completions, at most `max_concurrent` slots at a time.

    A slot that its restart policy gives up is not filled again: the job then stays short of its completions.
    """
    wanted = job.total
    busy = 0
    for (number, _), slot in (*slots.items(), *_beyond(earlier, wanted)):
        if case.draft.full:
            case.continue_at_once()
            return True
        if number > wanted:
            case.give_up(slot)
            continue
        busy += bool(slot.live) or successor(case, slot) is not None
        _look_after(case, slot)
    free = [number for number in range(1, wanted + 1) if (number, "") not in slots][: max(0, job.at_once - busy)]
    for number in free:
        if case.draft.full:
            case.continue_at_once()
            return True
        _begin(case, number, "", earlier.get((number, "")))
    return bool(busy or free)


def _beyond(slots: _Slots, total: int) -> list[tuple[_Place, Slot]]:
    """Return the slots that there will be no more, so that their history goes too."""
    return [(place, slot) for place, slot in slots.items() if place[0] > total]


def _global(case: Case, slots: _Slots, earlier: _Slots) -> bool:
    """Let each eligible node complete one task; a node that joins during the iteration is among them."""
    left = dict(slots)
    going = False
    for node in case.view.nodes:
        if case.draft.full:
            case.continue_at_once()
            return True
        slot = left.pop((0, node.id), None)
        if unmet(case.recipe.placement, node):
            case.give_up(slot)
        else:
            going = _on_node(case, node, slot, earlier) or going
    for slot in left.values():
        case.give_up(slot)
    return going


def _on_node(case: Case, node: Node, slot: Slot | None, earlier: _Slots) -> bool:
    """Do what a node's slot needs; return whether a task of it is yet to end there."""
    stands = standing(node)
    if stands in (Standing.DRAINED, Standing.LOST):
        for task in slot.tasks if slot is not None else ():
            case.stop(task)
        return False
    if slot is not None and slot.tasks:
        going = bool(slot.live) or successor(case, slot) is not None
        if (stands is Standing.OPEN or slot.live) and settle(case, slot) is Phase.DIRTY:
            _renew(case, slot)
        return going
    if stands is Standing.OPEN:
        _begin(case, 0, node.id, earlier.get((0, node.id)))
        return True
    return False


def _retire(case: Case, past: Sequence[Task]) -> None:
    """Stop what is left of executions that are over; let the records of more than the schedule keeps go."""
    kept = extensions.of(case.service).schedule_history
    over = sorted({task.job_iteration.index for task in past if task.job_iteration}, reverse=True)
    gone = frozenset(over[kept:] if kept else ())
    for task in past:
        if task.job_iteration is not None and task.job_iteration.index in gone:
            case.discard(task)
        else:
            case.stop(task)


def _sort_out(case: Case, tasks: Sequence[Task]) -> tuple[_Slots, _Slots]:
    """Return the slots of the execution that is looked after, and those of earlier tasks.

    A present slot knows the earlier tasks of its place as leaving: it waits for them as for its own.
    """
    present: dict[_Place, list[Task]] = {}
    earlier: dict[_Place, list[Task]] = {}
    for task in tasks:
        counts = task.job_iteration == case.iteration and task.desired_state < TaskState.REMOVE
        (present if counts else earlier).setdefault(_place(task), []).append(task)
    slots = {place: Slot(each) for place, each in sorted(present.items())}
    for place, slot in slots.items():
        slot.leaving += earlier.get(place, [])
    return slots, {place: Slot(each) for place, each in earlier.items()}


def _renew(case: Case, slot: Slot) -> None:
    """Give a task that runs other secrets and configs, where that is all that it lacks; else it goes on as it is."""
    for task in slot.live:
        if not case.told_to_stop(task) and case.renewable(task):
            case.renew(task)


def _place(task: Task) -> _Place:
    return task.slot, "" if task.slot else task.node_id


def _look_after(case: Case, slot: Slot) -> None:
    """Look after a slot; on a drained node its task stops and starts anew elsewhere: two must not do one thing."""
    phase = settle(case, slot)
    if phase is Phase.DIRTY:
        _renew(case, slot)
    if phase is not Phase.DRAINING:
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
