"""The allocator through random lives of networks, services, nodes and tasks: nothing leaks, nothing is had twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from ipaddress import IPv4Network, ip_address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from common.errors import InvalidArgument, ResourceExhausted
from common.model import Cluster, Network, Node, Service, StoredObject, Task, TaskState, TaskStatus
from common.model.network import IpamConfig, IpamOptions, NetworkSpec
from common.model.node import NodeStatus
from common.model.service import EndpointSpec, NetworkAttachmentConfig, PortConfig, ServiceSpec, TaskSpec
from common.net.addressing import layout, vip_range
from manager.allocate.allocator import allocate, takes_part
from manager.allocate.attachments import LEASE_LINGER
from manager.allocate.subnets import allocate_network
from manager.domain.network_parts import address_range
from manager.domain.port_conflicts import check_ports
from manager.loops.allocation import all_keys, keys_of
from manager.store.changes import Change
from manager.store.tables import Tables

POOL = "10.9.0.0/22"
SUBNETS = ["", "", "10.9.1.0/24", "10.9.1.128/25", "192.168.0.0/27", "192.168.0.0/24"]
PORTS = [0, 0, 80, 443, 30000, 30001]


class Lives(RuleBasedStateMachine):
    """A store of few networks, services and nodes; after every change the allocator decides what it concerns."""

    def __init__(self) -> None:
        super().__init__()
        self.view = Tables()
        self.view.of(Cluster).put(Cluster(id="c", default_addr_pool=(POOL,)))
        self.now = 1000.0
        self.alarms: dict[str, float] = {}
        self.born = 0
        self.asleep = False

    @initialize()
    def begin(self) -> None:
        for _ in range(2):
            self.create_network("", by_api=False)
            self.join(agent=True)

    @rule()
    def the_manager_stops(self) -> None:
        self.asleep = True

    @rule()
    def a_new_manager_goes_over_everything(self) -> None:
        self.asleep = False
        self.follow(list(dict.fromkeys(all_keys(self.view))))

    def commit(self, old: StoredObject | None, new: StoredObject | None) -> None:
        """Store a change, and let the allocator follow it, unless nobody is there."""
        change = Change(old=old, new=new)
        self.store(change)
        if not self.asleep:
            self.follow(list(keys_of(change, self.view)))

    def follow(self, keys: list[str]) -> None:
        """Decide, and what concerns the allocator of its own changes too, to the end."""
        while keys:
            changes = self.decide(keys)
            keys = list({key: None for change in changes for key in keys_of(change, self.view)})

    def store(self, change: Change) -> None:
        table = self.view.of(type(change.current))
        if change.new is None:
            table.discard(change.current.id)
        else:
            table.put(change.new)

    def decide(self, keys: list[str]) -> list[Change]:
        decision = allocate(self.view, keys, self.now)
        self.alarms.update(decision.wake_at)
        changes = [Change(old=self.view.of(type(new)).get(new.id), new=new) for new in decision.put]
        for change in changes:
            self.store(change)
        return changes

    def some(self, table: Iterable[Any]) -> st.SearchStrategy:
        return st.sampled_from(sorted(table, key=lambda value: value.id))

    def new_id(self) -> str:
        self.born += 1
        return f"id{self.born}"

    @precondition(lambda self: len(self.view.networks) < 4)
    @rule(subnet=st.sampled_from(SUBNETS), by_api=st.booleans())
    def create_network(self, subnet: str, by_api: bool) -> None:
        configs = (IpamConfig(subnet=subnet),) if subnet else ()
        network = Network(id=self.new_id(), spec=NetworkSpec(name=f"net{self.born}", ipam=IpamOptions(configs=configs)))
        try:
            allocated = allocate_network(self.view, network)
        except (InvalidArgument, ResourceExhausted):
            return
        self.commit(None, allocated if by_api else network)

    @precondition(lambda self: len(self.view.nodes) < 4)
    @rule(agent=st.booleans())
    def join(self, agent: bool) -> None:
        self.commit(None, Node(id=self.new_id(), agent=agent, status=NodeStatus(state="ready")))

    def spec(self, data: st.DataObject, name: str) -> ServiceSpec:
        ids = sorted(network.id for network in self.view.networks)
        networks = data.draw(st.lists(st.sampled_from(ids), min_size=1, max_size=3, unique=True)) if ids else []
        ports = data.draw(st.lists(st.sampled_from(PORTS), max_size=3))
        mode = data.draw(st.sampled_from(["vip", "vip", "dnsrr"]))
        return ServiceSpec(
            name=name,
            task_template=TaskSpec(networks=tuple(NetworkAttachmentConfig(target=each) for each in networks)),
            endpoint_spec=EndpointSpec(
                mode=mode, ports=tuple(PortConfig(target_port=n, published_port=p) for n, p in enumerate(ports))
            ),
        )

    @precondition(lambda self: len(self.view.services) < 6)
    @rule(data=st.data())
    def create_service(self, data: st.DataObject) -> None:
        service_id = self.new_id()
        self.put_service(None, Service(id=service_id, spec=self.spec(data, service_id)))

    @precondition(lambda self: bool(self.view.services))
    @rule(data=st.data())
    def update_service(self, data: st.DataObject) -> None:
        old = data.draw(self.some(self.view.services))
        self.put_service(old, replace(old, spec=self.spec(data, old.name)))

    def put_service(self, old: Service | None, new: Service) -> None:
        try:
            check_ports(self.view, new)
        except InvalidArgument:
            return
        self.commit(old, new)

    @precondition(lambda self: bool(self.view.services))
    @rule(data=st.data())
    def create_task(self, data: st.DataObject) -> None:
        service = data.draw(self.some(self.view.services))
        task = Task(
            id=self.new_id(),
            service_id=service.id,
            spec=service.spec.task_template,
            desired_state=TaskState.RUNNING,
        )
        self.commit(None, task)

    @precondition(lambda self: bool(self.view.tasks and self.view.nodes))
    @rule(data=st.data())
    def move_task_on(self, data: st.DataObject) -> None:
        old = data.draw(self.some(self.view.tasks))
        if old.status.state == TaskState.NEW:
            return
        node = data.draw(self.some(self.view.nodes))
        state = {TaskState.PENDING: TaskState.ASSIGNED, TaskState.ASSIGNED: TaskState.RUNNING}.get(
            old.status.state, TaskState.SHUTDOWN
        )
        node_id = old.node_id or node.id
        addresses = old.status.addresses
        if state == TaskState.RUNNING:
            networks = [network for n in old.spec.networks if (network := self.view.networks.get(n.target)) is not None]
            addresses = {n.id: str(IPv4Network(n.leases[node_id])[2]) for n in networks if node_id in n.leases}
        status = TaskStatus(state=state, timestamp=self.now, addresses=addresses)
        self.commit(old, replace(old, node_id=node_id, status=status))

    @precondition(lambda self: bool(self.view.nodes))
    @rule(data=st.data(), state=st.sampled_from(["ready", "down"]))
    def node_turns(self, data: st.DataObject, state: str) -> None:
        old = data.draw(self.some(self.view.nodes))
        self.commit(old, replace(old, status=NodeStatus(state=state)))

    @precondition(lambda self: bool(self.view.services))
    @rule(data=st.data())
    def remove_service(self, data: st.DataObject) -> None:
        self.commit(data.draw(self.some(self.view.services)), None)

    @precondition(lambda self: bool(self.view.tasks))
    @rule(data=st.data())
    def remove_task(self, data: st.DataObject) -> None:
        self.commit(data.draw(self.some(self.view.tasks)), None)

    @precondition(lambda self: bool(self.view.nodes))
    @rule(data=st.data())
    def remove_node(self, data: st.DataObject) -> None:
        self.commit(data.draw(self.some(self.view.nodes)), None)

    @precondition(lambda self: bool(self.view.networks))
    @rule(data=st.data())
    def remove_network(self, data: st.DataObject) -> None:
        """Remove a network that no service uses, as the API allows; tasks on the way out may still have it."""
        network = data.draw(self.some(self.view.networks))
        specs = [service.spec.task_template for service in self.view.services]
        if not any(each.target == network.id for spec in specs for each in spec.networks):
            self.commit(network, None)

    @rule(seconds=st.sampled_from([1.0, 10.0, LEASE_LINGER]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        due = [key for key, instant in self.alarms.items() if instant <= self.now]
        for key in due:
            del self.alarms[key]
        if not self.asleep:
            self.follow(due)

    @invariant()
    def no_two_networks_meet(self) -> None:
        subnets = [IPv4Network(c.subnet) for n in self.view.networks for c in n.subnets]
        subnets += layout([POOL]).reserved()
        assert not any(a.overlaps(b) for i, a in enumerate(subnets) for b in subnets[:i])
        numbers = Counter(
            n.vni for n in self.view.networks if n.vni
        )  # those made while no manager is there have none yet
        assert max(numbers.values(), default=0) <= 1

    @invariant()
    def no_two_services_share(self) -> None:
        vips = Counter((v.network_id, v.addr) for s in self.view.services if s.endpoint for v in s.endpoint.virtual_ips)
        ports = Counter(
            (p.protocol, p.published_port) for s in self.view.services if s.endpoint for p in s.endpoint.ports
        )
        assert max([*vips.values(), *ports.values()], default=0) <= 1

    @invariant()
    def virtual_addresses_lie_where_they_belong(self) -> None:
        for service in self.view.services:
            for vip in service.endpoint.virtual_ips if service.endpoint else ():
                network = self.view.networks.get(vip.network_id)
                if network is not None:  # a service that is removed with its network is on its way
                    assert ip_address(vip.addr) in vip_range(address_range(network))
                    assert vip.addr != network.subnets[0].gateway

    @invariant()
    def no_two_nodes_share(self) -> None:
        numbers = Counter(node.number for node in self.view.nodes if node.number)
        assert max(numbers.values(), default=0) <= 1
        for network in self.view.networks:
            if network.leases:
                area = address_range(network)
                parts = [vip_range(area), *map(IPv4Network, network.leases.values())]
                assert all(part.subnet_of(area) for part in parts)
                assert not any(a.overlaps(b) for i, a in enumerate(parts) for b in parts[:i])

    @precondition(lambda self: not self.asleep)
    @invariant()
    def every_task_has_its_part(self) -> None:
        for task in self.view.tasks:
            for network in self.view.networks:
                if takes_part(task, network.id) and task.node_id in self.view.nodes:
                    waits = f"lease/{network.id}/{task.node_id}" in self.alarms
                    assert task.node_id in network.leases or waits

    @precondition(lambda self: not self.asleep)
    @invariant()
    def a_task_goes_on_only_with_all_it_needs(self) -> None:
        for task in self.view.tasks:
            if task.status.state != TaskState.NEW:
                continue
            assert task.status.err, "what is left behind says why"
            assert f"task/{task.id}" in self.alarms

    @precondition(lambda self: not self.asleep)
    @invariant()
    def what_is_gone_leaves_nothing(self) -> None:
        for network in self.view.networks:
            assert set(network.leases) <= {node.id for node in self.view.nodes}

    @precondition(lambda self: not self.asleep)
    @invariant()
    def a_new_manager_has_nothing_to_add(self) -> None:
        """What could not be had is tried again in a while: it may be free by now."""
        keys = [key for key in dict.fromkeys(all_keys(self.view)) if key not in self.alarms]
        assert not allocate(self.view, keys, self.now).put

    def teardown(self) -> None:
        """With everything removed but the networks, a while later all leases are free again."""
        self.a_new_manager_goes_over_everything()
        for task in list(self.view.tasks):
            self.commit(task, None)
        for node in list(self.view.nodes):
            self.commit(node, replace(node, status=NodeStatus(state="ready")))
        for _ in range(3):
            self.time_passes(LEASE_LINGER)
        assert not any(task.placed for task in self.view.tasks)
        assert all(network.leases == {} for network in self.view.networks)


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["free", "had", "left"]), min_size=14, max_size=14))
def test_a_range_still_used_by_tasks_is_given_last(parts: list[str]) -> None:
    pool = IPv4Network("10.9.0.0/20")
    view = Tables()
    view.of(Cluster).put(Cluster(id="c", default_addr_pool=(str(pool),)))
    reserved = layout([str(pool)]).reserved()
    ranges = [part for part in pool.subnets(new_prefix=24) if not any(part.overlaps(each) for each in reserved)]
    by_kind: dict[str, list[IPv4Network]] = {"free": [], "had": [], "left": []}
    for part, kind in zip(ranges, parts, strict=False):
        by_kind[kind].append(part)
    for part in by_kind["had"]:
        view.of(Network).put(Network(id=str(part), subnets=(IpamConfig(subnet=str(part)),), vni=int(part[0])))
    for part in [*by_kind["had"], *by_kind["left"]]:
        spec = TaskSpec(networks=(NetworkAttachmentConfig(target=str(part)),))
        status = TaskStatus(state=TaskState.RUNNING, addresses={str(part): str(part[20])})
        view.of(Task).put(Task(id=str(part), node_id="n", spec=spec, status=status))
    wanted = [*by_kind["free"], *ranges[len(parts) :], *by_kind["left"]]
    if wanted:
        chosen = allocate_network(view, Network(id="new", spec=NetworkSpec(name="new")))
        assert chosen.subnets[0].subnet == str(wanted[0])
    else:
        with pytest.raises(ResourceExhausted):
            allocate_network(view, Network(id="new", spec=NetworkSpec(name="new")))
