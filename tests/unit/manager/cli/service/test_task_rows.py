"""Tasks in a table: history under the newest of a slot, and a job's executions apart."""

from common.model import Task, TaskState, TaskStatus
from common.model.naming import Version
from manager.cli.service.task_rows import EXECUTIONS, TASKS, Names, rows
from tests.fakes.world import replace

NAMES = Names({"s": "job"}, {})


def task(number: int, slot: int, iteration: int | None) -> Task:
    execution = None if iteration is None else Version(index=iteration)
    return Task(id=f"t{number}", service_id="s", slot=slot, created_at=float(number), job_iteration=execution)


def test_a_slots_newest_task_is_first_and_older_ones_below() -> None:
    made = rows([task(1, 1, None), task(2, 1, None), task(3, 2, None)], NAMES, 10.0)
    assert [(row["ID"], row["Name"]) for row in made] == [("t2", "job.1"), ("t1", " \\_ job.1"), ("t3", "job.2")]
    assert "Execution" not in made[0]
    assert "EXECUTION" not in TASKS.render(made)


def test_each_execution_of_a_job_has_its_own_slots() -> None:
    made = rows([task(1, 1, 0), task(2, 1, 1), task(3, 1, 0)], NAMES, 10.0)
    assert [(row["ID"], row["Name"], row["Execution"]) for row in made] == [
        ("t2", "job.1", 2),
        ("t3", "job.1", 1),
        ("t1", " \\_ job.1", 1),
    ]
    assert EXECUTIONS.render(made).splitlines()[0].split()[:3] == ["ID", "NAME", "EXECUTION"]


def test_why_a_task_has_not_run_is_not_cut_as_docker_does() -> None:
    why = "no suitable node (scheduling constraints not satisfied on 3 nodes: node.labels.disk==ssd)"
    waits = TaskStatus(state=TaskState.PENDING, err=why)
    failed = TaskStatus(state=TaskState.FAILED, err=why)
    rejected = TaskStatus(state=TaskState.REJECTED, err=why)
    statuses = (waits, failed, rejected)
    made = rows([replace(task(n, n, None), status=each) for n, each in enumerate(statuses)], NAMES, 10.0)
    assert [row["Error"] for row in made] == [f'"{why}"', '"no suitable node (scheduling …"', f'"{why}"']
