"""What the allocator decides for services, nodes, tasks and leases."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from msgspec.structs import replace

from common.model import Cluster, Network, Node, Service, StoredObject, Task, TaskState, TaskStatus
from common.model.network import NetworkSpec
from common.model.node import NodeSpec, NodeStatus
from common.model.service import EndpointSpec, NetworkAttachmentConfig, PortConfig, ServiceSpec, TaskSpec
from manager.allocate.allocator import RETRY_SECONDS, allocate
from manager.allocate.attachments import DRAINED_LINGER, LEASE_LINGER
from manager.store.tables import Tables

NOW = 1000.0


def world(*values: StoredObject, pool: str = "10.0.0.0/8") -> Tables:
    view = Tables()
    for value in (Cluster(id="c", default_addr_pool=(pool,)), *values):
        view.of(type(value)).put(value)
    return view


def step(view: Tables, *keys: str, now: float = NOW):
    decision = allocate(view, keys, now)
    for value in decision.put:
        view.of(type(value)).put(value)
    return decision


def net(name: str = "net") -> Network:
    return Network(id=name, spec=NetworkSpec(name=name))


def on(*networks: str) -> TaskSpec:
    return TaskSpec(networks=tuple(NetworkAttachmentConfig(target=each) for each in networks))


def service(name: str, *networks: str, ports: tuple[PortConfig, ...] = (), mode: str = "vip") -> Service:
    spec = ServiceSpec(name=name, task_template=on(*networks), endpoint_spec=EndpointSpec(mode=mode, ports=ports))
    return Service(id=name, spec=spec)


def task(name: str, service_id: str, *networks: str, node_id: str = "", state: TaskState = TaskState.NEW) -> Task:
    return Task(
        id=name,
        service_id=service_id,
        spec=on(*networks),
        node_id=node_id,
        status=TaskStatus(state=state, timestamp=NOW),
        desired_state=TaskState.RUNNING,
    )


def node(name: str, state: str = "ready", **more: Any) -> Node:
    return Node(id=name, agent=True, status=NodeStatus(state=state), **more)


def test_a_new_task_brings_all_that_it_needs_into_being():
    open_port = PortConfig(target_port=80)
    view = world(net(), service("web", "net", ports=(open_port,)), task("t", "web", "net"))
    step(view, "task/t")
    got = view.tasks.get("t")
    assert (got.status.state, got.status.message) == (TaskState.PENDING, "pending task scheduling")
    assert got.ports == (replace(open_port, published_port=30000),)
    assert view.networks.get("net").subnets[0].subnet == "10.0.0.0/16"
    [vip] = view.services.get("web").endpoint.virtual_ips
    assert IPv4Address(vip.addr) in IPv4Network("10.0.0.0/20")


def test_a_task_without_its_network_says_why_and_is_retried():
    view = world(task("t", "web", "gone"))
    decision = step(view, "task/t")
    got = view.tasks.get("t")
    assert got.status.state == TaskState.NEW
    assert "network gone not found" in got.status.err
    assert decision.wake_at == {"task/t": NOW + RETRY_SECONDS}
    assert not step(view, "task/t"), "the same words are not written twice"


@pytest.mark.parametrize("name", ["bridge", "host", "none"])
def test_the_engines_own_networks_need_nothing(name: str):
    view = world(service("web", name), task("t", "web", name))
    step(view, "service/web", "task/t")
    assert view.tasks.get("t").status.state == TaskState.PENDING
    assert not view.services.get("web").endpoint.virtual_ips
    assert not step(view, "service/web")


def test_a_task_of_a_pool_used_up_says_so():
    view = world(*(net(f"n{i}") for i in range(4)), task("t", "web", "n3"), pool="10.0.0.0/24")
    step(view, *(f"network/n{i}" for i in range(4)))
    step(view, "task/t")
    assert "no free subnet is left" in view.tasks.get("t").status.err


def test_a_task_told_to_stop_before_it_began_is_left_alone():
    stopped = replace(task("t", "web"), desired_state=TaskState.SHUTDOWN)
    assert not step(world(stopped), "task/t")


def test_a_service_keeps_its_address_until_it_leaves_the_network():
    view = world(net("a"), net("b"), service("web", "a"))
    step(view, "service/web")
    [first] = view.services.get("web").endpoint.virtual_ips
    view.of(Service).put(replace(service("web", "a", "b"), endpoint=view.services.get("web").endpoint))
    step(view, "service/web")
    assert view.services.get("web").endpoint.virtual_ips[0] == first
    view.of(Service).put(replace(service("web", "b"), endpoint=view.services.get("web").endpoint))
    step(view, "service/web")
    assert [vip.network_id for vip in view.services.get("web").endpoint.virtual_ips] == ["b"]


def test_a_freed_virtual_address_is_not_reused_soon():
    """Somebody may still send it what was for the service before."""
    view = world(net())
    step(view, "network/net")
    freed: dict[str, float] = {}
    for number in range(1000):
        now = 1_790_000_000 + 0.4 * number
        view.of(Service).put(service(f"s{number}", "net"))
        step(view, f"service/s{number}", now=now)
        [vip] = view.services.get(f"s{number}").endpoint.virtual_ips
        assert now - freed.get(vip.addr, 0.0) > 20
        if number >= 6:
            [old] = view.services.get(f"s{number - 6}").endpoint.virtual_ips
            freed[old.addr] = now
            view.of(Service).discard(f"s{number - 6}")


def test_dnsrr_has_no_virtual_address():
    view = world(net(), service("web", "net", mode="dnsrr"))
    step(view, "service/web")
    assert view.services.get("web").endpoint.virtual_ips == ()
    assert not step(view, "service/web")


INGRESS = Network(id="ing", spec=NetworkSpec(name="ingress", ingress=True))


def test_a_service_with_mesh_ports_has_an_ingress_address_first():
    view = world(INGRESS, net(), service("web", "net", ports=(PortConfig(target_port=80),)))
    step(view, "service/web")
    vips = view.services.get("web").endpoint.virtual_ips
    assert [vip.network_id for vip in vips] == ["ing", "net"]
    assert IPv4Address(vips[0].addr) in IPv4Network("10.0.0.0/20")
    assert not step(view, "service/web")
    view.of(Service).put(replace(view.services.get("web"), spec=service("web", "net").spec))
    step(view, "service/web")
    assert view.services.get("web").endpoint.virtual_ips == vips[1:]


@pytest.mark.parametrize("mode", ["host", "ingress"])
def test_without_mesh_ports_or_room_there_is_no_ingress_address(mode: str):
    port = PortConfig(target_port=80, publish_mode=mode)
    view = world(*([INGRESS] if mode == "host" else []), service("web", ports=(port,)))
    step(view, "service/web")
    assert view.services.get("web").endpoint.virtual_ips == ()
    assert not step(view, "service/web")


def test_an_ingress_network_that_is_full_holds_nothing_up():
    published = [service(f"s{i}", ports=(PortConfig(target_port=80),)) for i in range(40)]
    view = world(INGRESS, *published, pool="10.0.0.0/24")
    decision = step(view, "network/ing", *(f"service/s{i}" for i in range(40)))
    with_address = [s for s in view.services if s.endpoint.virtual_ips]
    assert not decision.reasons
    assert 0 < len(with_address) < 40
    assert all(s.endpoint.ports[0].published_port for s in view.services)


def test_a_network_runs_out_of_virtual_addresses():
    view = world(net(), *(service(f"s{i}", "net") for i in range(15)), pool="10.0.0.0/24")
    decision = step(view, "network/net", *(f"service/s{i}" for i in range(15)))
    given = [s.endpoint.virtual_ips[0].addr for s in view.services if s.endpoint]
    subnet = IPv4Network(view.networks.get("net").subnets[0].subnet)
    assert len(set(given)) == len(given)
    assert all(IPv4Address(addr) in subnet for addr in given)
    assert all("has no virtual address left" in reason for reason in decision.reasons)
    assert len(given) + len(decision.reasons) == 15


def test_nodes_get_the_lowest_free_numbers():
    view = world(node("a", number=1), node("b", number=3), node("c"), node("d"), Node(id="manager"))
    step(view, "node/c", "node/d", "node/manager")
    assert {each.id: each.number for each in view.nodes} == {"a": 1, "b": 3, "c": 2, "d": 4, "manager": 0}


def test_a_pool_without_room_for_another_node_says_so():
    view = world(*(node(f"n{i}") for i in range(4)), pool="10.0.0.0/24")
    decision = step(view, *(f"node/n{i}" for i in range(4)))
    assert sorted(each.number for each in view.nodes) == [0, 1, 2, 3]
    assert "has room for 3 nodes" in decision.reasons[0]


@pytest.fixture
def leased() -> Tables:
    view = world(net(), node("n1"), task("t", "web", "net", node_id="n1", state=TaskState.ASSIGNED))
    step(view, "network/net", "lease/net/n1")
    assert view.networks.get("net").leases == {"n1": "10.0.16.0/24"}
    return view


def end(view: Tables) -> None:
    ended = replace(view.tasks.get("t"), status=TaskStatus(state=TaskState.SHUTDOWN, timestamp=NOW))
    view.of(Task).put(ended)


def test_a_part_is_kept_while_a_task_holds_it(leased: Tables):
    assert not step(leased, "lease/net/n1", now=NOW + 10 * LEASE_LINGER)


def test_a_part_is_given_back_some_time_after_the_last_task(leased: Tables):
    end(leased)
    decision = step(leased, "lease/net/n1")
    assert not decision
    assert decision.wake_at == {"lease/net/n1": NOW + LEASE_LINGER}
    step(leased, "lease/net/n1", now=NOW + LEASE_LINGER)
    assert leased.networks.get("net").leases == {}


def test_a_drained_node_gives_its_part_back_sooner(leased: Tables):
    """The tasks that it had may wait for it elsewhere."""
    end(leased)
    leased.of(Node).put(replace(leased.nodes.get("n1"), spec=NodeSpec(availability="drain")))
    assert step(leased, "lease/net/n1").wake_at == {"lease/net/n1": NOW + DRAINED_LINGER}
    step(leased, "lease/net/n1", now=NOW + DRAINED_LINGER)
    assert leased.networks.get("net").leases == {}


def test_a_node_that_is_away_keeps_its_part(leased: Tables):
    end(leased)
    leased.of(Node).put(node("n1", state="down"))
    assert not step(leased, "lease/net/n1", now=NOW + 10 * LEASE_LINGER)


def test_a_node_that_has_left_loses_its_part_at_once(leased: Tables):
    leased.of(Node).discard("n1")
    step(leased, "lease/net/n1")
    assert leased.networks.get("net").leases == {}
