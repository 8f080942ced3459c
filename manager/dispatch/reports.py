"""What workers say of their tasks, applied to the store: states only forward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from common.wire.messages import TaskReport
from manager.state.observation import observe
from manager.state.transaction import Transaction


@dataclass(frozen=True, slots=True)
class NodeReports:
    """What may be believed of one `StatusReport` (`manager.dispatch.intake`), and the node that said it."""

    node_id: str
    tasks: tuple[TaskReport, ...]


def apply_reports(tx: Transaction, batch: Sequence[NodeReports]) -> None:
    """Write the reports that are news."""
    for reports in batch:
        for report in reports.tasks:
            task = tx.tasks.get(report.task_id)
            if task is None or task.node_id != reports.node_id:
                continue  # its record went while the report was on its way
            changed = observe(task, report.status, tx.now)
            if changed is not None:
                tx.put(changed)
