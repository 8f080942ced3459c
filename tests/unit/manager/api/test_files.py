"""Which secrets and configs are in use, and so stay: what services name, and what a canary's other tasks have."""

from __future__ import annotations

import pytest

from common.errors import InvalidArgument
from common.model import Config, Secret
from common.model.container import ConfigReference, SecretReference
from common.model.secret import ConfigSpec, SecretSpec
from manager.api.files import check_unused
from tests.fakes.world import World, policy, replace, template
from tests.unit.manager.orchestrate.update.test_canary import NODES, go_on, work
from tests.unit.manager.orchestrate.update.test_rolling import NEW

SECRET = Secret(id="s1", spec=SecretSpec(name="key"))
CONFIG = Config(id="c1", spec=ConfigSpec(name="page"))


def holding(**references: object) -> World:
    """A service whose update, to a specification without files, holds after one task of three."""
    world = World()
    world.nodes(*NODES)
    plain = template(NEW, restart_policy=policy(delay=0))
    assert plain.container_spec is not None
    before = replace(plain, container_spec=replace(plain.container_spec, **references))
    world.replicated(3, before, labels={"swarm.x.canary": "1"})
    world.settle()
    world.run(*NODES)
    world.change(plain)
    world.settle()
    work(world)
    return world


@pytest.mark.parametrize(
    ("noun", "file", "references"),
    [
        ("secret", SECRET, {"secrets": (SecretReference(secret_id="s1", secret_name="key"),)}),
        ("config", CONFIG, {"configs": (ConfigReference(config_id="c1", config_name="page"),)}),
    ],
)
def test_what_tasks_have_that_a_canary_leaves_alone_stays(
    noun: str, file: Secret | Config, references: dict[str, object]
) -> None:
    world = holding(**references)
    with pytest.raises(InvalidArgument, match="is in use by the following service: web"):
        check_unused(noun, file, world.tables)
    go_on(world)
    work(world)
    check_unused(noun, file, world.tables)
