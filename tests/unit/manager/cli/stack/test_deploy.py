"""What a deploy keeps of the services that are there."""

from __future__ import annotations

import pytest

from common.model.container import ContainerSpec
from common.model.service import ServiceSpec, TaskSpec
from manager.cli.compose.references import IMAGE_LABEL
from manager.cli.stack.deploy import carry_over
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
