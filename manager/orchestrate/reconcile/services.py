"""Decides services of any mode, and removes those that are pending deletion."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import msgspec

from common.model import Service, Task, TaskState
from manager.orchestrate import dependencies, jobs
from manager.orchestrate.node_availability import NodeAvailabilities
from manager.orchestrate.reconcile import modes
from manager.orchestrate.reconcile.service_context import ServiceContext
from manager.store.changes import Decision, Draft
from manager.store.view import View

if TYPE_CHECKING:
    from random import Random

# Tasks that one decision looks at, unless a single service has more: this keeps a transaction short.
MAX_TASKS = 5_000


def decide(view: View, keys: Collection[str], now: float, rng: Random) -> Decision:
    """Decide the services whose ids are `keys`. The cost grows with their tasks, and with the nodes for global ones."""
    draft = Draft()
    looked_at = 0
    for service_id in keys:
        if draft.full or looked_at > MAX_TASKS:
            draft.wake(service_id, now)
            continue
        looked_at += len(view.tasks.of_service(service_id))
        service = view.services.get(service_id)
        if service is None or service.pending_delete:
            _remove_service(view, service_id, service, draft, now)
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
        modes.decide_global(context)
    elif mode.is_job:
        if jobs.begin_due_execution(context):
            jobs.decide(context)
    else:
        modes.decide_replicated(context)


def _remove_service(view: View, service_id: str, service: Service | None, draft: Draft, now: float) -> None:
    """Discard all tasks of a service, and remove its record with the last of them that is on a live node.

    A task on a node that is down holds up neither the service nor its name: it is told to stop when its node is back.
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
    """Discard tasks as far as the draft has room; return whether that was all."""
    for task in tasks:
        if task.desired_state >= TaskState.REMOVE:
            continue
        if draft.full:
            return False
        draft.put(msgspec.structs.replace(task, desired_state=TaskState.REMOVE))
    return True
