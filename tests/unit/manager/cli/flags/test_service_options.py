"""What the flags of services mean in a specification, and which do not go together."""

import click
import pytest

from common.clock import SECOND
from common.model.service import Global, Replicated, ServiceMode, UpdateConfig
from manager.cli.flags.service_options import create_flags
from tests.unit.manager.cli.flags.test_spec_update import container, create, flags


def test_a_bare_create_leaves_the_defaults_to_the_manager():
    spec = create("--name web", "serve", "--fast")
    assert spec.mode == ServiceMode(replicated=Replicated())
    assert (spec.update_config, spec.rollback_config, spec.task_template.restart_policy) == (None, None, None)
    assert container(spec).args == ("serve", "--fast")
    assert (container(spec).init, container(spec).stop_grace_period) == (False, None), "docker's command says no init"


def test_one_flag_of_a_group_writes_the_group_s_defaults_out():
    assert create("--update-delay 1m30s").update_config == UpdateConfig(delay=90 * SECOND)
    policy = create("--restart-condition none").task_template.restart_policy
    assert policy is not None
    assert (policy.condition, policy.delay, policy.max_attempts) == ("none", 5 * SECOND, 0)


def test_modes():
    assert create("--mode global").mode == ServiceMode(global_=Global())
    job = create("--mode replicated-job --replicas 5 --max-concurrent 2").mode.replicated_job
    assert job is not None
    assert (job.max_concurrent, job.total_completions) == (2, 5)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("--mode odd", "Unknown mode"),
        ("--mode global --replicas 2", "replicas can only be used"),
        ("--mode global --replicas-max-per-node 2", "replicas-max-per-node can only"),
        ("--max-concurrent 2", "max-concurrent can only"),
        ("--mode global-job --update-delay 1s", "not supported for jobs"),
        ("--no-healthcheck --health-cmd x", "conflicts with --health"),
    ],
)
def test_flags_that_do_not_go_together(line: str, why: str):
    with pytest.raises(ValueError, match=why):
        create(line)


def test_booleans_can_be_switched_off():
    assert container(create("--init=false --tty=true -t")).init is False
    assert flags("--detach=false", create_flags)["detach"] is False
    assert flags("-d", create_flags)["detach"] is True
    assert flags("", create_flags)["detach"] is None


@pytest.mark.parametrize("line", ["--limit-memory x", "--replicas -1", "--update-max-failure-ratio 2", "--env =x"])
def test_a_bad_value_names_the_flag(line: str):
    with pytest.raises(click.BadParameter, match="invalid argument"):
        flags(line, create_flags)
