"""Transcripts of the task machine: `>>` is what is known, `<<` what it answers."""

from dataclasses import replace

import pytest

from common.clock import SECOND
from common.model.container import ContainerSpec
from common.model.naming import Version
from common.model.service import RestartPolicy, TaskSpec
from common.model.task import Task, TaskState
from worker.interfaces.engine import Container, Phase
from worker.tasks.plan.machine import Action, Contact, Situation, Step, step

S = TaskState
CREATED = Container(id="c")
RUNNING = Container(id="c", phase=Phase.RUNNING)


def exited(code=0, **more):
    return Container(id="c", phase=Phase.EXITED, exit_code=code, **more)


def task(desired=S.RUNNING, policy=None, **more):
    spec = TaskSpec(container_spec=ContainerSpec(image="web"), restart_policy=policy)
    return Task(id="t", desired_state=desired, spec=spec, **more)


def at(state, **more):
    return Situation(state=state, **more)


# (what it is about, desired, >> situation, << step)
TRANSCRIPTS = [
    ("it is accepted", S.RUNNING, at(S.ASSIGNED), Step(S.ACCEPTED, "accepted")),
    ("then prepared", S.RUNNING, at(S.ACCEPTED), Step(S.PREPARING, "preparing")),
    ("the image comes first", S.RUNNING, at(S.PREPARING), Step(S.PREPARING, action=Action.PULL)),
    ("then the container", S.RUNNING, at(S.PREPARING, image_ready=True), Step(S.PREPARING, action=Action.CREATE)),
    ("which makes it ready", S.RUNNING, at(S.PREPARING, container=CREATED), Step(S.READY, "prepared")),
    ("a replacement waits there", S.READY, at(S.READY, container=CREATED), Step(S.READY)),
    ("until it may start", S.RUNNING, at(S.READY, container=CREATED), Step(S.STARTING, "starting")),
    ("and is started", S.RUNNING, at(S.STARTING, container=CREATED), Step(S.STARTING, action=Action.START)),
    ("which makes it run", S.RUNNING, at(S.STARTING, container=RUNNING), Step(S.RUNNING, "started")),
    ("a job runs likewise", S.COMPLETE, at(S.STARTING, container=RUNNING), Step(S.RUNNING, "started")),
    ("with a check it runs once healthy", S.RUNNING, at(S.STARTING, container=replace(RUNNING, health="starting")),
     Step(S.STARTING)),
    ("healthy", S.RUNNING, at(S.STARTING, container=replace(RUNNING, health="healthy")), Step(S.RUNNING, "started")),
    ("unhealthy at the start", S.RUNNING, at(S.STARTING, container=replace(RUNNING, health="unhealthy")),
     Step(S.STARTING, action=Action.STOP)),
    ("unhealthy later", S.RUNNING, at(S.RUNNING, container=replace(RUNNING, health="unhealthy")),
     Step(S.RUNNING, action=Action.STOP)),
    ("unhealthy and stopped", S.RUNNING, at(S.RUNNING, stopping=True, container=exited(0, health="unhealthy")),
     Step(S.FAILED, "started", "task: unhealthy container")),
    ("unhealthy and killed", S.RUNNING, at(S.RUNNING, stopping=True, container=exited(137, health="unhealthy")),
     Step(S.FAILED, "started", "task: non-zero exit (137): dockerexec: unhealthy container")),
    ("no file yet", S.RUNNING, at(S.PREPARING, missing=("secret key",)),
     Step(S.PREPARING, "waiting for a manager to send secret key")),
    # ends
    ("it is done", S.RUNNING, at(S.RUNNING, container=exited(0)), Step(S.COMPLETE, "finished")),
    ("it fails", S.RUNNING, at(S.RUNNING, container=exited(3)), Step(S.FAILED, "started", "task: non-zero exit (3)")),
    ("out of memory", S.RUNNING, at(S.RUNNING, container=exited(137, oom_killed=True)),
     Step(S.FAILED, "started", "task: non-zero exit (137): out of memory")),
    ("stopped by a stranger, politely", S.RUNNING, at(S.RUNNING, container=exited(0, signal=15)),
     Step(S.FAILED, "started", "task: stopped from outside the cluster (signal 15)")),
    ("removed by a stranger", S.RUNNING, at(S.RUNNING),
     Step(S.FAILED, "started", "task: its container was removed from outside the cluster")),
    ("removed before the start", S.RUNNING, at(S.READY),
     Step(S.REJECTED, "preparing", "task: its container was removed before it was started")),
    # rejected or failed, by how far it got
    ("the image cannot be had", S.RUNNING, at(S.PREPARING, error="No such image: web"),
     Step(S.REJECTED, "preparing", "No such image: web")),
    ("the program cannot be started", S.RUNNING, at(S.STARTING, error="no such file", container=CREATED),
     Step(S.FAILED, "starting", "no such file")),
    # shutdown
    ("stopped", S.SHUTDOWN, at(S.RUNNING, container=RUNNING), Step(S.RUNNING, action=Action.STOP)),
    ("ended by the stop", S.SHUTDOWN, at(S.RUNNING, stopping=True, container=exited(143)),
     Step(S.SHUTDOWN, "shutdown")),
    ("failed before the stop", S.SHUTDOWN, at(S.RUNNING, container=exited(1)),
     Step(S.FAILED, "started", "task: non-zero exit (1)")),
    ("shut down before there was anything", S.SHUTDOWN, at(S.PREPARING), Step(S.SHUTDOWN, "shutdown")),
    ("shut down before the start", S.SHUTDOWN, at(S.READY, container=CREATED), Step(S.SHUTDOWN, "shutdown")),
    ("what it needed is given back", S.SHUTDOWN, at(S.SHUTDOWN, container=exited()),
     Step(S.SHUTDOWN, action=Action.RELEASE)),
    ("its container is kept for the logs", S.SHUTDOWN, at(S.SHUTDOWN, container=exited(), released=True),
     Step(S.SHUTDOWN)),
    ("somebody started it again", S.RUNNING, at(S.FAILED, container=RUNNING), Step(S.FAILED, action=Action.STOP)),
    # removal: nothing is left when it is reported
    ("removed: first stopped", S.REMOVE, at(S.RUNNING, container=RUNNING), Step(S.RUNNING, action=Action.STOP)),
    ("then discarded", S.REMOVE, at(S.RUNNING, container=exited(), stopping=True),
     Step(S.RUNNING, action=Action.DISCARD)),
    ("then released", S.REMOVE, at(S.RUNNING), Step(S.RUNNING, action=Action.RELEASE)),
    ("then reported", S.REMOVE, at(S.RUNNING, released=True), Step(S.SHUTDOWN, "shutdown", done=True)),
    ("a failed one keeps its state", S.REMOVE, at(S.FAILED, released=True), Step(S.FAILED, done=True)),
    ("a create that was interrupted", S.REMOVE, at(S.PREPARING, attempted=True),
     Step(S.PREPARING, action=Action.DISCARD)),
]  # fmt: skip


@pytest.mark.parametrize(("desired", "now", "answer"), [t[1:] for t in TRANSCRIPTS], ids=[t[0] for t in TRANSCRIPTS])
def test_transcript(desired, now, answer):
    assert step(task(desired), now, 1000.0) == answer


def test_a_program_that_does_not_listen_is_awaited_for_some_time():
    now = at(S.STARTING, container=RUNNING, silent=(80, 443), ran_at=1000.0)
    told = "waiting for its program to listen on ports 80, 443/tcp"
    assert [step(task(), now, 1000.0 + waited) for waited in (0, 0.25, 1, 9.75)] == [
        Step(S.STARTING, wake_at=1000.005),
        Step(S.STARTING, wake_at=1000.375),
        Step(S.STARTING, "starting", told, wake_at=1001.25),
        Step(S.STARTING, "starting", told, wake_at=1010.0),
    ]
    given_up = Step(S.RUNNING, "started, but its program did not listen on ports 80, 443/tcp within 10 s")
    assert step(task(), now, 1010.0) == given_up
    running = at(S.RUNNING, container=RUNNING, silent=(80, 443), ran_at=1000.0)
    assert [step(task(), running, instant) for instant in (1001.0, 1010.0, 2000.0)] == [
        given_up
    ] * 3  # it is said for good


@pytest.mark.parametrize(
    ("now", "answer"),
    [
        (at(S.STARTING, container=RUNNING, ran_at=999.0), Step(S.RUNNING, "started")),
        (at(S.RUNNING, container=RUNNING, ran_at=999.0), Step(S.RUNNING, "started")),
    ],
    ids=["it listens", "it runs already"],
)
def test_who_is_not_waited_for(now, answer):
    assert step(task(), now, 1000.0) == answer


def ended(contact, code=1, restarts=0, ended_at=1000.0, state=S.RUNNING):
    return at(state, container=exited(code), contact=contact, restarts=restarts, ended_at=ended_at)


def test_a_manager_that_is_away_for_a_moment_decides_later():
    assert step(task(), ended(Contact.LOST), 1000.0) == Step(S.RUNNING)


@pytest.mark.parametrize("contact", Contact)
def test_what_ended_before_it_was_started_waits_for_nobody(contact):
    rejected = Step(S.REJECTED, "preparing", "task: non-zero exit (1)")
    assert step(task(), ended(contact, state=S.READY), 1000.0) == rejected


def test_without_a_manager_it_is_restarted_after_the_delay():
    now = ended(Contact.ALONE)
    assert step(task(), now, 1004.9) == Step(S.RUNNING, wake_at=1005.0)
    assert step(task(), now, 1005.0) == Step(S.RUNNING, action=Action.START)


def test_without_a_manager_the_delay_doubles_up_to_five_minutes():
    policy = RestartPolicy(delay=2 * SECOND)
    due = [step(task(policy=policy), ended(Contact.ALONE, restarts=n), 1000.0).wake_at for n in (0, 1, 2, 50)]
    assert due == [1002.0, 1004.0, 1008.0, 1300.0]


@pytest.mark.parametrize(
    ("condition", "code", "job", "restarted"),
    [
        ("any", 0, False, True),
        ("any", 1, False, True),
        ("on-failure", 0, False, False),
        ("on-failure", 1, False, True),
        ("none", 1, False, False),
        ("any", 0, True, False),
        ("any", 1, True, True),
    ],
)
def test_without_a_manager_the_restart_policy_holds(condition, code, job, restarted):
    given = task(policy=RestartPolicy(condition=condition), job_iteration=Version(index=1) if job else None)
    answer = step(given, ended(Contact.ALONE, code), 9999.0)
    assert (answer.action is Action.START) == restarted
    assert restarted or answer.state.terminal


def test_without_a_manager_attempts_are_counted():
    given = task(policy=RestartPolicy(max_attempts=2))
    assert step(given, ended(Contact.ALONE, restarts=2), 9999.0).state is S.FAILED
