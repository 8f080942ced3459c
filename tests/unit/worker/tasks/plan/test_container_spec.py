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
from worker.interfaces import Attachment, NetworkEndpoint
from worker.tasks.plan.container_spec import create_body, expand_templates, security_options

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
