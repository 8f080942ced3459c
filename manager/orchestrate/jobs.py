"""Jobs: tasks that are to complete, so many in all or one on each node, once an iteration.

The rules are SwarmKit's (`orchestrator/jobs`). An iteration is one execution of the job; the API begins another when
the job is changed or forced, and a schedule when it is due. Tasks carry the iteration they belong to. What is left of
an earlier one stops, unless executions may run beside each other, and its records are history.

Each due time of a schedule begins one execution, or is passed over; what was decided last is in the store. A due time
that was missed, as the manager was away, is made up for if its start deadline allows; of several the last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec

from common.model import Node, Task, TaskState
from common.model.naming import Version
from common.model.service import ReplicatedJob, ScheduleStatus
from common.model.task import RestartRecord
from common.spec import cron, extensions
from common.spec.constraints import unmet
from common.spec.extensions import Extensions
from manager.domain import revisions
from manager.orchestrate.node_availability import NodeAvailability, availability_of
from manager.orchestrate.reconcile import restart
from manager.orchestrate.reconcile.service_context import ServiceContext
from manager.orchestrate.reconcile.slot_reconciler import Phase, settle, successor
from manager.orchestrate.reconcile.slots import Slot

# A slot's number, or 0 and a node's id.
_Place: TypeAlias = tuple[int, str]
_Slots: TypeAlias = Mapping[_Place, Slot]


def decide(context: ServiceContext) -> None:
    """Look after a job's executions: those that go on beside the present one until they are through, and that."""
    status, present = context.service.job_status, context.iteration
    tasks = _by_execution(context)
    newest = present.index if present is not None else None
    alive = {newest, *revisions.beside(context.service)}
    past = [task for index, each in tasks.items() if index not in alive for task in each]
    _retire(context, past)
    going = []
    for index in revisions.beside(context.service):
        context.iteration = Version(index=index)
        if _execute(context, tasks.get(index, [])):
            going.append(index)
    context.iteration = present
    _execute(context, [*past, *tasks.get(newest, [])])
    if status is not None and status.beside != tuple(going):
        status = msgspec.structs.replace(status, beside=tuple(going))
        context.update(msgspec.structs.replace(context.service, job_status=status))


def _by_execution(context: ServiceContext) -> dict[int | None, list[Task]]:
    groups: dict[int | None, list[Task]] = {}
    for task in context.view.tasks.of_service(context.service.id):
        groups.setdefault(task.job_iteration.index if task.job_iteration is not None else None, []).append(task)
    return groups


def _execute(context: ServiceContext, tasks: Sequence[Task]) -> bool:
    """Look after one execution, of which these are the tasks; return whether it goes on, as some are yet to end.

    One that goes on beside another does not wait for nodes that are lost or drained.
    """
    slots, earlier = _sort_out(context, tasks)
    job = context.service.spec.mode.replicated_job
    return (
        _reconcile_replicated_job(context, job, slots, earlier) if job is not None else _global(context, slots, earlier)
    )


def _reconcile_replicated_job(context: ServiceContext, job: ReplicatedJob, slots: _Slots, earlier: _Slots) -> bool:
    """Bring the job to its completions, at most `max_concurrent` slots at a time.

    A slot that its restart policy gives up is not filled again: the job then stays short of its completions.
    """
    wanted = job.total
    busy = 0
    for (number, _), slot in (*slots.items(), *_beyond(earlier, wanted)):
        if context.draft.full:
            context.continue_at_once()
            return True
        if number > wanted:
            context.give_up(slot)
            continue
        busy += bool(slot.live) or successor(context, slot) is not None
        _look_after(context, slot)
    free = [number for number in range(1, wanted + 1) if (number, "") not in slots][: max(0, job.at_once - busy)]
    for number in free:
        if context.draft.full:
            context.continue_at_once()
            return True
        _begin(context, number, "", earlier.get((number, "")))
    return bool(busy or free)


def _beyond(slots: _Slots, total: int) -> list[tuple[_Place, Slot]]:
    """Return the slots that there will be no more, so that their history goes too."""
    return [(place, slot) for place, slot in slots.items() if place[0] > total]


def _global(context: ServiceContext, slots: _Slots, earlier: _Slots) -> bool:
    """Let each eligible node complete one task; a node that joins during the iteration is among them."""
    left = dict(slots)
    going = False
    for node in context.view.nodes:
        if context.draft.full:
            context.continue_at_once()
            return True
        slot = left.pop((0, node.id), None)
        if unmet(context.recipe.placement, node):
            context.give_up(slot)
        else:
            going = _on_node(context, node, slot, earlier) or going
    for slot in left.values():
        context.give_up(slot)
    return going


def _on_node(context: ServiceContext, node: Node, slot: Slot | None, earlier: _Slots) -> bool:
    """Do what a node's slot needs; return whether a task of it is yet to end there."""
    availability = availability_of(node)
    if availability in (NodeAvailability.DRAINED, NodeAvailability.LOST):
        for task in slot.tasks if slot is not None else ():
            context.stop(task)
        return False
    if slot is not None and slot.tasks:
        going = bool(slot.live) or successor(context, slot) is not None
        if (availability is NodeAvailability.OPEN or slot.live) and settle(context, slot) is Phase.DIRTY:
            _renew(context, slot)
        return going
    if availability is NodeAvailability.OPEN:
        _begin(context, 0, node.id, earlier.get((0, node.id)))
        return True
    return False


def _retire(context: ServiceContext, past: Sequence[Task]) -> None:
    """Stop what is left of executions that are over; let the records of more than the schedule keeps go."""
    kept = extensions.of(context.service).schedule_history
    over = sorted({task.job_iteration.index for task in past if task.job_iteration}, reverse=True)
    gone = frozenset(over[kept:] if kept else ())
    for task in past:
        if task.job_iteration is not None and task.job_iteration.index in gone:
            context.discard(task)
        else:
            context.stop(task)


def _sort_out(context: ServiceContext, tasks: Sequence[Task]) -> tuple[_Slots, _Slots]:
    """Return the slots of the execution that is looked after, and those of earlier tasks.

    A present slot knows the earlier tasks of its place as leaving: it waits for them as for its own.
    """
    present: dict[_Place, list[Task]] = {}
    earlier: dict[_Place, list[Task]] = {}
    for task in tasks:
        counts = task.job_iteration == context.iteration and task.desired_state < TaskState.REMOVE
        (present if counts else earlier).setdefault(_place(task), []).append(task)
    slots = {place: Slot(each) for place, each in sorted(present.items())}
    for place, slot in slots.items():
        slot.leaving += earlier.get(place, [])
    return slots, {place: Slot(each) for place, each in earlier.items()}


def _renew(context: ServiceContext, slot: Slot) -> None:
    """Give a task that runs other secrets and configs, where that is all that it lacks; else it goes on as it is."""
    for task in slot.live:
        if not context.told_to_stop(task) and context.renewable(task):
            context.renew(task)


def _place(task: Task) -> _Place:
    return task.slot, "" if task.slot else task.node_id


def _look_after(context: ServiceContext, slot: Slot) -> None:
    """Look after a slot; on a drained node its task stops and starts anew elsewhere: two must not do one thing."""
    phase = settle(context, slot)
    if phase is Phase.DIRTY:
        _renew(context, slot)
    if phase is not Phase.DRAINING:
        return
    task = slot.live[0]
    if restart.movable(task):
        context.replace(slot, task, restart.moved_record(task))
    else:
        context.stop(task)


def _begin(context: ServiceContext, number: int, node_id: str, earlier: Slot | None) -> None:
    if earlier is None:
        context.create(number, node_id, restart=RestartRecord())
    else:
        context.succeed(earlier, RestartRecord())


# --- schedules ---


def fire(context: ServiceContext) -> bool:
    """Begin an execution that is due; return whether the job has any to be looked after."""
    said = extensions.of(context.service)
    if not said.schedule:
        return True
    status = context.service.schedule_status or ScheduleStatus(last_at=context.now)
    due = cron.latest(said.schedule, said.schedule_timezone, status.last_at, context.now)
    upcoming = cron.following(said.schedule, said.schedule_timezone, context.now)
    if due is not None:
        _begin_run(context, said, due)
        status = ScheduleStatus(last_at=due)
    status = msgspec.structs.replace(status, next_at=upcoming)
    if status != context.service.schedule_status:
        context.update(msgspec.structs.replace(context.service, schedule_status=status))
    context.wake(upcoming)
    job = context.service.job_status
    return job is not None and job.last_execution > 0


def _begin_run(context: ServiceContext, said: Extensions, due: float) -> None:
    """Begin another iteration, unless it is too late or the one before is not through and may not be replaced."""
    late = context.now - due
    if said.schedule_deadline and late > said.schedule_deadline:
        context.reason(f"a scheduled execution is skipped: it is {late:.0f} s late")
        return
    if said.schedule_concurrency == "forbid" and _has_unfinished_tasks(context):
        context.reason("a scheduled execution is skipped: the previous one is still running")
        return
    if len(revisions.beside(context.service)) >= revisions.MOST_BESIDE:
        context.reason(f"a scheduled execution is passed over: {revisions.MOST_BESIDE} earlier ones are still running")
        return
    status = revisions.begun(context.service, context.now)
    context.update(msgspec.structs.replace(context.service, job_status=status))
    context.iteration = status.job_iteration
    context.reason(f"scheduled execution {status.job_iteration.index}")


def _has_unfinished_tasks(context: ServiceContext) -> bool:
    status = context.service.job_status
    if status is None or not status.last_execution:
        return False
    tasks = [
        task for task in context.view.tasks.of_service(context.service.id) if task.job_iteration == context.iteration
    ]
    if any(task.live for task in tasks):
        return True
    job = context.service.spec.mode.replicated_job
    begun = {task.slot for task in tasks if task.desired_state < TaskState.REMOVE}
    return job is not None and len(begun) < job.total
