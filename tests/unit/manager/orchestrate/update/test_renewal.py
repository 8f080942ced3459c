"""Secrets and configs that are changed in the tasks that run, by the rules of an update."""

from typing import Any

import pytest

from common.model import Secret, Task, TaskState
from common.model.container import ContainerSpec, FileTarget, SecretReference
from common.model.secret import SecretSpec
from common.model.service import EndpointSpec, PortConfig, ReplicatedJob, ServiceMode, TaskSpec
from common.model.task import TaskStatus
from common.model.update import UpdateState, UpdateStatus
from manager.domain.executions import next_execution
from manager.domain.update_status import message
from manager.loops.orchestration import orchestration_rules
from manager.orchestrate.reconcile.service_context import ServiceContext
from manager.orchestrate.update import rotation
from manager.store.changes import Change, Draft
from manager.store.observation import observe
from tests.fakes.world import World, policy, replace, update_config

ON_ROTATE = "swarm.x.on-rotate"


def using(secret_id: str, image: str = "web:1", condition: str = "any", **more: Any) -> TaskSpec:
    reference = SecretReference(secret_id=secret_id, secret_name="key", **more)
    container = ContainerSpec(image=image, secrets=(reference,))
    return TaskSpec(container_spec=container, restart_policy=policy(condition))


class Vault(World):
    """Three tasks with the secret `key`, whose first content has the id `one`."""

    def __init__(
        self, on_rotate: str = "file", condition: str = "any", labels: dict[str, str] | None = None, **other: object
    ) -> None:
        super().__init__()
        self.nodes("n1")
        self.put(Secret(id="one", spec=SecretSpec(name="key", data=b"1")))
        config = update_config(parallelism=2)
        one = using("one", condition=condition)
        labels = {ON_ROTATE: on_rotate, **(labels or {})}
        self.replicated(3, one, update_config=config, labels=labels, **other)
        self.settle()
        self.run("n1")
        self.ids = [task.id for task in self.tasks]

    def rotate(self, new_id: str) -> None:
        (old,) = self.tables.secrets.named("key")
        spec = SecretSpec(name="key", data=new_id.encode())
        self.transact(lambda tx: rotation.rotate(tx, old, new_id, spec))

    def clear(self) -> None:
        self.decide(rotation.decide, *rotation.old_versions(self.tables))

    @property
    def asked(self) -> list[Task]:
        return [task for task in self.tasks if task.renewing and not task.refused]

    def answer(self, *, refuse: str = "") -> None:
        """Let the workers of all tasks that were given other files say what became of it."""
        for task in self.asked:
            said = {"refused": task.spec_version, "err": refuse} if refuse else {"renewed": task.spec_version}
            seen = observe(task, replace(task.status, **said), self.now)
            assert seen is not None
            self.put(seen)

    def versions(self) -> dict[str, str]:
        return {secret.id: secret.name for secret in self.tables.secrets}

    @property
    def state(self) -> str:
        status = self.service.update_status
        return status.state if status is not None else ""


def go_through(world: Vault) -> None:
    for _ in range(4):
        world.settle()
        world.answer()


def test_no_task_is_replaced_and_an_update_goes_through_them() -> None:
    world = Vault("signal:SIGHUP")
    world.rotate("two")
    world.settle()
    assert (world.state, len(world.asked)) == ("updating", 2)
    assert {task.renewal.signal for task in world.asked if task.renewal} == {"SIGHUP"}
    world.settle()
    assert len(world.asked) == 2, "the third waits for its turn"
    go_through(world)
    assert [task.id for task in world.tasks] == world.ids
    assert all(task.spec == using("two") and task.status.state is TaskState.RUNNING for task in world.tasks)
    assert world.state == "updating", "the monitor period is to pass"
    world.pass_time(6)
    world.settle()
    assert world.state == "completed"
    assert world.service.revision == 2


def test_restart_or_another_change_replaces_tasks() -> None:
    for world, spec in ((Vault("restart"), using("two")), (Vault(), using("two", "web:2"))):
        world.change(spec)
        world.settle()
        assert not world.asked
        assert len([task for task in world.tasks if task.desired_state is TaskState.SHUTDOWN]) == 2


def test_another_place_or_owner_of_a_file_needs_a_new_container() -> None:
    world = Vault()
    world.change(using("two", file=FileTarget(name="key", uid="5")))
    world.settle()
    assert not world.asked
    world = Vault()
    world.change(using("two", file=FileTarget(name="key")))
    world.settle()
    assert len(world.asked) == 2, "that is where it was"


def test_a_rollback_brings_the_content_back_the_same_way() -> None:
    world = Vault()
    world.rotate("two")
    go_through(world)
    service = world.service
    assert service.previous_spec is not None
    world.put(
        replace(
            service,
            spec=service.previous_spec,
            previous_spec=service.spec,
            spec_version=world.tables.index + 1,
            update_status=UpdateStatus(state=UpdateState.ROLLBACK_STARTED, started_at=world.now),
        )
    )
    go_through(world)
    world.pass_time(6)
    world.settle()
    assert world.state == "rollback_completed"
    assert [(task.id, task.spec) for task in world.tasks] == [(task_id, using("one")) for task_id in world.ids]


@pytest.mark.parametrize("end", [TaskState.FAILED, TaskState.COMPLETE])
def test_a_completed_task_that_could_not_be_renewed_has_its_turn(end: TaskState) -> None:
    """The decider went round and round once: its slot was out of date for ever, and the update complete each time."""
    world = Vault(condition="none")
    world.rotate("two")
    world.settle()
    refused = world.asked
    world.answer(refuse="no")
    for task in map(world.task, refused):
        seen = observe(task, replace(task.status, state=end), world.now)
        assert seen is not None
        world.put(seen)
    world.settle()
    after = [task for task in world.live if task.id not in world.ids]
    assert sorted(task.slot for task in after) == sorted(task.slot for task in refused)
    assert all(task.spec == using("two", condition="none") for task in after)


def test_a_task_that_cannot_be_renewed_is_replaced_and_says_why() -> None:
    world = Vault()
    world.rotate("two")
    world.settle()
    world.answer(refuse="cannot give the running container new secrets or configs: no")
    world.settle()
    stopped = [task for task in world.tasks if task.desired_state is TaskState.SHUTDOWN]
    assert len(stopped) == 2
    world.settle()
    status = world.service.update_status
    assert status is not None
    assert "is replaced: cannot give the running container new secrets or configs: no" in message(status)
    fresh = [task for task in world.live if task.id not in world.ids]
    assert len(fresh) == 2
    assert all(task.spec == using("two") and task.renewal is None for task in fresh)


def test_a_canary_that_cannot_be_renewed_is_replaced() -> None:
    """It may not stop as long as another replica is missing, which could be changed, as it serves nobody."""
    world = Vault(labels={"swarm.x.canary": "1", "swarm.x.max-unavailable": "1"})
    world.rotate("two")
    world.settle()
    (canary,) = world.asked
    missing = next(task for task in world.live if task.id != canary.id)
    world.see(missing, TaskState.FAILED)
    world.settle()
    world.answer(refuse="no")
    world.settle()
    assert {task.slot for task in world.live if task.spec == using("two")} == {canary.slot}
    for _ in range(3):
        world.pass_time(6)
        world.settle()
        world.run("n1")
        world.stopped()
    assert [task.slot for task in world.live if task.spec == using("two") and not task.refused] == [canary.slot]
    assert world.state == "paused"


def test_a_task_that_cannot_be_renewed_is_replaced_after_scaling() -> None:
    world = Vault()
    world.rotate("two")
    world.settle()
    refused = world.asked
    world.answer(refuse="no")
    service = world.service
    labels = {**service.spec.labels, "team": "blue"}
    fresh = replace(service, spec=replace(service.spec, labels=labels), spec_version=world.tables.index + 1)
    world.put(replace(fresh, update_status=None))
    world.settle()
    stopped = {task.id for task in world.tasks if task.desired_state is TaskState.SHUTDOWN}
    assert {task.id for task in refused} <= stopped


def test_a_version_is_kept_while_a_canary_may_have_tasks_with_it() -> None:
    world = Vault(labels={"swarm.x.canary": "1"})
    world.rotate("two")
    world.rotate("three")
    for task in world.live:
        world.see(task, TaskState.FAILED)
    world.clear()
    assert "one" in world.versions(), "no specification names it, and no task runs with it"
    world.settle()
    assert sorted(task.spec == using("one") for task in world.live) == [False, True, True]
    (rule,) = [rule for rule in orchestration_rules() if rule.name == "rotation"]
    before = world.service
    world.put(replace(before, update_status=UpdateStatus(state=UpdateState.UPDATING, promoted=True)))
    assert "one" in rule.keys(Change(before, world.service), world.tables), "the canary holds no longer"


@pytest.mark.parametrize(("after", "state"), [(2, "paused"), (60, "completed")])
def test_a_program_that_ends_after_a_renewal_fails_the_update(after: float, state: str) -> None:
    world = Vault()
    world.pass_time(1000)
    world.rotate("two")
    go_through(world)
    world.pass_time(after)
    world.settle()
    world.see(world.tasks[0], TaskState.FAILED)
    world.settle()
    assert world.state == state


def test_an_old_version_is_kept_until_every_container_is_renewed() -> None:
    world = Vault()
    world.rotate("two")
    go_through(world)
    world.rotate("three")
    world.settle()
    world.rotate("four")
    world.settle()
    world.clear()
    assert "two" in world.versions(), "no specification names it, but containers have it still"
    (rule,) = [rule for rule in orchestration_rules() if rule.name == "rotation"]
    heard: set[str] = set()
    for _ in range(4):
        before = {task.id: task for task in world.tasks}
        world.answer()
        for task in world.tasks:
            heard.update(rule.keys(Change(before[task.id], task), world.tables))
        world.settle()
    assert "two" in heard
    world.clear()
    assert "two" not in world.versions()


def test_a_new_manager_asks_nobody_again() -> None:
    world = Vault()
    world.rotate("two")
    go_through(world)
    before = list(world.tasks)
    world.settle()
    assert world.tasks == before


def test_a_job_goes_on_with_new_files_and_is_not_executed_again() -> None:
    world = Vault()
    job = ServiceMode(replicated_job=ReplicatedJob(total_completions=2))
    service = replace(world.service, spec=replace(world.service.spec, mode=job))
    template = replace(service.spec.task_template, container_spec=using("two").container_spec)
    changed = replace(service, spec=replace(service.spec, task_template=template))
    assert next_execution(service, changed, 1.0).job_status == service.job_status
    restarting = replace(changed, spec=replace(changed.spec, labels={}))
    assert next_execution(service, restarting, 1.0).job_status != service.job_status


def test_a_workers_report_of_an_earlier_change_is_ignored() -> None:
    world = Vault()
    world.rotate("two")
    world.settle()
    (task, *_) = world.asked
    stale = observe(task, replace(task.status, renewed=task.spec_version - 1), world.now + 1)
    assert stale is not None
    assert stale.renewal is not None
    assert (stale.renewing, stale.renewal.taken_at) == (True, 0.0)
    taken = observe(task, TaskStatus(state=TaskState.RUNNING, renewed=task.spec_version), world.now + 1)
    assert taken is not None
    assert taken.renewal is not None
    assert (taken.renewing, taken.renewal.taken_at) == (False, world.now + 1)


def test_an_update_that_cannot_roll_back_is_paused() -> None:
    """A secret that only the previous specification names may be removed."""
    world = Vault()
    world.change(
        TaskSpec(container_spec=ContainerSpec(image="web:2")), update_config=update_config(failure_action="rollback")
    )
    world.settle()
    (secret,) = world.tables.secrets.named("key")
    world.remove(secret)
    world.stopped()
    world.settle()
    world.run("n1")
    world.see(next(task for task in world.live if task.id not in world.ids), TaskState.FAILED)
    world.settle()
    status = world.service.update_status
    assert status is not None
    assert status.state == "paused"
    assert message(status).endswith("that specification needs the secret key, which no longer exists")


def test_tasks_of_one_version_are_judged_by_their_own_ports() -> None:
    """One was given other files since, and so has the version of those that were made with the first port."""
    world = Vault(condition="any")
    port = PortConfig(target_port=80, published_port=8080)
    service = replace(
        world.service,
        spec=replace(world.service.spec, task_template=using("two"), endpoint_spec=EndpointSpec(ports=(port,))),
        spec_version=world.service.spec_version + 1,
    )
    without = world.live[0]
    reached = replace(without, id="reached", ports=(port,))
    for tasks in ((without, reached), (reached, without)):
        context = ServiceContext(service, world.tables, world.now, world.rng, Draft())
        assert {task.id: context.renewable(task) for task in tasks} == {without.id: False, "reached": True}


def test_what_took_over_from_a_drained_node_is_renewed() -> None:
    """Its files are rotated before the task on the drained node was told to stop."""
    world = Vault()
    world.node("n2")
    world.node("n1", availability="drain")
    world.decide()
    world.run("n2")
    after = {task.id for task in world.tasks if task.node_id == "n2"}
    world.rotate("two")
    for _ in range(5):
        world.decide()
        world.answer()
        world.pass_time(10)
    assert {task.id for task in world.live} == after
    assert {next(iter(task.spec.container_spec.secrets)).secret_id for task in world.live} == {"two"}
