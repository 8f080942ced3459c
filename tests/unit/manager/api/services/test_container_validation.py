from typing import Any

import msgspec
import pytest

from common.errors import InvalidArgument
from common.model.container import ContainerSpec
from common.model.service import Global, Limits, Replicated, Resources, ServiceMode, ServiceSpec, TaskSpec
from manager.api.services.container_validation import check_engine_options

GIB = 1 << 30


def spec(
    options: dict[str, Any], *, memory: int = 0, hostname: str = "", mode: ServiceMode | None = None
) -> ServiceSpec:
    labels = {"swarm.x.engine": msgspec.json.encode(options).decode()}
    template = TaskSpec(
        container_spec=ContainerSpec(image="x", labels=labels, hostname=hostname),
        resources=Resources(limits=Limits(memory_bytes=memory)),
    )
    return ServiceSpec(name="web", task_template=template, mode=mode or ServiceMode())


def device(**changes: str) -> dict[str, Any]:
    return {"Devices": [{"PathOnHost": "/dev/a", "PathInContainer": "/dev/a", **changes}]}


@pytest.mark.parametrize(
    "options",
    [
        {},
        device(CgroupPermissions="mr"),
        {"DeviceRequests": [{"Driver": "cdi", "DeviceIDs": ["a/b=c"]}, {"Count": -1, "Capabilities": [["gpu"]]}]},
        {"DeviceCgroupRules": ["c 188:* rwm", "a *:* r"]},
        {"IpcMode": "shareable", "PidMode": "host", "CgroupnsMode": "private"},
        {"CpusetCpus": "0-2,5", "CpusetMems": "0", "CpuShares": 2},
        {"SecurityOpt": ["no-new-privileges:true", "label:user:USER", "apparmor=unconfined", 'seccomp={"a":\n1}']},
        {"MemorySwap": -1, "MemorySwappiness": 0},
        {"BlkioWeight": 10, "BlkioDeviceReadBps": [{"Path": "/dev/sda", "Rate": 1}]},
        {"MacAddress": "02:42:ac:11:65:43", "Domainname": "a-b.example.com", "Runtime": "io.containerd.runc.v2"},
        {"UTSMode": "host", "StorageOpt": {"size": "1G"}},
    ],
)
def test_what_engines_take_passes(options: dict[str, Any]) -> None:
    check_engine_options(spec(options))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (device(PathOnHost="dev"), "Devices: expected an absolute path"),
        (device(PathInContainer=""), "Devices: expected an absolute path"),
        (device(CgroupPermissions="rr"), "Devices.CgroupPermissions: expected some of r, w and m; got 'rr'"),
        ({"DeviceRequests": [{"Count": -2, "Driver": "x"}]}, "DeviceRequests.Count"),
        ({"DeviceRequests": [{"Count": 1}]}, "a Driver or Capabilities"),
        ({"DeviceRequests": [{"Count": 1, "DeviceIDs": ["0"], "Driver": "x"}]}, "a Count or DeviceIDs; got both"),
        ({"DeviceCgroupRules": ["x"]}, "DeviceCgroupRules"),
        ({"PidMode": "container:abc"}, "pid mode: expected host; got 'container:abc'"),
        ({"IpcMode": "x"}, "ipc mode: expected none or private or shareable or host"),
        ({"CpusetCpus": "a"}, "CpusetCpus"),
        ({"CpuShares": 1}, "CpuShares"),
        ({"BlkioWeight": 5}, "BlkioWeight: expected 0 (the default) or 10 to 1000; got 5"),
        ({"BlkioDeviceReadBps": [{"Path": "/dev/a", "Rate": 0}]}, "a rate above 0"),
        ({"SecurityOpt": ["seccomp=/etc/profile.json"]}, "the profile itself as JSON"),
        ({"SecurityOpt": ["trusted"]}, "SecurityOpt: expected no-new-privileges"),
        ({"MemorySwap": GIB}, "at least the limit of memory, which is not set"),
        ({"MemorySwappiness": 101}, "MemorySwappiness: expected 0 to 100"),
        ({"MacAddress": "x"}, "MacAddress"),
        ({"Runtime": "a b"}, "Runtime"),
        ({"Domainname": "-x"}, "Domainname"),
        ({"ShmSize": -1}, "ShmSize"),
        ({"Privilege": True}, "label swarm.x.engine: expected the engine's options as JSON (Object contains unknown"),
    ],
)
def test_what_no_engine_takes_is_refused_by_name(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_engine_options(spec(options))
    assert words in caught.value.message


def test_an_unknown_label_of_a_container_is_refused() -> None:
    container = ContainerSpec(image="x", labels={"swarm.x.engin": "{}"})
    with pytest.raises(InvalidArgument, match='did you mean "engine"'):
        check_engine_options(ServiceSpec(task_template=TaskSpec(container_spec=container)))


def test_what_the_rest_of_the_specification_contradicts() -> None:
    check_engine_options(spec({"MemorySwap": GIB}, memory=GIB))
    with pytest.raises(InvalidArgument, match="MemorySwap"):
        check_engine_options(spec({"MemorySwap": GIB - 1}, memory=GIB))
    with pytest.raises(InvalidArgument, match="uts mode"):
        check_engine_options(spec({"UTSMode": "host"}, hostname="web"))
    address = {"MacAddress": "02:42:ac:11:65:43"}
    check_engine_options(spec(address, mode=ServiceMode(replicated=Replicated(replicas=1))))
    for mode in (ServiceMode(replicated=Replicated(replicas=2)), ServiceMode(global_=Global())):
        with pytest.raises(InvalidArgument, match="MacAddress: expected a service of one replica"):
            check_engine_options(spec(address, mode=mode))
