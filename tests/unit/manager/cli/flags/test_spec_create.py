"""Parts of a specification that single flags set, on create and on update alike."""

import pytest

from common.clock import SECOND
from common.model.container import ContainerSpec, DriverConfig, HealthConfig
from common.model.service import Limits, Reservations, Resources, RestartPolicy, UpdateConfig
from manager.cli.flags.spec_create import (
    DEFAULT_RESTART,
    container,
    health,
    log_driver,
    replace_given,
    resources,
    restart_policy,
    rollout,
)


def test_only_flags_that_were_given_change_something() -> None:
    spec = ContainerSpec(image="i", hostname="old", user="u")
    assert replace_given(spec, {"user": None}, {"user": "user"}) is spec
    assert container(spec, {"hostname": "new", "workdir": "/w"}) == ContainerSpec(
        image="i", hostname="new", user="u", dir="/w"
    )


def test_a_health_check_is_kept_changed_or_switched_off() -> None:
    check = HealthConfig(test=("CMD", "true"), interval=SECOND)
    assert health(check, {}) is check
    assert health(check, {"health_cmd": "curl x"}) == HealthConfig(test=("CMD-SHELL", "curl x"), interval=SECOND)
    off = health(check, {"no_healthcheck": True})
    assert off == HealthConfig(test=("NONE",))
    assert health(off, {"health_retries": 3}) == HealthConfig(retries=3), "what was switched off has no test"
    with pytest.raises(ValueError, match="conflicts"):
        health(check, {"no_healthcheck": True, "health_cmd": "x"})


def test_resources_keep_what_no_flag_names() -> None:
    present = Resources(limits=Limits(nano_cpus=5, memory_bytes=7))
    changed = resources(present, {"limit_memory": 9, "reserve_cpu": 3})
    assert changed == Resources(limits=Limits(nano_cpus=5, memory_bytes=9), reservations=Reservations(nano_cpus=3))


def test_a_policy_that_is_begun_has_its_defaults_written_out() -> None:
    assert restart_policy(None, {}) is None
    assert restart_policy(None, {"restart_max_attempts": 3}) == RestartPolicy(
        condition=DEFAULT_RESTART.condition, delay=DEFAULT_RESTART.delay, max_attempts=3
    )


def test_updates_and_rollbacks_have_flags_of_their_own() -> None:
    given = {"update_parallelism": 4}
    assert rollout("update", None, given) == UpdateConfig(parallelism=4)
    assert rollout("rollback", None, given) is None


def test_another_log_driver_begins_without_the_old_options() -> None:
    present = DriverConfig(name="json-file", options={"max-size": "1m"})
    assert log_driver(present, {}) is present
    assert log_driver(present, {"log_driver": "syslog"}) == DriverConfig(name="syslog", options={})
    added = log_driver(present, {"log_opt": [("max-file", "3")]})
    assert added == DriverConfig(name="json-file", options={"max-size": "1m", "max-file": "3"})
    assert log_driver(present, {"log_driver": ""}) is None
