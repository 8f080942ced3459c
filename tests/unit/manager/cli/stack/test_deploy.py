"""What a deploy keeps of the services that are there."""

from __future__ import annotations

from typing import Any

import pytest

from common.model.container import ContainerSpec
from common.model.service import ServiceSpec, TaskSpec
from manager.cli.client import Client
from manager.cli.compose import Stack
from manager.cli.compose.references import IMAGE_LABEL
from manager.cli.failures import ApiError, CommandFailed, Overtaken
from manager.cli.stack.deploy import DeployOptions, carry_over, deploy
from tests.fakes.world import replace

PINNED = f"web:latest@sha256:{'1' * 64}"


def spec(image: str, written: str) -> ServiceSpec:
    return ServiceSpec(
        name="web",
        labels={IMAGE_LABEL: written},
        task_template=TaskSpec(container_spec=ContainerSpec(image=image)),
    )


@pytest.mark.parametrize(
    ("written", "resolve_image", "asked", "image"),
    [
        ("docker.io/web", "changed", False, PINNED),
        ("docker.io/web", "never", False, PINNED),
        ("docker.io/web", "always", True, "web:latest"),
        ("web", "changed", True, "web:latest"),
    ],
)
def test_an_image_that_the_files_name_as_before_keeps_its_digest(
    written: str, resolve_image: str, asked: bool, image: str
) -> None:
    before = spec(PINNED, "docker.io/web")
    wanted = spec("web:latest", written)
    sent, resolve = carry_over(before, wanted, resolve_image)
    assert resolve is asked
    assert sent == replace(wanted, task_template=TaskSpec(container_spec=ContainerSpec(image=image)))


class Manager(Client):
    """Answers lists with nothing, and orders with these statuses, one after the other, and then with success."""

    def __init__(self, *refusals: int) -> None:
        self.refusals = list(refusals)
        self.asked: list[str] = []

    async def get(self, path: str, *_: object, **__: object) -> Any:
        self.asked.append(path)
        return []

    async def post(self, path: str, *_: object, **__: object) -> Any:
        self.asked.append(path)
        if self.refusals:
            raise ApiError(self.refusals.pop(0), "somebody else has meanwhile changed it")
        return {"Done": [], "Warnings": None}


async def test_an_overtaken_deploy_looks_again() -> None:
    manager = Manager(412, 412)
    assert await deploy(manager, Stack("shop", {}), DeployOptions()) == []
    assert manager.asked == ["/services", "/stacks/shop/deploy"] * 3


async def test_a_deploy_that_is_overtaken_for_ever_gives_up() -> None:
    with pytest.raises(Overtaken, match="somebody else has meanwhile changed it"):
        await deploy(Manager(*[412] * 9), Stack("shop", {}), DeployOptions())


async def test_what_a_plan_has_shown_is_not_looked_at_again() -> None:
    manager = Manager(412)
    with pytest.raises(Overtaken):
        await deploy(manager, Stack("shop", {}), DeployOptions(looks=1))
    assert manager.asked == ["/services", "/stacks/shop/deploy"]


async def test_a_refused_deploy_is_not_repeated() -> None:
    manager = Manager(409)
    with pytest.raises(CommandFailed):
        await deploy(manager, Stack("shop", {}), DeployOptions())
    assert manager.asked.count("/stacks/shop/deploy") == 1
