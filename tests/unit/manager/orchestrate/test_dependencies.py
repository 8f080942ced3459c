"""Start order, on a world decided by hand: `web` is the service of the world, `db` the one that it depends on."""

import random

import pytest

from common.model import Service, Task, TaskState
from common.model.naming import Version
from common.model.service import Global, JobStatus, Replicated, ReplicatedJob, ServiceMode, ServiceSpec, TaskSpec
from common.model.update import AwaitsServices, UpdateStatus
from manager.api.services.rollouts import ACTIONS
from manager.domain.update_status import message, waits_for
from manager.loops.orchestration import service_keys
from manager.orchestrate.reconcile import services
from manager.store.changes import Change
from tests.fakes.world import World, policy, replace, template, update_config


class Pair(World):
    """`web` depends on `db` as the label says."""

    def __init__(self, label: str = "db=healthy", replicas: int = 2) -> None:
        super().__init__()
        self.nodes("n1", "n2")
        self.replicated(replicas, labels={"swarm.x.depends-on": label})

    def database(self, replicas: int = 1, spec: TaskSpec | None = None, mode: ServiceMode | None = None) -> None:
        wanted = mode or ServiceMode(replicated=Replicated(replicas=replicas))
        body = ServiceSpec(name="db", task_template=spec or template("db:1"), mode=wanted)
        self.put(Service(id="db", spec=body, spec_version=self.tables.index + 1))

    def change_database(self, spec: TaskSpec) -> None:
        old = self.tables.services.get("db")
        assert old is not None
        body = replace(old.spec, task_template=spec)
        self.put(replace(old, spec=body, spec_version=self.tables.index + 1, update_status=None))

    def of(self, service_id: str) -> list[Task]:
        return [task for task in self.live if task.service_id == service_id]

    def both(self) -> None:
        """Decide both services until nothing is left to do now."""
        for _ in range(50):
            decision = self.decide(services.decide, "s", "db")
            if not decision and min(decision.wake_at.values(), default=self.now + 1) > self.now:
                return
        raise AssertionError("the deciders do not come to an end")

    def up(self) -> None:
        """Let everything run that is to."""
        for _ in range(20):
            self.both()
            self.stopped()
            self.run("n1", "n2")
            self.pass_time(10)
        self.both()


def images(tasks: list[Task]) -> set[str]:
    return {task.spec.container_spec.image for task in tasks if task.spec.container_spec}


def test_no_task_is_created_before_the_dependency_is_up() -> None:
    world = Pair()
    world.database()
    world.both()
    assert world.of("s") == []
    assert waits_for(world.service.waits_for) == "waits for db to be healthy"
    assert world.service.update_status is None
    world.see(world.of("db")[0], TaskState.STARTING, "n1")
    world.both()
    assert world.of("s") == []
    world.see(world.of("db")[0], TaskState.RUNNING)
    world.both()
    assert len(world.of("s")) == 2
    assert waits_for(world.service.waits_for) == ""
    assert world.service.update_status is None


def test_started_asks_for_less_than_healthy() -> None:
    world = Pair("db")
    world.database()
    world.both()
    assert waits_for(world.service.waits_for) == "waits for db to be started"
    world.see(world.of("db")[0], TaskState.STARTING, "n1")
    world.both()
    assert len(world.of("s")) == 2


def test_completed_asks_for_every_task_to_have_ended_well() -> None:
    world = Pair("db=completed")
    world.database(2, template("db:1", restart_policy=policy("on-failure", delay=1)))
    world.both()
    first, second = world.of("db")
    world.see(first, TaskState.COMPLETE, "n1")
    world.see(second, TaskState.FAILED, "n1", err="exit 1")
    world.both()
    assert world.of("s") == []
    world.pass_time(5)
    world.both()
    (again,) = world.of("db")
    world.see(again, TaskState.COMPLETE, "n2")
    world.both()
    assert len(world.of("s")) == 2


def test_a_job_is_complete_when_its_present_execution_is() -> None:
    world = Pair("db=completed")
    job = ReplicatedJob(max_concurrent=1, total_completions=2)
    world.database(mode=ServiceMode(replicated_job=job))
    first = world.tables.services.get("db")
    assert first is not None
    world.put(replace(first, job_status=JobStatus(job_iteration=Version(index=1))))
    for _ in range(2):
        world.both()
        assert world.of("s") == []
        (task,) = world.of("db")
        world.see(task, TaskState.COMPLETE, "n1")
    world.both()
    assert len(world.of("s")) == 2
    world.change(template("web:2"))
    again = world.tables.services.get("db")
    assert again is not None
    world.put(replace(again, job_status=JobStatus(job_iteration=Version(index=2))))
    world.decide(services.decide, "s")
    assert waits_for(world.service.waits_for) == "waits for db to complete"


def test_a_dependency_that_became_a_job_is_reported_unhealthy() -> None:
    world = Pair("db=healthy")
    world.database(mode=ServiceMode(replicated_job=ReplicatedJob(max_concurrent=1, total_completions=1)))
    job = world.tables.services.get("db")
    assert job is not None
    world.put(replace(job, job_status=JobStatus(last_execution=1.0)))
    world.both()
    world.see(world.of("db")[0], TaskState.COMPLETE, "n1")
    world.both()
    assert waits_for(world.service.waits_for) == "waits for db to be healthy, which a job never is,"


def test_a_dependency_that_ended_before_it_was_healthy_is_said() -> None:
    world = Pair("db=healthy")
    world.database(1, template("db:1", restart_policy=policy("none")))
    world.both()
    world.see(world.of("db")[0], TaskState.COMPLETE, "n1")
    world.both()
    assert world.of("s") == []
    assert waits_for(world.service.waits_for) == "waits for db to be healthy, which has completed instead,"


def test_all_replicas_count_and_none_is_nothing_to_wait_for() -> None:
    world = Pair()
    world.database(2)
    world.both()
    world.see(world.of("db")[0], TaskState.RUNNING, "n1")
    world.both()
    assert world.of("s") == []
    world.see(world.of("db")[1], TaskState.RUNNING, "n2")
    world.both()
    assert len(world.of("s")) == 2
    empty = Pair()
    empty.database(0)
    empty.both()
    assert len(empty.of("s")) == 2


def test_a_global_dependency_is_up_when_on_every_eligible_node() -> None:
    world = Pair()
    world.database(mode=ServiceMode(global_=Global()))
    world.both()
    first, second = world.of("db")
    world.see(first, TaskState.RUNNING)
    world.both()
    assert world.of("s") == []
    world.node(second.node_id, availability="drain")
    world.both()
    assert len(world.of("s")) == 2


def test_a_missing_dependency_is_named_and_waited_for() -> None:
    world = Pair("db=healthy,cache")
    world.both()
    assert waits_for(world.service.waits_for) == "waits for db, which does not exist, and cache, which does not exist,"


def test_a_running_service_is_kept_up_without_its_dependency() -> None:
    world = Pair()
    world.database()
    world.up()
    world.see(world.of("db")[0], TaskState.FAILED, err="exit 1")
    world.see(world.of("s")[0], TaskState.FAILED, err="exit 1")
    world.scale(4)
    world.both()
    world.pass_time(10)
    world.decide(services.decide, "s")
    assert len(world.of("s")) == 4
    assert waits_for(world.service.waits_for) == ""


def test_an_update_waits_until_that_of_its_dependency_is_through() -> None:
    world = Pair()
    world.database()
    world.up()
    world.change_database(template("db:2"))
    world.change(template("web:2"))
    world.both()
    assert images(world.of("s")) == {"web:1"}
    status = world.service.update_status
    assert status is not None
    assert (status.state, message(status)) == ("updating", "waits for db to be healthy")
    world.pass_time(30)
    world.up()
    assert images(world.of("s")) == {"web:2"}
    ended = world.service.update_status
    assert ended is not None
    assert ended.state == "completed"
    assert ended.started_at == status.started_at, "the time that it waited counts"


def test_while_an_update_waits_its_service_is_kept_up_as_it_is() -> None:
    world = Pair()
    world.database()
    world.up()
    world.change_database(template("db:2"))
    world.change(template("web:2"), mode=ServiceMode(replicated=Replicated(replicas=4)))
    world.decide(services.decide, "s")
    world.see(world.of("s")[0], TaskState.FAILED, err="exit 1")
    world.decide(services.decide, "s")
    world.pass_time(10)
    world.decide(services.decide, "s")
    assert len(world.of("s")) == 4
    assert images(world.of("s")) == {"web:1"}
    body = world.service.spec.task_template.container_spec
    assert body is not None
    assert body.image == "web:2", "what is stored is what was asked for"
    world.up()
    assert images(world.of("s")) == {"web:2"}


@pytest.mark.parametrize(
    ("action", "state", "image"),
    [("pause", "paused", "web:2"), ("rollback", "rollback_completed", "web:1"), ("continue", "updating", "web:2")],
)
def test_an_update_that_waits_too_long_has_failed(action: str, state: str, image: str) -> None:
    world = Pair()
    world.database()
    world.change(labels={**world.service.spec.labels, "swarm.x.progress-deadline": "90s"})
    world.up()
    world.change_database(template("db:2"))
    world.change(template("web:2"), update_config=update_config(failure_action=action))
    decision = world.decide(services.decide, "s")
    due = decision.wake_at.get("s")
    assert due == (None if action == "continue" else world.now + 90)
    world.pass_time(90)
    for _ in range(3):
        world.decide(services.decide, "s")
        world.pass_time(10)
    status, body = world.service.update_status, world.service.spec.task_template.container_spec
    assert status is not None
    assert body is not None
    assert (status.state, body.image) == (state, image)
    assert images(world.of("s")) == {"web:1"}
    if action == "pause":
        expected = "update paused as there was no progress for 90 s: it waits for db to be healthy"
        assert message(status) == expected
        world.remove(*[service for service in world.tables.services if service.id == "db"])
        world.decide(services.decide, "s")
        assert waits_for(world.service.waits_for) == "waits for db, which does not exist,"
        assert world.service.update_status == status, "what waits is told, and the update stays as it is"


def test_a_resumed_update_still_says_what_it_waits_for() -> None:
    world = Pair()
    world.database()
    world.up()
    world.change_database(template("db:2"))
    world.change(template("web:2"))
    world.decide(services.decide, "s")
    paused = ACTIONS["pause"](world.tables, world.service, world.now, "ann")
    world.put(paused)
    world.decide(services.decide, "s")
    assert world.service.update_status == paused.update_status
    assert message(paused.update_status or UpdateStatus()) == "paused on request"
    world.put(ACTIONS["continue"](world.tables, world.service, world.now, "ann"))
    world.decide(services.decide, "s")
    assert world.service.update_status is not None
    assert world.service.update_status.remark == AwaitsServices(services=world.service.waits_for)
    assert [each.service for each in world.service.waits_for] == ["db"]


def test_an_update_under_way_goes_on_and_a_rollback_never_waits() -> None:
    world = Pair()
    world.database()
    world.up()
    world.change(template("web:2"))
    world.decide(services.decide, "s")
    assert images(world.of("s")) == {"web:1", "web:2"}
    world.see(world.of("db")[0], TaskState.FAILED, err="exit 1")
    for _ in range(5):
        world.decide(services.decide, "s")
        world.stopped()
        for task in world.of("s"):
            if task.status.state < TaskState.RUNNING:
                world.see(task, TaskState.RUNNING, "n1")
        world.pass_time(10)
    assert images(world.of("s")) == {"web:2"}


def test_what_waits_hears_of_its_dependency_and_of_nobody_else() -> None:
    world = Pair()
    world.database()
    world.both()
    (task,) = world.of("db")
    up = replace(task, status=replace(task.status, state=TaskState.RUNNING))
    assert "s" in service_keys(Change(old=task, new=up), world.tables)
    assert "s" not in service_keys(Change(old=task, new=replace(task, node_id="n1")), world.tables)
    other = replace(up, service_name="cache", service_id="cache")
    assert "s" not in service_keys(Change(old=replace(other, status=task.status), new=other), world.tables)
    database = world.tables.services.get("db")
    assert "s" in service_keys(Change(old=database, new=None), world.tables)
    world.up()
    assert list(world.tables.services.waiting()) == []
    assert "s" not in service_keys(Change(old=task, new=up), world.tables)


@pytest.mark.parametrize("seed", range(3))
def test_a_chain_starts_in_order(seed: int) -> None:
    world = World()
    world.rng = random.Random(seed)
    world.nodes("n1")
    for name, label in (("c", "b=healthy"), ("b", "a=healthy"), ("a", "")):
        labels = {"swarm.x.depends-on": label} if label else {}
        body = ServiceSpec(name=name, labels=labels, task_template=template(f"{name}:1"))
        world.put(Service(id=name, spec=body, spec_version=world.tables.index + 1))
    begun: list[str] = []
    for _ in range(6):
        world.decide(services.decide, "c", "b", "a")
        for task in world.live:
            if task.service_id not in begun:
                begun.append(task.service_id)
            if task.status.state < TaskState.RUNNING:
                world.see(task, TaskState.RUNNING, "n1")
    assert begun == ["a", "b", "c"]
    assert not any(service.waits_for for service in world.tables.services)
