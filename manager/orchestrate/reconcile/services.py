"""Decides services, whatever their mode, and takes down those that are being removed."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import msgspec

from common.model import Service, Task, TaskState
from manager.orchestrate import dependencies, jobs
from manager.orchestrate import jobs as schedules
from manager.orchestrate.node_availability import NodeAvailabilities
from manager.orchestrate.reconcile import replicated
from manager.orchestrate.reconcile.service_context import Draft, ServiceContext
from manager.store.changes import Decision
from manager.store.view import View

if TYPE_CHECKING:
    from random import Random

# Tasks that one decision looks at, but for those of a single service: what keeps a transaction short.
MAX_TASKS = 5_000


def decide(view: View, keys: Collection[str], now: float, rng: Random) -> Decision:
    """Decide the services whose ids are `keys`: in proportion to their tasks, and to the nodes for global ones."""
    draft = Draft()
    looked_at = 0
    for service_id in keys:
        if draft.full or looked_at > MAX_TASKS:
            draft.wake(service_id, now)
            continue
        looked_at += len(view.tasks.of_service(service_id))
        service = view.services.get(service_id)
        if service is None or service.pending_delete:
            _take_down(view, service_id, service, draft, now)
        else:
            _decide_mode(ServiceContext(service, view, now, rng, draft))
    return draft.decision()


def _decide_mode(context: ServiceContext) -> None:
    """Hand a service to its mode."""
    ready = dependencies.decidable_part(context)
    if ready is None:
        return
    context, mode = ready, ready.service.spec.mode
    if mode.global_ is not None:
        replicated.decide_global(context)
    elif mode.is_job:
        if schedules.fire(context):
            jobs.decide(context)
    else:
        replicated.decide(context)


def _take_down(view: View, service_id: str, service: Service | None, draft: Draft, now: float) -> None:
    """Tell all tasks of a service to go, and let its record go with the last that can be heard of.

    A task on a node that is down keeps neither the service nor its name: it is told when its node is back.
    """
    availabilities = NodeAvailabilities(view)
    tasks = view.tasks.of_service(service_id)
    if not discard_all(tasks, draft):
        draft.wake(service_id, now)
    if service is not None and all(availabilities.lost(task) for task in tasks):
        draft.reason(f"{service.spec.name}: removed")
        draft.remove(service)
        if (login := view.registry_logins.get(service_id)) is not None:
            draft.remove(login)


def discard_all(tasks: Iterable[Task], draft: Draft) -> bool:
    """Tell tasks to stop and their records to go, as far as the draft has room; return whether that was all."""
    for task in tasks:
        if task.desired_state >= TaskState.REMOVE:
            continue
        if draft.full:
            return False
        draft.put(msgspec.structs.replace(task, desired_state=TaskState.REMOVE))
    return True
