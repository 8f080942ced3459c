"""Old versions of secrets and configs go when nothing uses them."""

import pytest

from common.errors import FailedPrecondition
from common.model import Config, Secret, TaskState
from common.model.container import ConfigReference, ContainerSpec, CredentialSpec, Privileges, SecretReference
from common.model.secret import ConfigSpec, SecretSpec
from common.model.service import TaskSpec
from manager.domain.references import with_newest_files
from manager.loops.orchestration import orchestration_rules
from manager.orchestrate.update import rotation
from manager.store.changes import Change
from tests.fakes.world import World, replace


def using(secret_id: str = "", config_id: str = "") -> TaskSpec:
    secrets = (SecretReference(secret_id=secret_id, secret_name="key"),) if secret_id else ()
    configs = (ConfigReference(config_id=config_id, config_name="conf"),) if config_id else ()
    return TaskSpec(container_spec=ContainerSpec(image="web:1", secrets=secrets, configs=configs))


class Vault(World):
    """A service with the secret `key`, whose first content has the id `one`."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes("n1")
        self.put(Secret(id="one", spec=SecretSpec(name="key", data=b"1")))
        self.replicated(1, using("one"))
        self.settle()
        self.run("n1")

    def rotate(self, new_id: str) -> None:
        (old,) = self.tables.secrets.named("key")
        spec = SecretSpec(name="key", data=new_id.encode())
        self.transact(lambda tx: rotation.rotate(tx, old, new_id, spec))

    def clear(self) -> None:
        self.decide(rotation.decide, *rotation.old_versions(self.tables))

    def replace_tasks(self) -> None:
        for _ in range(4):
            self.settle()
            self.stopped()
            self.run("n1")
            self.pass_time(10)

    @property
    def names(self) -> dict[str, str]:
        return {secret.id: secret.name for secret in self.tables.secrets}


def test_a_version_is_kept_while_a_task_or_rollback_may_need_it() -> None:
    world = Vault()
    world.rotate("two")
    world.clear()
    assert world.names == {"one": "key.v1", "two": "key"}
    world.replace_tasks()
    world.clear()
    assert world.names == {"one": "key.v1", "two": "key"}, "the previous specification names it"
    world.rotate("three")
    world.clear()
    assert world.names == {"one": "key.v1", "two": "key.v2", "three": "key"} or world.names == {
        "two": "key.v2",
        "three": "key",
    }
    world.replace_tasks()
    world.clear()
    assert world.names == {"two": "key.v2", "three": "key"}


def test_a_stopping_task_keeps_its_version_until_it_has_ended() -> None:
    world = Vault()
    world.rotate("two")
    world.settle()
    world.rotate("three")
    world.clear()
    assert "one" in world.names
    (last,) = [task for task in world.tasks if task.spec == using("one")]
    assert last.desired_state > TaskState.RUNNING
    world.stopped()
    world.clear()
    assert "one" not in world.names


def test_a_credential_specification_follows_its_config_too() -> None:
    world = World()
    world.put(Config(id="c1", spec=ConfigSpec(name="conf", data=b"1")))
    spec = using(config_id="c1")
    assert spec.container_spec is not None
    privileges = Privileges(credential_spec=CredentialSpec(config="c1"))
    world.replicated(1, replace(spec, container_spec=replace(spec.container_spec, privileges=privileges)))
    (old,) = world.tables.configs
    world.transact(lambda tx: rotation.rotate(tx, old, "c2", ConfigSpec(name="conf", data=b"2")))
    container = world.service.spec.task_template.container_spec
    assert container is not None
    assert container.privileges is not None
    assert container.privileges.credential_spec == CredentialSpec(config="c2")
    assert container.configs[0].config_id == "c2"


def test_others_are_left_alone() -> None:
    world = Vault()
    world.put(Secret(id="other", spec=SecretSpec(name="other", data=b"o")))
    before = world.service
    (old,) = world.tables.secrets.named("other")
    made = world.transact(lambda tx: rotation.rotate(tx, old, "new", SecretSpec(name="other", data=b"n")))
    assert [type(each.current) for each in made.changes] == [Secret, Secret]
    assert world.service == before


def test_the_decider_is_woken_by_what_may_end_a_use() -> None:
    (rule,) = [each for each in orchestration_rules() if each.name == "rotation"]
    world = Vault()
    before = world.service
    (task,) = world.live
    world.rotate("two")
    assert list(rule.keys(Change(old=before, new=world.service), world.tables)) == ["one"]
    assert list(rule.keys(Change(old=world.service, new=None), world.tables)) == ["one"]
    assert list(rule.keys(Change(old=task, new=None), world.tables)) == ["one"]
    assert list(rule.keys(Change(old=task, new=replace(task, node_id="n2")), world.tables)) == []
    assert list(rule.all_keys(world.tables)) == ["one"]


def test_a_past_specification_gets_newer_content_for_the_removed() -> None:
    world = Vault()
    past = world.service.spec
    assert with_newest_files(past, world.tables) == past
    for version in ("two", "three"):
        world.rotate(version)
        world.replace_tasks()
    world.clear()
    assert "one" not in world.names
    again = with_newest_files(past, world.tables)
    assert again.task_template == using("three")
    world.remove(*world.tables.secrets)
    with pytest.raises(FailedPrecondition, match="needs the secret key, which no longer exists"):
        with_newest_files(past, world.tables)
