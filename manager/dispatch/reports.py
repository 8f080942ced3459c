"""What workers say of their tasks, applied to the store: only their own tasks, and states only forward."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from common.model.task import TaskState, TaskStatus
from common.wire.messages import TaskReport
from manager.state.observation import observe
from manager.state.transaction import Transaction

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NodeReports:
    """The reports of one `StatusReport`, and the node whose certificate they came under."""

    node_id: str
    tasks: tuple[TaskReport, ...]


def apply_reports(tx: Transaction, batch: Sequence[NodeReports]) -> None:
    """Write the reports that may be written; the others change nothing and are logged."""
    for reports in batch:
        foreign = []
        for report in reports.tasks:
            task = tx.tasks.get(report.task_id)
            if task is None:
                continue  # its record went while the report was on its way
            if task.node_id != reports.node_id:
                foreign.append(report.task_id)
                continue
            changed = observe(task, report.status, tx.now) if _is_workers(report.status) else None
            if changed is not None:
                tx.put(changed)
        if foreign:
            _log.warning(
                "node %s reported on %d tasks that are not its own, the first %s: ignored",
                reports.node_id,
                len(foreign),
                foreign[0],
            )


def _is_workers(status: TaskStatus) -> bool:
    """Whether a worker may say this: from accepted to rejected; remove and orphaned are the manager's words."""
    return TaskState.ASSIGNED < status.state <= TaskState.REJECTED
