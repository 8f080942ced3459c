"""Intake: what it costs the manager to look at what workers say, a status at a time, beside what writing it costs.

Statuses are as workers say them: on the way up, and running in a network and the routing mesh with a host port. Nothing
is stored on disk. One process, one core.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from common.model import Task, TaskState, TaskStatus
from common.model.service import PortConfig
from common.model.task import ContainerStatus
from common.wire.codec import decode, encode
from common.wire.messages import MESH, MESH6, StatusReport, TaskReport
from manager.dispatch.intake.form import MessageContext
from manager.dispatch.intake.messages import validate
from manager.dispatch.reports import NodeReports, apply_reports
from manager.store.tables import Tables
from manager.store.transaction import Transaction
from tests.bench.table import print_table
from tests.fakes import validation

REPEATED = 5


def statuses() -> dict[str, TaskStatus]:
    """Return what a worker says of a task: on its way, and when it runs."""
    preparing = TaskStatus(timestamp=validation.NOW - 1, state=TaskState.PREPARING, message="preparing")
    ports = (PortConfig(target_port=80, published_port=8080, publish_mode="host"),)
    running = TaskStatus(
        timestamp=validation.NOW - 1,
        state=TaskState.RUNNING,
        message="started",
        container_status=ContainerStatus(container_id="c" * 64, pid=4711),
        addresses={
            validation.NET: validation.IN_OWN,
            MESH: validation.MESH_OWN,
            MESH6: validation.mesh6(validation.MESH_OWN),
        },
        hostname="c" * 12,
        ports=ports,
    )
    return {
        "preparing": preparing,
        "running": replace(running, addresses={}, ports=()),
        "running, in networks": running,
    }


def seconds(work: Callable[[], object]) -> float:
    """Return the least time that some work takes, of several times."""
    found = []
    for _ in range(REPEATED):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return min(found)


def measure(tables: Tables, tasks: Sequence[Task], status: TaskStatus) -> tuple[float, float, float]:
    """Return the microseconds a status that reading, looking at and writing it take."""
    report = StatusReport(tasks=tuple(TaskReport(task_id=task.id, status=status) for task in tasks))
    frame = encode(report)
    node = tables.nodes.get(validation.OWN)

    def look() -> None:
        context = MessageContext(tables, validation.NOW, node)
        assert validate(report, context) is report
        assert not context.refusals

    def write() -> None:
        apply_reports(Transaction(tables, validation.NOW), [NodeReports(validation.OWN, report.tasks)])

    times = (seconds(lambda: decode(frame)), seconds(look), seconds(write))
    each = 1e6 / len(tasks)
    return times[0] * each, times[1] * each, times[2] * each


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="intake", description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000)
    options = parser.parse_args(argv)
    tasks = [replace(validation.task("t"), id=f"task{number:021}") for number in range(options.tasks)]
    tables = validation.world(*tasks)
    rows = [(name, *measure(tables, tasks, status)) for name, status in statuses().items()]
    print_table(
        f"{options.tasks:,} tasks a report",
        ["a status", "read, µs", "looked at, µs", "written, µs"],
        rows,
        ["a status each; written: into a transaction, without the disk"],
    )
    return 0
