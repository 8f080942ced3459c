import json
from pathlib import Path
from typing import Any

import pytest

from common.model.container import ContainerSpec
from common.model.engine_options import Device, DeviceRequest, EngineOptions, options_of, with_options
from manager.cli.compose.short_syntax import parse_device, parse_gpus
from manager.cli.flags.engine import apply, parse_security, parse_swap

FUSE = Device(path_on_host="/dev/fuse", path_in_container="/dev/fuse")
GPU = DeviceRequest(count=-1, capabilities=(("gpu",),))
CDI = DeviceRequest(driver="cdi", device_ids=("acme.com/nic=1",))


def changed(options: EngineOptions, **given: Any) -> EngineOptions:
    return options_of(apply(with_options(ContainerSpec(), options), given))


def test_single_values() -> None:
    made = changed(EngineOptions(shm_size=1), privileged=True, pid="host", shm_size=64, memory_swap=-1, runtime="x")
    assert made == EngineOptions(privileged=True, pid_mode="host", shm_size=64, memory_swap=-1, runtime="x")
    assert changed(made, privileged=False, pid="", shm_size=0, memory_swap=0, runtime="") == EngineOptions()


def test_a_label_that_is_not_touched_keeps_its_text() -> None:
    spec = ContainerSpec(labels={"swarm.x.engine": '{ "Privileged": true }'})
    assert apply(spec, {"pid": None}) is spec


def test_the_oom_score_is_the_docker_apis() -> None:
    assert apply(ContainerSpec(), {"oom_score_adj": -5}) == ContainerSpec(oom_score_adj=-5)


def test_devices_are_changed_by_their_path_in_the_container() -> None:
    made = changed(EngineOptions(), device=(FUSE, CDI))
    assert made == EngineOptions(devices=(FUSE,), device_requests=(CDI,))
    other = Device(path_on_host="/dev/other", path_in_container="/dev/fuse", cgroup_permissions="r")
    assert changed(made, device_add=(other, CDI)) == EngineOptions(devices=(other,), device_requests=(CDI,))
    assert changed(made, device_rm=("/dev/fuse", "acme.com/nic=1")) == EngineOptions()
    with pytest.raises(ValueError, match="could not find device `/dev/kvm`"):
        changed(made, device_rm=("/dev/kvm",))


def test_gpus_take_the_place_of_gpus() -> None:
    made = changed(EngineOptions(device_requests=(CDI,)), gpus=parse_gpus("2"))
    assert [request.count for request in made.device_requests] == [0, 2]
    assert changed(made, gpus=GPU).device_requests == (CDI, GPU)


def test_lists() -> None:
    made = changed(EngineOptions(), security_opt=("no-new-privileges",), storage_opt=(("size", "1G"),))
    assert made == EngineOptions(security_opt=("no-new-privileges",), storage_opt={"size": "1G"})
    assert changed(made, security_opt_rm=("no-new-privileges",), storage_opt_rm=("size",)) == EngineOptions()
    rules = changed(made, device_cgroup_rule_add=("c 1:3 r", "c 1:3 r")).device_cgroup_rules
    assert rules == ("c 1:3 r",)


def test_a_seccomp_profile_is_read_from_its_file(tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW"}, indent=2))
    assert parse_security(f"seccomp={profile}") == 'seccomp={"defaultAction":"SCMP_ACT_ALLOW"}'
    assert parse_security("seccomp=unconfined") == "seccomp=unconfined"
    assert parse_security("apparmor=x") == "apparmor=x"
    with pytest.raises(ValueError, match="No such file"):
        parse_security(f"seccomp={tmp_path}/none")
    profile.write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        parse_security(f"seccomp={profile}")


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("/dev/a", Device(path_on_host="/dev/a", path_in_container="/dev/a")),
        ("/dev/a:/dev/b:rw", Device(path_on_host="/dev/a", path_in_container="/dev/b", cgroup_permissions="rw")),
        ("/dev/a:w", Device(path_on_host="/dev/a", path_in_container="/dev/a", cgroup_permissions="w")),
        ("acme.com/nic=1", CDI),
    ],
)
def test_devices_are_written_as_for_docker_run(text: str, device: Device | DeviceRequest) -> None:
    assert parse_device(text) == device


@pytest.mark.parametrize("text", ["fuse", "/dev/a:x", "/dev/a:/dev/b:rw:r", "/dev/a:/dev/b:x", "", ":"])
def test_what_is_no_device(text: str) -> None:
    with pytest.raises(ValueError, match="is not a device"):
        parse_device(text)


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ("all", GPU),
        ("2", DeviceRequest(count=2, capabilities=(("gpu",),))),
        (
            '"device=0,GPU-1",driver=nvidia',
            DeviceRequest(driver="nvidia", device_ids=("0", "GPU-1"), capabilities=(("gpu",),)),
        ),
        ('count=1,"capabilities=compute,gpu"', DeviceRequest(count=1, capabilities=(("gpu", "compute"),))),
    ],
)
def test_gpus_are_written_as_for_docker_run(text: str, request_: DeviceRequest) -> None:
    assert parse_gpus(text) == request_


@pytest.mark.parametrize("text", ["many", "count=x", "count=1,device=0", "color=red", "1,2"])
def test_what_is_no_request_for_gpus(text: str) -> None:
    with pytest.raises(ValueError, match=r"count|expected"):
        parse_gpus(text)


def test_swap_may_be_without_a_limit() -> None:
    assert (parse_swap("-1"), parse_swap("1g")) == (-1, 1 << 30)
