"""Stories of services that converge, or don't: each step is what the manager knows at an instant."""

from collections.abc import Sequence

import msgspec
import pytest

from common.clock import SECOND
from common.model import Service, Task, TaskState, TaskStatus
from common.model.container import ContainerSpec
from common.model.naming import Version
from common.model.service import (
    Global,
    JobStatus,
    Replicated,
    ReplicatedJob,
    RestartPolicy,
    ScheduleStatus,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
    UpdateConfig,
)
from common.model.update import (
    Awaited,
    AwaitsServices,
    CanaryHolds,
    Condition,
    TasksFailed,
    UpdateProgress,
    UpdateState,
    UpdateStatus,
)
from manager.cli.progress.judgement import DEADLINE, MONITOR, Progress, Verdict, WaitOptions, judge
from manager.cli.progress.view import converged_text

RUNNING, FAILED, REJECTED = TaskState.RUNNING, TaskState.FAILED, TaskState.REJECTED


def service(replicas: int = 2, *, policy: RestartPolicy | None = None, status: UpdateStatus | None = None) -> Service:
    template = TaskSpec(container_spec=ContainerSpec(image="x"), restart_policy=policy)
    mode = ServiceMode(replicated=Replicated(replicas=replicas))
    return Service(id="s", spec=ServiceSpec(name="web", task_template=template, mode=mode), update_status=status)


def task(
    slot: int, state: TaskState, *, desired: TaskState = RUNNING, number: int = 0, err: str = "", node: str = "n"
) -> Task:
    return Task(
        id=f"{slot}-{node}-{number}",
        service_id="s",
        slot=slot,
        node_id=node,
        status=TaskStatus(state=state, err=err),
        desired_state=desired,
        created_at=float(number),
    )


def failed(slot: int, number: int, state: TaskState = FAILED, err: str = "exit 3") -> Task:
    return task(slot, state, desired=TaskState.SHUTDOWN, number=number, err=err)


def story(what: Service, looks: Sequence[tuple[float, Sequence[Task]]], options: WaitOptions | None = None) -> Progress:
    seen: Progress | None = None
    for now, tasks in looks:
        seen = judge(what, tasks, now, seen, options)
    assert seen is not None
    return seen


@pytest.mark.parametrize(
    ("policy", "tasks"),
    [
        (RestartPolicy(condition="none"), [failed(1, 1)]),
        (None, [failed(1, 1, REJECTED), failed(1, 2, REJECTED)]),
    ],
)
def test_what_of_a_new_service_failed_before_it_looked_counts(
    policy: RestartPolicy | None, tasks: Sequence[Task]
) -> None:
    what = service(1, policy=policy)
    assert story(what, [(0, tasks)]).verdict is Verdict.WAITING
    assert story(what, [(0, tasks)], WaitOptions(made=frozenset({"s"}))).verdict is Verdict.FAILED


def test_a_new_service_waits_then_is_watched_then_has_converged():
    up = [task(1, RUNNING), task(2, RUNNING)]
    assert story(service(), [(0, [])]).verdict is Verdict.WAITING
    half = story(service(), [(0, []), (1, [task(1, RUNNING), task(2, TaskState.PREPARING)])])
    assert (half.verdict, half.done, half.wanted) == (Verdict.WAITING, 1, 2)
    watched = story(service(), [(0, []), (1, up), (1 + MONITOR - 0.1, up)])
    assert watched.verdict is Verdict.VERIFYING
    assert watched.wake_at == 1 + MONITOR
    assert story(service(), [(0, []), (1, up), (1 + MONITOR, up)]).verdict is Verdict.CONVERGED


def test_the_watch_begins_again_when_a_task_fails():
    up = [task(1, RUNNING), task(2, RUNNING)]
    down = [task(1, RUNNING), failed(2, 0), task(2, TaskState.READY, number=1)]
    again = [task(1, RUNNING), failed(2, 0), task(2, RUNNING, number=1)]
    looks = [(0, up), (3, down), (4, again), (MONITOR + 1, again)]
    assert story(service(), looks).verdict is Verdict.VERIFYING
    assert story(service(), [*looks, (4 + MONITOR, again)]).verdict is Verdict.CONVERGED


def test_the_monitor_of_the_update_is_how_long_it_is_watched():
    spec = msgspec.structs.replace(service(1).spec, update_config=UpdateConfig(monitor=30 * SECOND))
    what = msgspec.structs.replace(service(1), spec=spec)
    assert story(what, [(0, [task(1, RUNNING)]), (29, [task(1, RUNNING)])]).verdict is Verdict.VERIFYING
    assert story(what, [(0, [task(1, RUNNING)]), (30, [task(1, RUNNING)])]).verdict is Verdict.CONVERGED


def test_a_scale_down_waits_until_the_rest_is_told_to_go():
    up = [task(slot, RUNNING) for slot in (1, 2, 3)]
    assert story(service(1), [(0, up)]).verdict is Verdict.WAITING
    told = [task(1, RUNNING), *(task(slot, RUNNING, desired=TaskState.REMOVE) for slot in (2, 3))]
    seen = story(service(1), [(0, up), (1, told)])
    assert (seen.verdict, len(seen.lines)) == (Verdict.VERIFYING, 1)


def test_to_zero():
    assert story(service(0), [(0, []), (MONITOR, [])]).verdict is Verdict.CONVERGED


def test_a_restart_loop_fails_with_the_reason():
    loop = [failed(1, number) for number in range(5)]
    seen = story(service(1), [(0, []), (9, [*loop, task(1, TaskState.READY, number=5)])])
    assert seen.verdict is Verdict.FAILED
    assert seen.reasons == ("web.1: exit 3 (5 times)",)


def test_a_restart_loop_is_counted_beyond_the_kept_records():
    """It keeps five of a slot by default, and the one that waits for its restart is one of them."""

    def look(failures: int) -> list[Task]:
        kept = [failed(1, number) for number in range(failures)][-4:]
        return [*kept, task(1, TaskState.READY, number=failures)]

    looks = [(9.0 * failures, look(failures)) for failures in range(5)]
    assert story(service(1), looks).verdict is Verdict.WAITING
    seen = story(service(1), [*looks, (45.0, look(5))])
    assert seen.verdict is Verdict.FAILED
    assert seen.reasons == ("web.1: exit 3 (5 times)",)


def test_attempts_are_counted_beyond_the_kept_records():
    policy = RestartPolicy(condition="any", max_attempts=4)
    looks = [(float(n), [failed(1, n), task(1, TaskState.READY, number=n + 1)]) for n in range(4)]
    assert story(service(1, policy=policy), looks).verdict is Verdict.WAITING
    assert story(service(1, policy=policy), [*looks, (9.0, [failed(1, 4)])]).verdict is Verdict.FAILED


def test_failures_of_another_specification_are_forgotten():
    looks = [(float(n), [failed(1, n), task(1, TaskState.READY, number=n + 1)]) for n in range(4)]
    seen = None
    for now, tasks in looks:
        seen = judge(service(1), tasks, now, seen)
    spec = msgspec.structs.replace(service(1).spec, task_template=TaskSpec(container_spec=ContainerSpec(image="y")))
    other = msgspec.structs.replace(service(1), spec=spec)
    after = [failed(1, 9), task(1, TaskState.READY, number=10)]
    assert judge(other, after, 9.0, seen).verdict is Verdict.WAITING


def test_failures_from_before_do_not_count():
    old = [failed(1, number) for number in range(9)]
    seen = story(service(1), [(0, old), (1, [*old, failed(1, 9), task(1, TaskState.READY, number=10)])])
    assert seen.verdict is Verdict.WAITING
    assert seen.lines[0].trouble == "exit 3"


def test_a_task_that_waits_for_anothers_end_says_what_blocks_it():
    stuck = task(1, RUNNING, desired=TaskState.SHUTDOWN, err="the engine has been stopping the container for 25 s")
    (line,) = story(service(1), [(0, [stuck, task(1, TaskState.READY, desired=TaskState.READY, number=1)])]).lines
    assert (line.state, line.trouble) == (TaskState.READY, "the engine has been stopping the container for 25 s")


def test_two_rejections_are_enough():
    twice = [failed(1, number, REJECTED, "No such image: x") for number in range(2)]
    once = story(service(1), [(0, []), (6, [twice[0], task(1, TaskState.READY, number=2)])])
    assert once.verdict is Verdict.WAITING
    seen = story(service(1), [(0, []), (6, [*twice, task(1, TaskState.READY, number=2)])])
    assert seen.reasons == ("web.1: No such image: x (2 times)",)


def test_a_failure_between_two_looks_begins_the_watch_again():
    before, after = [task(1, RUNNING)], [failed(1, 0), task(1, RUNNING, number=1)]
    assert story(service(1), [(0, before), (MONITOR - 1, after), (MONITOR, after)]).verdict is Verdict.VERIFYING


def test_a_failure_that_nothing_replaces_is_final():
    for policy in (RestartPolicy(condition="none"), RestartPolicy(max_attempts=1)):
        ended = [failed(1, 0), failed(1, 1)] if policy.max_attempts else [failed(1, 0)]
        assert story(service(1, policy=policy), [(0, []), (1, ended)]).verdict is Verdict.FAILED


def test_a_one_shot_that_completed_is_done():
    what = service(1, policy=RestartPolicy(condition="none"))
    ended = [task(1, TaskState.COMPLETE, desired=TaskState.SHUTDOWN)]
    assert story(what, [(0, [task(1, RUNNING)]), (1, ended), (MONITOR, ended)]).verdict is Verdict.CONVERGED


def test_no_progress_until_the_deadline_tells_what_it_waits_for():
    stuck = [task(1, TaskState.PENDING, err="no suitable node (3 nodes have too little memory)")]
    assert story(service(1), [(0, stuck), (DEADLINE - 1, stuck)]).verdict is Verdict.WAITING
    seen = story(service(1), [(0, stuck), (DEADLINE, stuck)])
    assert seen.reasons == (
        "no progress for 600 seconds: 0 out of 1 tasks",
        "web.1: no suitable node (3 nodes have too little memory)",
    )


def test_progress_moves_the_deadline():
    looks = [
        (0, [task(1, TaskState.PENDING)]),
        (500, [task(1, TaskState.PREPARING)]),
        (700, [task(1, TaskState.PREPARING)]),
    ]
    assert story(service(1), looks).verdict is Verdict.WAITING


@pytest.mark.parametrize(
    ("state", "options", "verdict"),
    [
        ("paused", WaitOptions(), Verdict.FAILED),
        ("rollback_paused", WaitOptions(rollback=True), Verdict.FAILED),
        ("rollback_completed", WaitOptions(), Verdict.FAILED),
        ("rollback_completed", WaitOptions(rollback=True), Verdict.CONVERGED),
        ("completed", WaitOptions(), Verdict.CONVERGED),
        ("updating", WaitOptions(), Verdict.VERIFYING),
        ("rollback_started", WaitOptions(rollback=True), Verdict.VERIFYING),
        ("rollback_started", WaitOptions(), Verdict.WAITING),
    ],
)
def test_the_manager_s_own_judgement_of_an_update(state: str, options: WaitOptions, verdict: Verdict):
    what = service(1, status=UpdateStatus(state=UpdateState(state), message="update paused due to failure"))
    seen = story(what, [(0, [task(1, RUNNING)])], options)
    assert seen.verdict is verdict
    assert bool(seen.reasons) == (verdict is Verdict.FAILED)


def test_a_paused_update_reports_why_its_tasks_failed():
    paused = service(1, status=UpdateStatus(state=UpdateState.PAUSED, message="failure of task x"))
    reasons = story(paused, [(0, [failed(1, 0, err="no such file"), failed(1, 1, err="no such file")])]).reasons
    assert reasons == ("service update paused: failure of task x", "web.1: no such file")


def test_a_rolled_back_update_reports_why_its_tasks_failed():
    """They are not among those of the specification that the service has again; others failed long ago."""
    undone = service(1, status=UpdateStatus(state=UpdateState.ROLLBACK_COMPLETED, message="rollback completed"))
    old = msgspec.structs.replace(failed(1, 0, err="long ago"), spec=TaskSpec(force_update=1))
    running = task(1, RUNNING, number=2)
    seen = judge(
        undone, [running], 10, None, WaitOptions(), [running, failed(1, 1, REJECTED, err="unknown capability"), old]
    )
    assert seen.reasons == ("service rolled back: rollback completed", "web.1: unknown capability")


def test_an_update_that_holds_at_its_canary_is_as_far_as_it_goes():
    """By its reason: the same words with another one are a failure."""
    words = "canary: 1 of 2 updated, holding"
    status = UpdateStatus(state=UpdateState.PAUSED, message=words, reason=CanaryHolds(updated=1, of=2))
    seen = story(service(status=status), [(0, [task(1, RUNNING)])])
    assert seen.verdict is Verdict.CONVERGED
    assert converged_text("web", seen) == f"{words}: go on with `service update --continue web`, or back with --abort"
    failed = msgspec.structs.replace(status, reason=TasksFailed(task="t", failed=1, of=2))
    assert story(service(status=failed), [(0, [task(1, RUNNING)])]).verdict is Verdict.FAILED


def test_how_far_an_update_is_is_what_the_manager_says():
    told = UpdateProgress(done=3, of=5, batch=1)
    what = service(5, status=UpdateStatus(state=UpdateState.UPDATING, progress=told))
    seen = story(what, [(0, [task(1, RUNNING)])])
    assert (seen.verdict, seen.done, seen.wanted) == (Verdict.WAITING, 3, 5)


def test_an_update_is_watched_for_as_long_as_the_manager_says():
    """Until it has ended, whatever the clock here says."""
    told = UpdateProgress(done=1, of=1, monitor_until=30.0)
    watched = service(1, status=UpdateStatus(state=UpdateState.UPDATING, progress=told))
    up = [task(1, RUNNING)]
    seen = story(watched, [(0, up), (MONITOR + 1, up)])
    assert (seen.verdict, seen.note) == (Verdict.VERIFYING, "Waiting 25 seconds to verify that tasks are stable...")
    assert story(watched, [(0, up), (99, up)]).verdict is Verdict.VERIFYING
    ended = service(1, status=UpdateStatus(state=UpdateState.COMPLETED))
    assert judge(ended, up, 100.0, seen).verdict is Verdict.CONVERGED


def test_what_a_service_waits_for_is_told_by_its_remark():
    waits = AwaitsServices(services=(Awaited(service="db", condition=Condition.HEALTHY),))
    progress = UpdateProgress(of=2, waits_for=waits.services)
    status = UpdateStatus(state=UpdateState.UPDATING, message="waits for db", remark=waits, progress=progress)
    assert story(service(status=status), [(0, [])]).note == "waits for db"
    assert story(service(status=msgspec.structs.replace(status, remark=None)), [(0, [])]).note == ""


def test_an_update_that_watches_failures_is_not_second_guessed():
    what = service(1, status=UpdateStatus(state=UpdateState.UPDATING))
    loop = [failed(1, number) for number in range(9)]
    assert story(what, [(0, []), (9, loop)]).verdict is Verdict.WAITING


def test_an_update_that_rolls_back_has_not_converged():
    what = service(
        1, status=UpdateStatus(state=UpdateState.ROLLBACK_STARTED, message="update rolled back due to failure")
    )
    running = [task(1, RUNNING)]
    assert story(what, [(0, running), (MONITOR + 1, running)]).verdict is Verdict.WAITING
    assert story(what, [(0, running), (MONITOR + 1, running)], WaitOptions(rollback=True)).verdict is Verdict.CONVERGED


def test_tasks_on_nodes_that_are_down_do_not_count():
    lost = [task(1, RUNNING, node="gone"), task(2, RUNNING)]
    assert story(service(), [(0, lost)], WaitOptions(down=frozenset({"gone"}))).done == 1


def test_a_global_service_has_a_slot_a_node():
    mode = ServiceMode(global_=Global())
    what = msgspec.structs.replace(service(), spec=msgspec.structs.replace(service().spec, mode=mode))
    assert story(what, [(0, [])]).verdict is Verdict.WAITING
    seen = story(what, [(0, [task(0, RUNNING, node="a"), task(0, TaskState.STARTING, node="b")])])
    assert (seen.done, seen.wanted) == (1, 2)
    assert [line.label for line in seen.lines] == ["a", "b"]


def test_a_job_is_done_when_all_tasks_of_its_iteration_completed():
    mode = ServiceMode(replicated_job=ReplicatedJob(max_concurrent=1, total_completions=2))
    spec = msgspec.structs.replace(service().spec, mode=mode)
    what = Service(id="s", spec=spec, job_status=JobStatus(job_iteration=Version(index=2)))

    def run(slot: int, state: TaskState, iteration: int) -> Task:
        done = task(slot, state, desired=TaskState.COMPLETE, number=iteration)
        return msgspec.structs.replace(done, job_iteration=Version(index=iteration))

    before = [run(0, TaskState.COMPLETE, 1), run(1, TaskState.COMPLETE, 1)]
    assert story(what, [(0, before)]).done == 0
    half = story(what, [(0, [*before, run(0, TaskState.COMPLETE, 2), run(1, RUNNING, 2)])])
    assert (half.verdict, half.done, half.wanted) == (Verdict.WAITING, 1, 2)
    all_done = [run(0, TaskState.COMPLETE, 2), run(1, TaskState.COMPLETE, 2)]
    assert story(what, [(0, before), (1, [*before, *all_done])]).verdict is Verdict.CONVERGED


def test_a_scheduled_job_is_awaited_when_executed_by_hand():
    mode = ServiceMode(replicated_job=ReplicatedJob(max_concurrent=1, total_completions=1))
    spec = msgspec.structs.replace(service().spec, mode=mode)
    due = ScheduleStatus(last_at=1.0, next_at=3600.0)
    what = Service(id="s", spec=spec, job_status=JobStatus(last_execution=2.0), schedule_status=due)
    assert story(what, [(2, [])]).verdict is Verdict.CONVERGED
    by_hand = WaitOptions(executes=True)
    assert story(what, [(2, [])], by_hand).verdict is Verdict.WAITING
    done = msgspec.structs.replace(
        task(1, TaskState.COMPLETE, desired=TaskState.COMPLETE), job_iteration=Version(index=0)
    )
    assert story(what, [(2, []), (3, [done])], by_hand).verdict is Verdict.CONVERGED
