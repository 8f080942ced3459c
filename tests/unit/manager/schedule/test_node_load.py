"""What is known of one node's load, task by task."""

from common.model import Task
from common.model.node import PlainContainers
from common.model.service import PortConfig, Reservations, Resources, TaskSpec
from manager.schedule.node_load import NodeLoad, host_ports


def task(task_id: str, host_ip: str = "", mode: str = "host") -> Task:
    reservations = Reservations(nano_cpus=5, memory_bytes=7)
    port = PortConfig(protocol="tcp", published_port=80, target_port=80, publish_mode=mode, host_ip=host_ip)
    return Task(id=task_id, spec=TaskSpec(resources=Resources(reservations=reservations)), ports=(port,))


def test_what_is_added_is_taken_away_again() -> None:
    load, empty = NodeLoad("n"), NodeLoad("n")
    load.hold(task("a"), 1)
    assert (load.tasks, load.cpu, load.memory) == (1, 5, 7)
    assert load != empty
    load.hold(task("a"), -1)
    assert load == empty


def test_plain_containers_take_the_place_of_those_before() -> None:
    load = NodeLoad("n")
    load.set_plain(PlainContainers(count=2, nano_cpus=10, memory_bytes=20))
    load.set_plain(PlainContainers(count=1, nano_cpus=4, memory_bytes=6))
    assert (load.total, load.cpu, load.memory) == (1, 4, 6)


def test_a_port_on_one_address_leaves_the_others() -> None:
    load, key = NodeLoad("n"), ("tcp", 80)
    load.hold(task("a", "10.0.0.1"), 1)
    assert load.port_taken(key, "10.0.0.1")
    assert not load.port_taken(key, "10.0.0.2")
    assert load.port_taken(key, "")
    assert not load.port_taken(("udp", 80), "")
    load.hold(task("b"), 1)
    assert load.port_taken(key, "10.0.0.2")


def test_ports_of_the_mesh_are_no_hosts() -> None:
    assert list(host_ports(task("a", mode="ingress"))) == []
    assert list(host_ports(task("a", "0.0.0.0"))) == [(("tcp", 80), "")]
