"""Incremental assignments: after any changes, in any portions, a node holds exactly what the pure definition says."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from common.model import Cluster, Config, Network, Node, Secret, Service, StoredObject, Task, TaskState, TaskStatus
from common.model.attachment import AttachedEnd, AttachedNetwork, AttachmentStatus, NetworkAttachment
from common.model.container import ConfigReference, ContainerSpec, SecretReference
from common.model.network import NetworkSpec
from common.model.node import NodeStatus, TunnelKey
from common.model.secret import ConfigSpec, SecretSpec
from common.model.service import (
    Endpoint,
    NetworkAttachmentConfig,
    PortConfig,
    ServiceSpec,
    TaskSpec,
    VirtualIP,
)
from common.wire.messages import Assignments, Peer, ServiceEndpoint
from manager.dispatch import attachments
from manager.dispatch import feed as feed_module
from manager.dispatch.assignments import (
    attachment_endpoint,
    endpoint_of,
    is_assigned,
    needs_of,
    networks_of,
    peer_of,
    publishes,
    same_for_worker,
)
from manager.dispatch.directory import Directory
from manager.dispatch.feed import Feed
from manager.store.changes import ChangeSet
from manager.store.tables import Tables
from manager.store.transaction import Transaction
from manager.store.view import View

NODES = ["n1", "n2", "n3"]
STATES = [TaskState.PENDING, TaskState.ASSIGNED, TaskState.PREPARING, TaskState.RUNNING, TaskState.FAILED]
WANTED = [TaskState.READY, TaskState.RUNNING, TaskState.SHUTDOWN, TaskState.REMOVE]


class World:
    """Tables that random transactions change, and the change sets that nobody has heard of yet."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.tables = Tables()
        self.unheard: list[ChangeSet] = []
        self.tables.of(Cluster).put(Cluster(id="cluster1", default_addr_pool=("10.7.0.0/16",), data_path_port=5789))

    def some(self, *choices: str) -> list[str]:
        return [choice for choice in choices if self.rng.random() < 0.4]

    def change(self) -> None:
        tx = Transaction(self.tables, 1.0)
        for _ in range(self.rng.randint(1, 4)):
            self._change_one(tx)
        changes = tx.change_set()
        tx.merge()
        self.tables.index = changes.index
        self.unheard.append(changes)

    def _change_one(self, tx: Transaction) -> None:
        make = self.rng.choice(
            [*[self.task] * 3, *[self.guest] * 2, self.service, self.network, self.secret, self.config, self.node]
        )
        value = make(tx)
        if self.rng.random() < 0.2:
            tx.remove(value)
        else:
            tx.put(value)

    def task(self, tx: Transaction) -> StoredObject:
        number = self.rng.randrange(12)
        state = self.rng.choice(STATES)
        known = tx.tasks.get(f"t{number}")
        wanted = self.rng.choice(WANTED)
        addresses = {"net1": f"10.0.0.{self.rng.randrange(3)}"} if self.rng.random() < 0.7 else {}
        status = TaskStatus(state=state, addresses=addresses)
        if known is not None:
            return msgspec.structs.replace(
                known,
                status=max(known.status, status, key=lambda s: s.state),
                desired_state=max(known.desired_state, wanted),
            )
        container = ContainerSpec(
            secrets=tuple(SecretReference(secret_id=i) for i in self.some("sec1", "sec2")),
            configs=tuple(ConfigReference(config_id=i) for i in self.some("conf1")),
        )
        return Task(
            id=f"t{number}",
            service_id=f"s{number % 3}",
            slot=number,
            node_id=NODES[number % 3],
            spec=TaskSpec(container_spec=container, networks=self.attachments()),
            status=status,
            desired_state=wanted,
        )

    def keys(self) -> list[int]:
        return [i for i in (1, 2) if self.rng.random() < 0.4]

    def attachments(self) -> tuple[NetworkAttachmentConfig, ...]:
        return tuple(NetworkAttachmentConfig(target=i) for i in self.some("net1", "net2"))

    def guest(self, tx: Transaction) -> StoredObject:
        number = self.rng.randrange(4)
        ends = (AttachedEnd(network_id="net1", address=f"10.0.0.{self.rng.randrange(3)}"),)
        return NetworkAttachment(
            id=f"a{number}",
            node_id=NODES[number % 3],
            name=self.rng.choice(["box", "crate"]),
            networks=tuple(AttachedNetwork(target=i) for i in self.some("net1", "net2")),
            ended_at=float(self.rng.random() < 0.2),
            status=AttachmentStatus(running=self.rng.random() < 0.7, ends=ends),
        )

    def service(self, tx: Transaction) -> StoredObject:
        number = self.rng.randrange(3)
        mode = self.rng.choice(["ingress", "host"])
        ports = (PortConfig(target_port=80, published_port=8080, publish_mode=mode),)
        return Service(
            id=f"s{number}",
            spec=ServiceSpec(name=f"web{number}", task_template=TaskSpec(networks=self.attachments())),
            endpoint=Endpoint(
                ports=ports if self.rng.random() < 0.3 else (),
                virtual_ips=(VirtualIP(network_id="net1", addr=f"10.0.0.{self.rng.randrange(3)}"),),
            ),
        )

    def network(self, tx: Transaction) -> StoredObject:
        name = self.rng.choice(["net1", "net2"])
        return Network(id=name, spec=NetworkSpec(name=name), vni=self.rng.randrange(3))

    def secret(self, tx: Transaction) -> StoredObject:
        name = self.rng.choice(["sec1", "sec2"])
        return Secret(id=name, spec=SecretSpec(name=name, data=self.rng.randbytes(2)))

    def config(self, tx: Transaction) -> StoredObject:
        return Config(id="conf1", spec=ConfigSpec(name="conf1", data=self.rng.randbytes(2)))

    def node(self, tx: Transaction) -> StoredObject:
        name = self.rng.choice(NODES)
        return Node(
            id=name,
            agent=self.rng.random() < 0.8,
            number=self.rng.randrange(3),
            tunnel_keys=tuple(TunnelKey(generation=i, private=b"p", public=b"%d" % i) for i in self.keys()),
            status=NodeStatus(state=self.rng.choice(["ready", "down"]), addr=self.rng.choice(["", "10.9.9.9"])),
        )


@dataclass
class Replica:
    """What a worker holds after the messages it got, applied as the protocol says."""

    number: int = 0
    node_number: int = 0
    tunnel_keys: tuple[TunnelKey, ...] | None = None
    held: dict[str, dict[str, Any]] = field(default_factory=dict)

    def apply(self, message: Assignments) -> None:
        if message.complete:
            self.held = {}
            assert message.address_pools[:1] == ("10.7.0.0/16",)
            assert message.data_path_port == 5789
        else:
            assert message.applies_to == self.number
        assert message.results_in > self.number
        self.number = message.results_in
        self.node_number = message.node_number
        if message.tunnel_keys is not None:
            self.tunnel_keys = message.tunnel_keys
        for kind in ("tasks", "secrets", "configs", "networks", "attachments", "endpoints", "peers"):
            table = self.held.setdefault(kind, {})
            for value in getattr(message, kind):
                table[_key(value)] = value
            for key in getattr(message, f"removed_{kind}"):
                # What was never sent is never taken back, but for peers: what of them was sent is not kept.
                table.pop(key, None) if kind == "peers" else table.pop(key)


def _key(value: Any) -> str:
    return str(getattr(value, "id", None) or getattr(value, "service_id", None) or value.node_id)


@dataclass(frozen=True, slots=True)
class Assigned:
    """All that a node is to hold, by id."""

    tasks: Mapping[str, Task]
    secrets: Mapping[str, Secret]
    configs: Mapping[str, Config]
    networks: Mapping[str, Network]
    attachments: Mapping[str, NetworkAttachment]
    endpoints: Mapping[str, ServiceEndpoint]
    peers: Mapping[str, Peer]
    node_number: int = 0
    tunnel_keys: tuple[TunnelKey, ...] = ()


def assignment_set(view: View, node_id: str) -> Assigned:
    """Build a node's whole set from scratch: the definition that feeds must agree with."""
    tasks = {task.id: task for task in view.tasks.on_node(node_id) if is_assigned(task)}
    needs = [needs_of(task) for task in tasks.values()]
    own = {attachment.id: attachment for attachment in view.attachments.on_node(node_id) if attachment.live}
    on = {network_id for need in needs for network_id in need.networks}
    on |= {each.target for attachment in own.values() for each in attachment.networks}
    endpoints = {
        service.id: endpoint_of(view, service)
        for service in view.services
        if publishes(service) or not networks_of(service).isdisjoint(on)
    }
    endpoints |= {
        attachment.id: attachment_endpoint(view, attachment)
        for attachment in view.attachments
        if attachment.live and not attachments.networks_of(attachment).isdisjoint(on)
    }
    others = [node for node in view.nodes if node.id != node_id] if on or endpoints else []
    node = view.nodes.get(node_id)
    return Assigned(
        tasks=tasks,
        secrets={i: s for need in needs for i in need.secrets if (s := view.secrets.get(i))},
        configs={i: c for need in needs for i in need.configs if (c := view.configs.get(i))},
        networks={i: n for i in on if (n := view.networks.get(i))},
        attachments=own,
        endpoints=endpoints,
        peers={other.id: peer for other in others if (peer := peer_of(other))},
        node_number=node.number if node else 0,
        tunnel_keys=node.tunnel_keys if node else (),
    )


def assert_agrees(replica: Replica, tables: Tables, node_id: str) -> None:
    wanted = assignment_set(tables, node_id)
    held = replica.held
    assert set(held["tasks"]) == set(wanted.tasks)
    for task_id, task in wanted.tasks.items():
        assert same_for_worker(held["tasks"][task_id], task)
    assert set(held["attachments"]) == set(wanted.attachments)
    for name, attachment in wanted.attachments.items():
        assert attachments.same_for_worker(held["attachments"][name], attachment)
    for kind in ("secrets", "configs", "networks", "endpoints", "peers"):
        assert held[kind] == getattr(wanted, kind), kind
    assert replica.node_number == wanted.node_number
    assert replica.tunnel_keys == wanted.tunnel_keys


def test_a_lost_network_takes_what_the_directory_lags_behind_of() -> None:
    """A container left the network and came back; of that only the first is heard when a node loses the network."""
    tables, marks = Tables(), list[bool]()
    changes: list[ChangeSet] = []

    def put(value: StoredObject) -> None:
        tx = Transaction(tables, 1.0)
        tx.put(value)
        changes.append(tx.change_set())
        tx.merge()

    def hear() -> None:
        directory.mark_changes(changes.pop(0).changes)

    on, off = (AttachedNetwork(target="net1"),), ()
    container = NetworkAttachment(id="a1", node_id="n2", name="box", networks=on)
    task = Task(
        id="t1",
        node_id="n1",
        spec=TaskSpec(container_spec=ContainerSpec(), networks=(NetworkAttachmentConfig(target="net1"),)),
        status=TaskStatus(state=TaskState.RUNNING),
    )
    for value in (Cluster(id="c", default_addr_pool=("10.7.0.0/16",)), Network(id="net1"), container, task):
        put(value)
    directory = Directory(tables)
    feed = Feed("n1", tables, directory, lambda: marks.append(True))
    changes.clear()
    assert [each.service_id for message in feed.take() for each in message.endpoints] == ["a1"]
    put(msgspec.structs.replace(container, networks=off))
    put(msgspec.structs.replace(task, status=TaskStatus(state=TaskState.FAILED)))
    put(container)
    hear()
    assert feed.take() == [], "it is back already"
    hear()
    assert [each for message in feed.take() for each in message.removed_endpoints] == ["a1"]
    hear()
    assert feed.take() == []


def test_files_that_follow_a_set_are_in_messages_that_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "FILE_BYTES", 3)
    secrets = tuple(
        Secret(id=each, spec=SecretSpec(name=each, data=each.encode())) for each in ("1", "22", "3", "4444")
    )
    whole, *portions = feed_module._split_files(Assignments(complete=True, results_in=1, secrets=secrets))
    assert (whole.complete, whole.secrets) == (True, ())
    assert [[each.id for each in portion.secrets] for portion in portions] == [["1", "22"], ["3"], ["4444"]]


@settings(max_examples=200, deadline=None)
@example(182839, 3)
@given(st.integers(0, 2**32), st.sampled_from([3, 20_000]))
def test_increments_add_up_to_the_definition(seed: int, limit: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feed_module, "MAX_MARKS", limit)
        patch.setattr(feed_module, "FILE_BYTES", 3)
        _run(random.Random(seed))


def _run(rng: random.Random) -> None:
    world = World(rng)
    directory = Directory(world.tables)
    woken: set[str] = set()
    feeds: dict[str, Feed] = {}
    replicas: dict[str, Replica] = {}
    for _ in range(60):
        match rng.choice(["change", "change", "hear", "take", "connect", "lag"]):
            case "change":
                world.change()
            case "hear" if world.unheard:
                directory.mark_changes(world.unheard.pop(0).changes)
            case "take" if woken:
                node_id = rng.choice(sorted(woken))
                woken.discard(node_id)
                for message in feeds[node_id].take():
                    replicas[node_id].apply(message)
            case "connect":
                node_id = rng.choice(NODES)
                if node_id in feeds:
                    feeds[node_id].close()
                feeds[node_id] = Feed(node_id, world.tables, directory, lambda n=node_id: woken.add(n))  # type: ignore[misc]
                replicas[node_id] = Replica()
                feeds[node_id].start_over()
            case "lag" if rng.random() < 0.1:
                world.unheard.clear()
                directory.rebuild()
            case _:
                pass
    while world.unheard:
        directory.mark_changes(world.unheard.pop(0).changes)
    for node_id in sorted(woken):
        for message in feeds[node_id].take():
            replicas[node_id].apply(message)
    for node_id, replica in replicas.items():
        assert_agrees(replica, world.tables, node_id)
        assert feeds[node_id].take() == []
