"""Whatever rotates, rolls back, starts and stops in whatever order: nobody lacks a file, and none stays for nothing."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from common.model import Secret
from common.model.container import ContainerSpec, SecretReference
from common.model.secret import SecretSpec
from common.model.service import TaskSpec
from common.model.update import UpdateState, UpdateStatus
from manager.orchestrate.update import rotation
from tests.fakes.world import World, replace, update_config

STEPS = st.lists(st.sampled_from(["rotate", "back", "image", "decide", "run", "stop", "clear", "remove"]), max_size=25)


class Vault(World):
    def __init__(self, seed: int) -> None:
        super().__init__(history=2)
        self.rng = random.Random(seed)
        self.nodes("n1", "n2")
        self.versions = 1
        self.put(Secret(id="v1", spec=SecretSpec(name="key", data=b"1")))
        self.replicated(3, self.using("v1"), update_config=update_config(monitor=0))

    @staticmethod
    def using(secret_id: str, image: str = "web:1") -> TaskSpec:
        reference = SecretReference(secret_id=secret_id, secret_name="key")
        return TaskSpec(container_spec=ContainerSpec(image=image, secrets=(reference,)))

    def step(self, name: str) -> None:
        getattr(self, f"do_{name}")()

    def do_rotate(self) -> None:
        self.versions += 1
        (old,) = self.tables.secrets.named("key")
        spec = SecretSpec(name="key", data=b"x")
        self.transact(lambda tx: rotation.rotate(tx, old, f"v{self.versions}", spec))

    def do_back(self) -> None:
        service = next(iter(self.tables.services), None)
        if service is not None and service.previous_spec is not None:
            status = UpdateStatus(state=UpdateState.ROLLBACK_STARTED, started_at=self.now)
            self.put(
                replace(
                    service,
                    spec=service.previous_spec,
                    previous_spec=service.spec,
                    spec_version=self.tables.index + 1,
                    update_status=status,
                )
            )

    def do_image(self) -> None:
        service = next(iter(self.tables.services), None)
        if service is not None and service.spec.task_template.container_spec is not None:
            container = replace(service.spec.task_template.container_spec, image=f"web:{self.now}")
            self.change(replace(service.spec.task_template, container_spec=container))

    def do_decide(self) -> None:
        if next(iter(self.tables.services), None) is not None:
            self.settle()
        self.pass_time(10)

    def do_run(self) -> None:
        self.run("n1", "n2")

    def do_stop(self) -> None:
        self.stopped()

    def do_clear(self) -> None:
        self.decide(rotation.decide, *rotation.old_versions(self.tables))

    def do_remove(self) -> None:
        service = next(iter(self.tables.services), None)
        if service is not None and self.rng.random() < 0.2:
            self.put(replace(service, pending_delete=True))

    @property
    def needed(self) -> set[str]:
        """The versions that a service, a rollback or a task which may run names."""
        specs = [spec for s in self.tables.services for spec in (s.spec, s.previous_spec) if spec is not None]
        templates = [spec.task_template for spec in specs]
        templates += [task.spec for task in self.tasks if not task.status.state.terminal]
        return {each.secret_id for t in templates if t.container_spec for each in t.container_spec.secrets}


@settings(deadline=None)
@given(STEPS, st.integers(0, 10))
def test_every_needed_version_is_kept_and_others_go_soon(steps: list[str], seed: int) -> None:
    world = Vault(seed)
    for name in steps:
        world.step(name)
        there = {secret.id: secret.name for secret in world.tables.secrets}
        assert world.needed <= there.keys()
        assert [name for name in there.values() if name == "key"] == ["key"]
    world.do_clear()
    newest = f"v{world.versions}"
    assert {secret.id for secret in world.tables.secrets} == world.needed | {newest}
