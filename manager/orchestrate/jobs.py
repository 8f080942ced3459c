"""Jobs: tasks that are to complete, a number in all or one on each node, once per iteration.

The rules are SwarmKit's (`orchestrator/jobs`). An iteration is one execution of the job; the API starts another when
the job is changed or forced, and a schedule when it is due. Tasks have the iteration that they belong to. Tasks of an
earlier one are stopped, unless executions may run beside each other, and their records are history.

Each due time of a schedule starts one execution or is skipped; the last one decided is in the store. Of the due times
that were missed while the manager was away, the last is made up for if its start deadline allows.
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
from manager.domain import executions
from manager.orchestrate.node_availability import NodeAvailability, availability_of
from manager.orchestrate.reconcile import restart
from manager.orchestrate.reconcile.service_context import ServiceContext
from manager.orchestrate.reconcile.slot_reconciler import Phase, reconcile_slot, successor
from manager.orchestrate.reconcile.slots import Slot

# A slot's number, or 0 and a node's id.
_Place: TypeAlias = tuple[int, str]
_Slots: TypeAlias = Mapping[_Place, Slot]


def decide(context: ServiceContext) -> None:
    """Reconcile a job's executions: the present one, and earlier ones that go on beside it until they have ended."""
    status, present = context.service.job_status, context.iteration
    tasks = _by_execution(context)
    newest = present.index if present is not None else None
    alive = {newest, *executions.earlier_executions(context.service)}
    past = [task for index, each in tasks.items() if index not in alive for task in each]
    _end_past_executions(context, past)
    going = []
    for index in executions.earlier_executions(context.service):
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
    """Reconcile one execution, whose tasks these are; return whether it goes on, as some have not ended.

    An earlier one does not wait for nodes that are lost or drained.
    """
    slots, earlier = _divide_slots(context, tasks)
    job = context.service.spec.mode.replicated_job
    if job is not None:
        return _reconcile_replicated_job(context, job, slots, earlier)
    return _reconcile_global_job(context, slots, earlier)


def _reconcile_replicated_job(context: ServiceContext, job: ReplicatedJob, slots: _Slots, earlier: _Slots) -> bool:
    """Bring the job to its completions, at most `max_concurrent` slots at a time.

    A slot that its restart policy gives up is not filled again: the job then stays short of its completions.
    """
    wanted = job.total
    busy = 0
    for (number, _), slot in (*slots.items(), *_surplus_slots(earlier, wanted)):
        if context.draft.full:
            context.continue_at_once()
            return True
        if number > wanted:
            context.discard_slot(slot)
            continue
        busy += bool(slot.live) or successor(context, slot) is not None
        _reconcile_slot(context, slot)
    free = [number for number in range(1, wanted + 1) if (number, "") not in slots][: max(0, job.at_once - busy)]
    for number in free:
        if context.draft.full:
            context.continue_at_once()
            return True
        _start_slot(context, number, "", earlier.get((number, "")))
    return bool(busy or free)


def _surplus_slots(slots: _Slots, total: int) -> list[tuple[_Place, Slot]]:
    """Return the slots beyond the total, whose history is removed, too."""
    return [(place, slot) for place, slot in slots.items() if place[0] > total]


def _reconcile_global_job(context: ServiceContext, slots: _Slots, earlier: _Slots) -> bool:
    """Let each eligible node complete one task; a node that joins during the iteration is among them."""
    left = dict(slots)
    going = False
    for node in context.view.nodes:
        if context.draft.full:
            context.continue_at_once()
            return True
        slot = left.pop((0, node.id), None)
        if unmet(context.task_spec.placement, node):
            context.discard_slot(slot)
        else:
            going = _reconcile_node(context, node, slot, earlier) or going
    for slot in left.values():
        context.discard_slot(slot)
    return going


def _reconcile_node(context: ServiceContext, node: Node, slot: Slot | None, earlier: _Slots) -> bool:
    """Reconcile a node's slot; return whether a task of it has not ended there."""
    availability = availability_of(node)
    if availability in (NodeAvailability.DRAINED, NodeAvailability.LOST):
        for task in slot.tasks if slot is not None else ():
            context.stop(task)
        return False
    if slot is not None and slot.tasks:
        going = bool(slot.live) or successor(context, slot) is not None
        if (availability is NodeAvailability.OPEN or slot.live) and reconcile_slot(context, slot) is Phase.DIRTY:
            _renew(context, slot)
        return going
    if availability is NodeAvailability.OPEN:
        _start_slot(context, 0, node.id, earlier.get((0, node.id)))
        return True
    return False


def _end_past_executions(context: ServiceContext, past: Sequence[Task]) -> None:
    """Stop the tasks of executions that are over; discard the records of those beyond the schedule's history."""
    kept = extensions.of(context.service).schedule_history
    over = sorted({task.job_iteration.index for task in past if task.job_iteration}, reverse=True)
    gone = frozenset(over[kept:] if kept else ())
    for task in past:
        if task.job_iteration is not None and task.job_iteration.index in gone:
            context.discard(task)
        else:
            context.stop(task)


def _divide_slots(context: ServiceContext, tasks: Sequence[Task]) -> tuple[_Slots, _Slots]:
    """Return the slots of the execution that is being reconciled, and those of earlier tasks.

    A present slot has the earlier tasks of its place as leaving: it waits for them as for its own.
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
    """Give a running task its new secrets and configs if nothing else differs; otherwise it goes on as it is."""
    for task in slot.live:
        if not context.was_told_to_stop(task) and context.renewable(task):
            context.renew(task)


def _place(task: Task) -> _Place:
    return task.slot, "" if task.slot else task.node_id


def _reconcile_slot(context: ServiceContext, slot: Slot) -> None:
    """Reconcile a slot; on a drained node its task stops before the next one starts: two must not do the same work."""
    phase = reconcile_slot(context, slot)
    if phase is Phase.DIRTY:
        _renew(context, slot)
    if phase is not Phase.DRAINING:
        return
    task = slot.live[0]
    if restart.is_movable(task):
        context.replace(slot, task, restart.moved_record(task))
    else:
        context.stop(task)


def _start_slot(context: ServiceContext, number: int, node_id: str, earlier: Slot | None) -> None:
    if earlier is None:
        context.create(number, node_id, restart=RestartRecord())
    else:
        context.create_successor(earlier, RestartRecord())


# --- schedules ---


def begin_due_execution(context: ServiceContext) -> bool:
    """Start an execution that is due; return whether the job has any to reconcile."""
    options = extensions.of(context.service)
    if not options.schedule:
        return True
    status = context.service.schedule_status or ScheduleStatus(last_at=context.now)
    due = cron.latest(options.schedule, options.schedule_timezone, status.last_at, context.now)
    upcoming = cron.following(options.schedule, options.schedule_timezone, context.now)
    if due is not None:
        _begin_execution(context, options, due)
        status = ScheduleStatus(last_at=due)
    status = msgspec.structs.replace(status, next_at=upcoming)
    if status != context.service.schedule_status:
        context.update(msgspec.structs.replace(context.service, schedule_status=status))
    context.wake(upcoming)
    job = context.service.job_status
    return job is not None and job.last_execution > 0


def _begin_execution(context: ServiceContext, options: Extensions, due: float) -> None:
    """Start another iteration, unless it is too late or the one before has not ended and may not be replaced."""
    late = context.now - due
    if options.schedule_deadline and late > options.schedule_deadline:
        context.reason(f"a scheduled execution is skipped: it is {late:.0f} s late")
        return
    if options.schedule_concurrency == "forbid" and _has_unfinished_tasks(context):
        context.reason("a scheduled execution is skipped: the previous one is still running")
        return
    if len(executions.earlier_executions(context.service)) >= executions.MOST_BESIDE:
        context.reason(f"a scheduled execution is skipped: {executions.MOST_BESIDE} earlier ones are still running")
        return
    status = executions.next_job_status(context.service, context.now)
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
