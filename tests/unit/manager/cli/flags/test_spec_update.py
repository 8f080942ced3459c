"""From whole command lines to specifications (that they are Docker's is tested in tests/api/test_cli_parity.py)."""

import shlex
from typing import Any

import click
import pytest
from click.testing import CliRunner

from common.clock import SECOND
from common.model.container import ContainerSpec, HealthConfig, Mount
from common.model.service import (
    EndpointSpec,
    PortConfig,
    Replicated,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
)
from manager.cli.command import SwarmCommand
from manager.cli.flags import spec_create, spec_update
from manager.cli.flags.service_options import create_flags, update_flags

BASE = ServiceSpec(
    name="web",
    task_template=TaskSpec(container_spec=ContainerSpec(image="x", env=("A=1", "B=2"), mounts=(Mount(target="/a"),))),
    mode=ServiceMode(replicated=Replicated(replicas=1)),
    endpoint_spec=EndpointSpec(ports=(PortConfig(target_port=80, published_port=8080),)),
)


def flags(line: str, decorate: Any) -> dict[str, Any]:
    """Parse a line with the real flags."""
    found: dict[str, Any] = {}

    @click.command(cls=SwarmCommand)
    @decorate
    def command(**given: Any) -> None:
        found.update(given)

    result = CliRunner().invoke(command, shlex.split(line), standalone_mode=False, catch_exceptions=False)
    if result.exception:
        raise result.exception
    return found


def create(line: str, *args: str) -> ServiceSpec:
    return spec_create.build("nginx", args, flags(line, create_flags), {})


def update(line: str, spec: ServiceSpec = BASE) -> ServiceSpec:
    return spec_update.apply(spec, flags(line, update_flags))


def container(spec: ServiceSpec) -> ContainerSpec:
    assert spec.task_template.container_spec is not None
    return spec.task_template.container_spec


def test_an_image_without_a_tag_is_latest_as_with_docker():
    assert container(create("")).image == "nginx:latest"
    assert container(update("--image busybox")).image == "busybox:latest"
    assert container(update("--image here:5000/busybox@sha256:" + 64 * "0")).image.endswith(64 * "0")
    assert container(update("--env-add A=1")).image == "x"


def test_an_update_without_flags_leaves_the_task_specification():
    after = update("")
    assert container(after) == container(BASE)
    assert (after.mode, after.endpoint_spec, after.labels) == (BASE.mode, BASE.endpoint_spec, BASE.labels)
    assert after.task_template.force_update == 0


def test_an_update_changes_what_is_named():
    after = update("--env-add B=3 --env-add C=4 --env-rm A --force --publish-add 9000:90 --publish-rm 80 --mount-rm /a")
    assert container(after).env == ("B=3", "C=4")
    assert container(after).mounts == ()
    assert after.task_template.force_update == 1
    assert after.endpoint_spec is not None
    assert [port.published_port for port in after.endpoint_spec.ports] == [9000]


def test_a_port_that_is_removed_twice_takes_no_other_with_it():
    both = update("--publish-add 9000:80")
    after = update("--publish-rm 9000:80 --publish-rm 9000:80", both)
    assert after.endpoint_spec is not None
    assert [port.published_port for port in after.endpoint_spec.ports] == [8080]


def test_health_checks():
    checked = update("--health-cmd 'test -f /x' --health-interval 3s")
    assert container(checked).healthcheck == HealthConfig(test=("CMD-SHELL", "test -f /x"), interval=3 * SECOND)
    off = update("--no-healthcheck", checked)
    assert container(off).healthcheck == HealthConfig(test=("NONE",))
    assert container(update("--health-retries 2", off)).healthcheck == HealthConfig(retries=2)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("--max-concurrent 2", "max-concurrent can only"),
        ("--generic-resource-rm gpu", "could not find generic-resource `gpu`"),
        ("--mount-add target=/x --mount-add target=/x", "duplicate mount target"),
    ],
)
def test_updates_that_are_refused(line: str, why: str):
    with pytest.raises(ValueError, match=why):
        update(line)
