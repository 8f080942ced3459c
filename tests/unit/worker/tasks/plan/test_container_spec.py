import json

import pytest
from msgspec.structs import replace

from common.clock import SECOND
from common.model.container import (
    ContainerSpec,
    CredentialSpec,
    DriverConfig,
    Mount,
    Privileges,
    Seccomp,
    SelinuxContext,
    VolumeOptions,
)
from common.model.engine_options import Device, DeviceRequest, EngineOptions, ThrottleDevice, with_options
from common.model.node import NodeDescription
from common.model.service import (
    DiscreteResourceSpec,
    GenericResource,
    Limits,
    NamedResourceSpec,
    Platform,
    PortConfig,
    Resources,
)
from common.spec.gotemplate import TemplateError
from tests.unit.worker.worlds import make_task
from worker.interfaces.networks import Attachment, NetworkEndpoint
from worker.tasks.plan.container_spec import create_body, expand_templates, host_config, security_options

NODE = NodeDescription(hostname="h1", platform=Platform(os="linux", architecture="x86_64"))


def body(task, attachment=None, files=None):
    return create_body(task, expand_templates(task, "node1", NODE), "node1", attachment or Attachment(), files or {})


def test_what_is_not_set_is_left_to_the_image_and_the_engine():
    made = body(make_task())
    assert made.keys() == {"Image", "Labels", "StopTimeout", "HostConfig"}
    assert made["HostConfig"] == {"RestartPolicy": {"Name": "no"}}
    assert made["StopTimeout"] == 10


@pytest.mark.parametrize(("pids", "limit"), [(9, 9), (0, None), (-1, None)])
def test_no_or_fewer_processes_are_no_limit(pids, limit):
    task = make_task()
    spec = replace(task.spec, resources=Resources(limits=Limits(pids=pids)))
    assert body(replace(task, spec=spec))["HostConfig"].get("PidsLimit") == limit


def test_a_grace_of_nothing_is_told():
    assert body(make_task(container=ContainerSpec(stop_grace_period=0)))["StopTimeout"] == 0
    assert body(make_task(container=ContainerSpec(stop_grace_period=90 * SECOND)))["StopTimeout"] == 90


@pytest.mark.parametrize(("init", "written"), [(None, {}), (True, {"Init": True}), (False, {"Init": False})])
def test_init_may_be_unset_on_or_off(init, written):
    host = body(make_task(container=ContainerSpec(init=init)))["HostConfig"]
    assert {name: value for name, value in host.items() if name == "Init"} == written


def test_templates_of_a_global_task_have_the_node_for_a_slot():
    task = replace(make_task(container=ContainerSpec(hostname="{{.Task.Slot}}-{{.Node.Platform.OS}}")), slot=0)
    assert body(task)["Hostname"] == "node1-linux"


def test_templates_in_mounts_reach_volume_labels_and_options():
    options = VolumeOptions(
        labels={"of": "{{.Task.ID}}"},
        driver_config=DriverConfig(name="nfs", options={"device": ":/{{.Service.Name}}"}),
    )
    mount = Mount(source="v-{{.Task.Slot}}", target="/{{.Service.Name}}", volume_options=options)
    (made,) = body(make_task(container=ContainerSpec(mounts=(mount,))))["HostConfig"]["Mounts"]
    assert made == {
        "Type": "volume",
        "Source": "v-1",
        "Target": "/web",
        "VolumeOptions": {
            "Labels": {"of": "t1"},
            "DriverConfig": {"Name": "nfs", "Options": {"device": ":/web"}},
        },
    }


def test_a_wrong_template_names_its_field():
    with pytest.raises(TemplateError, match=r"cannot expand the environment 'X=\{\{.Nope\}\}'"):
        body(make_task(container=ContainerSpec(env=("X={{.Nope}}",))))


def test_networks_keep_their_order_and_fix_addresses():
    attachment = Attachment(
        endpoints=(
            NetworkEndpoint(network="br1", network_id="n1", address="10.0.0.5", address6="fd00::5", aliases=("db",)),
            NetworkEndpoint(network="br2", network_id="n2", driver_opts={"k": "v"}),
        ),
        dns=("10.0.0.1",),
        mounts=(Mount(type="bind", source="/resolv", target="/etc/resolv.conf", read_only=True),),
        extra_hosts=("me:10.0.0.5",),
    )
    made = body(make_task(), attachment)
    assert made["NetworkingConfig"]["EndpointsConfig"] == {
        "br1": {"Aliases": ["db"], "IPAMConfig": {"IPv4Address": "10.0.0.5", "IPv6Address": "fd00::5"}},
        "br2": {"DriverOpts": {"k": "v"}},
    }
    host = made["HostConfig"]
    assert (host["NetworkMode"], host["Dns"], host["ExtraHosts"]) == ("br1", ["10.0.0.1"], ["me:10.0.0.5"])
    assert host["Mounts"] == [{"Type": "bind", "Source": "/resolv", "Target": "/etc/resolv.conf", "ReadOnly": True}]


def test_a_host_without_a_name_or_an_address_is_left_out():
    made = body(make_task(container=ContainerSpec(hosts=("10.0.0.5 db  sql", "web:10.0.0.6", "", "  "))))
    assert made["HostConfig"]["ExtraHosts"] == ["db:10.0.0.5", "sql:10.0.0.5", "web:10.0.0.6"]


def test_only_host_mode_ports_are_bound():
    ports = (
        PortConfig(target_port=80, published_port=8080, publish_mode="host", host_ip="127.0.0.1"),
        PortConfig(target_port=53, protocol="udp", publish_mode="host"),
        PortConfig(target_port=443, published_port=443),
    )
    made = body(make_task(ports=ports))
    assert made["ExposedPorts"] == {"80/tcp": {}, "53/udp": {}}
    assert made["HostConfig"]["PortBindings"] == {
        "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}],
        "53/udp": [{"HostIp": "", "HostPort": ""}],
    }


def test_files_are_bound_read_only():
    made = body(make_task(), files={"/run/secrets/key": "/mem/t1/0"})
    assert made["HostConfig"]["Mounts"] == [
        {"Type": "bind", "Source": "/mem/t1/0", "Target": "/run/secrets/key", "ReadOnly": True}
    ]


def test_devices_are_told_in_the_environment():
    resources = (
        GenericResource(named_resource_spec=NamedResourceSpec(kind="gpu", value="u1")),
        GenericResource(named_resource_spec=NamedResourceSpec(kind="gpu", value="u2")),
        GenericResource(discrete_resource_spec=DiscreteResourceSpec(kind="ssd", value=3)),
    )
    made = body(make_task(generic_resources=resources))
    assert made["Env"] == ["DOCKER_RESOURCE_GPU=u1,u2", "DOCKER_RESOURCE_SSD=3"]


def test_our_labels_win_over_the_users():
    labels = body(make_task(container=ContainerSpec(labels={"com.docker.swarm.task.id": "forged", "a": "b"})))["Labels"]
    assert (labels["com.docker.swarm.task.id"], labels["a"]) == ("t1", "b")


@pytest.mark.parametrize(
    ("privileges", "options"),
    [
        (None, []),
        (Privileges(), []),
        (Privileges(no_new_privileges=True), ["no-new-privileges=true"]),
        (Privileges(seccomp=Seccomp(mode="custom", profile=b'{"x":1}')), ['seccomp={"x":1}']),
        (Privileges(seccomp=Seccomp(mode="default")), []),
        (Privileges(selinux_context=SelinuxContext(disable=True, user="u")), ["label=disable"]),
        (Privileges(selinux_context=SelinuxContext(user="u", level="s0")), ["label=user:u", "label=level:s0"]),
        (Privileges(credential_spec=CredentialSpec(file="spec.json")), ["credentialspec=file://spec.json"]),
        (Privileges(credential_spec=CredentialSpec(registry="key")), ["credentialspec=registry://key"]),
    ],
)
def test_privileges(privileges, options):
    assert security_options(privileges) == options


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
