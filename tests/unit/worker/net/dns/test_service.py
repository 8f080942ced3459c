import asyncio
import random
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from common.errors import ResourceExhausted
from common.model.container import ConfigReference, ContainerSpec, DnsConfig, FileTarget, Mount
from common.model.network import IpamConfig, Network, NetworkSpec
from common.model.service import TaskSpec
from common.model.task import Task
from common.wire.messages import MESH
from worker.assignments import AssignmentSet
from worker.intake.network import NetworkIntake
from worker.net.dns.resolv_conf import parse
from worker.net.dns.service import ClusterDns
from worker.net.plan.topology import HostFacts, topology

NETWORK = "n" * 25
GATEWAY, MESH_GATEWAY = "127.0.16.1", "127.240.1.1"
# The pool is in loopback's range, so that its gateways can be bound.
SET = AssignmentSet(
    node_number=1,
    address_pools=("127.0.0.0/8",),
    networks={
        NETWORK: Network(
            id=NETWORK,
            spec=NetworkSpec(name="blue"),
            subnets=(IpamConfig(subnet="127.0.0.0/16"),),
            leases={"here": "127.0.16.0/24"},
        )
    },
)
WORLD = NetworkIntake("here").world(SET)


def task(name="t1", **container):
    return Task(id=name, service_id="s", spec=TaskSpec(container_spec=ContainerSpec(**container)))


@pytest.fixture
async def dns(tmp_path):
    host = tmp_path / "host.conf"
    host.write_text("nameserver 192.0.2.1\nsearch corp.example\n")
    with_port_of_its_own = 0
    made = ClusterDns(tmp_path / "resolv", random.Random(1), host_file=host, port=with_port_of_its_own)
    running = asyncio.create_task(made.run())
    await asyncio.sleep(0)
    yield made
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


def planned(dns, **attached):
    dns.update(WORLD, topology(WORLD, HostFacts(node_id="here")), attached, ())


async def test_containers_ask_in_the_gateway_network_if_they_are_in_it(dns):
    assert dns.nameserver({MESH, NETWORK}) == "", "nobody listens before there is a plan"
    planned(dns)
    assert dns.nameserver({MESH, NETWORK}) == MESH_GATEWAY
    assert dns.nameserver({NETWORK}) == GATEWAY
    assert dns.nameserver({"another"}) == ""
    assert dns.nameserver(()) == ""


async def test_a_tasks_file_is_there_until_its_release(dns, tmp_path):
    (mount,) = dns.resolv_conf(task(dns_config=DnsConfig(search=("mine",))), GATEWAY)
    assert (mount.type, mount.target, mount.read_only) == ("bind", "/etc/resolv.conf", False)
    said = parse(Path(mount.source).read_text())
    assert (said.nameservers, said.search) == ((GATEWAY,), ("mine",))
    dns.release("t1")
    dns.release("t1")
    assert not Path(mount.source).exists()
    dns.resolv_conf(task("t2"), GATEWAY)
    dns.remove_all()
    assert not (tmp_path / "resolv").exists()


async def test_no_container_starts_without_the_names_of_its_networks(dns, tmp_path, monkeypatch):
    """On a full disk it would get Docker's file, and find nobody. One that has its file keeps it."""
    (mount,) = dns.resolv_conf(task(), GATEWAY)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("worker.net.dns.resolv_conf.os.pwrite", full)
    assert dns.resolv_conf(task(), MESH_GATEWAY) == (mount,)
    with pytest.raises(ResourceExhausted, match=r"resolv.conf, /.*/t2: No space left on device: free some space"):
        dns.resolv_conf(task("t2"), GATEWAY)


@pytest.mark.parametrize(
    "own",
    [
        {"mounts": (Mount(type="bind", source="/x", target="/etc/resolv.conf"),)},
        {"configs": (ConfigReference(config_id="c", file=FileTarget(name="/etc/resolv.conf")),)},
    ],
)
async def test_a_file_that_a_service_brings_is_what_its_tasks_get(dns, own):
    assert dns.resolv_conf(task(**own), GATEWAY) == ()


async def test_files_follow_the_host_after_a_restart_too(dns, tmp_path):
    (mount,) = dns.resolv_conf(task(), GATEWAY)
    host = tmp_path / "host.conf"
    again = ClusterDns(tmp_path / "resolv", random.Random(1), host_file=host)
    again.readmit(task())
    again.readmit(task("without-a-file"))
    host.write_text("search other.example\n")
    again.check()
    assert parse(Path(mount.source).read_text()).search == ("other.example",)
    assert not (tmp_path / "resolv" / "without-a-file").exists()


async def test_a_view_has_its_tasks_servers_once_the_task_is_known(dns):
    address = {NETWORK: IPv4Address("127.0.16.9")}
    planned(dns, t1=address)
    assert dns._zones.view("127.0.16.9").nameservers == ()
    dns.admit(task(dns_config=DnsConfig(nameservers=("9.9.9.9",))))
    planned(dns, t1=address)
    assert dns._zones.view("127.0.16.9").nameservers == ("9.9.9.9",)
    assert IPv4Network("127.0.0.0/16") in dns._zones.ranges
    assert dns.lacks() == ()
