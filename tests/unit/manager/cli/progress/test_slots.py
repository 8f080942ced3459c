"""A service's slots as a wait sees them."""

from common.model import Service, Task, TaskState, TaskStatus
from common.model.naming import Version
from common.model.service import Global, JobStatus, Replicated, ReplicatedJob, ServiceMode, ServiceSpec
from manager.cli.progress.slots import number_slots, slots_of, trouble_of

REPLICATED = ServiceMode(replicated=Replicated(replicas=2))


def service(mode: ServiceMode = REPLICATED, job: JobStatus | None = None) -> Service:
    return Service(id="s", spec=ServiceSpec(name="web", mode=mode), job_status=job)


def task(
    task_id: str,
    state: TaskState,
    slot: int = 1,
    *,
    desired: TaskState = TaskState.RUNNING,
    err: str = "",
    at: float = 0.0,
    node: str = "n1",
    iteration: Version | None = None,
) -> Task:
    return Task(
        id=task_id,
        slot=slot,
        node_id=node,
        status=TaskStatus(state=state, err=err),
        desired_state=desired,
        created_at=at,
        job_iteration=iteration,
    )


def test_the_least_advanced_living_task_is_current() -> None:
    old = task("old", TaskState.RUNNING)
    new = task("new", TaskState.PREPARING, at=5.0)
    (slot,) = slots_of(service(), [old, new], ()).values()
    assert slot.current == new
    assert not slot.done


def test_a_slot_says_why_its_last_task_ended_until_one_runs() -> None:
    failed = task("a", TaskState.FAILED, err="exit 1", desired=TaskState.SHUTDOWN)
    waiting = task("b", TaskState.PREPARING, at=5.0)
    (slot,) = slots_of(service(), [failed, waiting], ()).values()
    assert slot.line.trouble == "exit 1"
    assert [each.id for each in slot.failures(())] == ["a"]
    assert slot.failures({"a"}) == []
    (slot,) = slots_of(service(), [failed, task("b", TaskState.RUNNING, at=5.0)], ()).values()
    assert (slot.done, slot.line.trouble) == (True, "")


def test_what_runs_on_a_node_that_is_down_does_not_count() -> None:
    assert not slots_of(service(), [task("a", TaskState.RUNNING)], {"n1"})


def test_slots_that_a_scale_down_left_are_not_shown() -> None:
    tasks = [task(f"t{slot}", TaskState.RUNNING, slot) for slot in (1, 2)]
    ended = task("t3", TaskState.FAILED, 3, desired=TaskState.SHUTDOWN)
    assert [key[0] for key in slots_of(service(), [*tasks, ended], ())] == [1, 2]


def test_slots_are_numbered_from_one_and_no_more_than_wanted() -> None:
    found = slots_of(service(), [task(f"t{slot}", TaskState.RUNNING, slot) for slot in (3, 5, 9)], ())
    assert [line.label for line in number_slots(service(), found, 2)] == ["1", "2"]


def test_a_global_services_slots_are_nodes() -> None:
    everywhere = service(ServiceMode(global_=Global()))
    node = "node0123456789abcdef"
    found = slots_of(everywhere, [task("a", TaskState.RUNNING, 0, node=node)], ())
    assert [line.label for line in number_slots(everywhere, found, 9)] == [node[:12]]


def test_only_a_jobs_present_iteration_counts() -> None:
    status = JobStatus(job_iteration=Version(index=2))
    job = service(ServiceMode(replicated_job=ReplicatedJob()), status)
    old = task("a", TaskState.COMPLETE, desired=TaskState.COMPLETE, iteration=Version(index=1))
    new = task("b", TaskState.COMPLETE, 2, desired=TaskState.COMPLETE, iteration=Version(index=2))
    (slot,) = slots_of(job, [old, new], ()).values()
    assert (slot.current.id, slot.done) == ("b", True)


def test_a_failure_without_words_is_one() -> None:
    assert trouble_of(task("a", TaskState.FAILED)) == "the task failed"
    assert trouble_of(task("a", TaskState.RUNNING)) == ""
