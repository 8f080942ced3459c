import json

import pytest

from common.model.container import ContainerSpec, Privileges
from common.model.engineoptions import Device, DeviceRequest, EngineOptions, ThrottleDevice, with_options
from common.model.node import NodeDescription
from common.model.service import DiscreteResourceSpec, GenericResource, NamedResourceSpec
from tests.unit.worker.worlds import make_task
from worker.interfaces import Attachment
from worker.tasks.plan.container_spec import create_body, expand_templates, host_config


def named(kind: str, value: str) -> GenericResource:
    return GenericResource(named_resource_spec=NamedResourceSpec(kind=kind, value=value))


def test_options_are_written_as_the_engine_has_them() -> None:
    options = EngineOptions(
        privileged=True,
        pid_mode="host",
        uts_mode="host",
        cpuset_cpus="0-1",
        memory_swap=-1,
        memory_swappiness=0,
        devices=(Device(path_on_host="/dev/a", path_in_container="/dev/b"),),
        device_requests=(DeviceRequest(count=-1, capabilities=(("gpu", "compute"),)),),
        blkio_device_read_iops=(ThrottleDevice(path="/dev/sda", rate=10),),
        storage_opt={"size": "1G"},
    )
    assert json.loads(json.dumps(host_config(options, None, ()))) == {
        "Privileged": True,
        "PidMode": "host",
        "UTSMode": "host",
        "CpusetCpus": "0-1",
        "MemorySwap": -1,
        "MemorySwappiness": 0,
        "Devices": [{"PathOnHost": "/dev/a", "PathInContainer": "/dev/b", "CgroupPermissions": "rwm"}],
        "DeviceRequests": [{"Count": -1, "Capabilities": [["gpu", "compute"]]}],
        "BlkioDeviceReadIOps": [{"Path": "/dev/sda", "Rate": 10}],
        "StorageOpt": {"size": "1G"},
    }


def test_options_come_beside_what_the_docker_api_has() -> None:
    spec = with_options(
        ContainerSpec(privileges=Privileges(no_new_privileges=True), hostname="h", read_only=True),
        EngineOptions(security_opt=("label=type:x",), domainname="example.com", mac_address="02:42:ac:11:65:43"),
    )
    body = create_body(
        make_task(container=spec),
        expand_templates(make_task(container=spec), "n", NodeDescription()),
        "n",
        Attachment(),
        {},
    )
    assert body["HostConfig"]["SecurityOpt"] == ["no-new-privileges=true", "label=type:x"]
    assert body["HostConfig"]["ReadonlyRootfs"] is True
    assert (body["Hostname"], body["Domainname"], body["MacAddress"]) == ("h", "example.com", "02:42:ac:11:65:43")
    assert not {"Domainname", "MacAddress"} & body["HostConfig"].keys()


def test_unconfined_system_paths_are_sent_as_empty_lists() -> None:
    options = EngineOptions(security_opt=("systempaths=unconfined",))
    assert host_config(options, None, ()) == {"MaskedPaths": [], "ReadonlyPaths": []}


@pytest.mark.parametrize(
    ("given", "devices"),
    [
        ((named("tty", "/dev/ttyUSB0"), named("tty", "/dev/ttyUSB1")), ["/dev/ttyUSB0", "/dev/ttyUSB1"]),
        ((named("gpu", "GPU-1234"),), []),
        ((named("file", "/etc/shadow"),), []),
        ((GenericResource(discrete_resource_spec=DiscreteResourceSpec(kind="ssd", value=2)),), []),
    ],
)
def test_a_resource_named_by_its_device_gives_the_device(
    given: tuple[GenericResource, ...], devices: list[str]
) -> None:
    made = host_config(EngineOptions(), None, given).get("Devices", [])
    assert [device["PathOnHost"] for device in made] == devices
    assert all(device["CgroupPermissions"] == "rwm" for device in made)


def test_a_device_that_is_asked_for_stays_as_asked_for() -> None:
    asked = Device(path_on_host="/dev/ttyUSB0", path_in_container="/dev/modem", cgroup_permissions="rw")
    made = host_config(EngineOptions(devices=(asked,)), None, (named("tty", "/dev/ttyUSB0"),))
    assert [device["PathInContainer"] for device in made["Devices"]] == ["/dev/modem"]
