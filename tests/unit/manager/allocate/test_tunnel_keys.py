"""The keys of encrypted networks: who has some, for how long two generations are there, and what is told of them."""

from __future__ import annotations

import random

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from common.errors import FailedPrecondition
from common.model import Cluster, Network, Node, StoredObject
from common.model.container import DriverConfig
from common.model.network import NetworkSpec
from common.model.node import NodeStatus
from manager.allocate.tunnel_keys import KEY, LONGEST_OVERLAP, OVERLAP_SECONDS, ROTATE_SECONDS, keep_keys, rotate
from manager.store.changes import Decision
from manager.store.tables import Tables

NOW = 1_000_000.0


class World:
    """Two nodes with parts of an encrypted network, one with a part of a plain one."""

    def __init__(self) -> None:
        self.view = Tables()
        self.rng = random.Random(1)
        secret = NetworkSpec(name="secret", driver=DriverConfig(options={"encrypted": ""}))
        self.put(Cluster(id="c"))
        self.put(*(Node(id=name, agent=True, status=NodeStatus(state="ready")) for name in ("a", "b", "c")))
        self.put(Network(id="secret", spec=secret, leases={"a": "10.1.16.0/24", "b": "10.1.17.0/24"}))
        self.put(Network(id="plain", spec=NetworkSpec(name="plain"), leases={"c": "10.2.16.0/24"}))

    def put(self, *values: StoredObject) -> None:
        for value in values:
            self.view.of(type(value)).put(value)

    def decide(self, now: float) -> Decision:
        decision = keep_keys(self.view, now, self.rng)
        self.put(*decision.put)
        return decision

    def generations(self) -> dict[str, list[int]]:
        return {node.id: [key.generation for key in node.tunnel_keys] for node in self.view.nodes}

    def state(self, node_id: str, state: str) -> None:
        node = self.view.nodes.get(node_id)
        assert node is not None
        self.put(Node(id=node_id, agent=True, status=NodeStatus(state=state), tunnel_keys=node.tunnel_keys))


@pytest.fixture
def world() -> World:
    found = World()
    found.decide(NOW)
    return found


def test_each_node_pair_of_an_encrypted_network_gets_keys(world: World):
    assert world.generations() == {"a": [1], "b": [1], "c": []}
    keys = [key for node in world.view.nodes for key in node.tunnel_keys]
    assert len({key.private for key in keys}) == 2
    for key in keys:
        assert X25519PrivateKey.from_private_bytes(key.private).public_key().public_bytes_raw() == key.public


def test_what_is_in_order_is_left_alone(world: World):
    assert not world.decide(NOW + 1).put


def test_keys_rotate_by_age_and_both_generations_overlap(world: World):
    before = {node.id: node.tunnel_keys for node in world.view.nodes}
    assert world.decide(NOW + OVERLAP_SECONDS).wake_at == {KEY: NOW + ROTATE_SECONDS}
    rotated = world.decide(NOW + ROTATE_SECONDS)
    assert world.generations() == {"a": [1, 2], "b": [1, 2], "c": []}
    assert rotated.wake_at == {KEY: NOW + ROTATE_SECONDS + OVERLAP_SECONDS}
    assert all(node.tunnel_keys[:1] == before[node.id] for node in world.view.nodes)
    world.decide(NOW + ROTATE_SECONDS + OVERLAP_SECONDS)
    assert world.generations() == {"a": [2], "b": [2], "c": []}


def test_an_absent_node_keeps_the_old_keys_for_up_to_an_hour(world: World):
    rotated_at = NOW + ROTATE_SECONDS
    world.decide(rotated_at)
    world.state("b", "down")
    assert world.decide(rotated_at + OVERLAP_SECONDS).wake_at == {KEY: rotated_at + LONGEST_OVERLAP}
    assert world.generations()["a"] == [1, 2]
    world.state("b", "ready")
    world.decide(rotated_at + OVERLAP_SECONDS + 1)
    assert world.generations()["a"] == [2]


def test_who_comes_during_a_rotation_gets_the_newest_alone(world: World):
    world.decide(NOW + ROTATE_SECONDS)
    network = world.view.networks.get("secret")
    assert network is not None
    world.put(Network(id="secret", spec=network.spec, leases={**network.leases, "c": "10.1.18.0/24"}))
    world.decide(NOW + ROTATE_SECONDS + 1)
    assert world.generations() == {"a": [1, 2], "b": [1, 2], "c": [2]}


def test_keys_go_with_the_last_part(world: World):
    network = world.view.networks.get("secret")
    assert network is not None
    world.put(Network(id="secret", spec=network.spec, leases={"a": "10.1.16.0/24"}))
    world.decide(NOW + 1)
    assert world.generations() == {"a": [1], "b": [], "c": []}
    world.put(Network(id="secret", spec=network.spec))
    world.decide(NOW + 2)
    assert world.generations() == {"a": [], "b": [], "c": []}


def test_rotation_on_request_waits_for_the_one_before(world: World):
    world.put(rotate(world.view, NOW + 100))
    world.decide(NOW + 100)
    assert world.generations()["a"] == [1, 2]
    with pytest.raises(FailedPrecondition, match="try again in 50 s"):
        rotate(world.view, NOW + 110)
    world.decide(NOW + 100 + OVERLAP_SECONDS)
    assert rotate(world.view, NOW + 200).tunnel_generation == 3


def test_a_rotation_whose_keys_are_not_made_yet_is_not_finished(world: World):
    """A second one would skip a generation: the keys before it would be gone from all nodes at once."""
    world.put(rotate(world.view, NOW + 100))
    with pytest.raises(FailedPrecondition, match="try again in 60 s"):
        rotate(world.view, NOW + 100)


def test_while_a_node_is_away_it_is_said_what_is_waited_for(world: World):
    world.put(rotate(world.view, NOW + 100))
    world.decide(NOW + 100)
    world.state("b", "down")
    world.decide(NOW + 100 + OVERLAP_SECONDS)
    with pytest.raises(FailedPrecondition, match="encrypted network are connected, or in 3500 s"):
        rotate(world.view, NOW + 200)


def test_without_encrypted_networks_there_is_nothing_to_rotate():
    view = Tables()
    view.of(Cluster).put(Cluster(id="c"))
    assert keep_keys(view, NOW, random.Random(1)) == Decision()
    with pytest.raises(FailedPrecondition, match="no keys to rotate"):
        rotate(view, NOW)


def test_a_private_key_is_in_no_text(world: World):
    node = world.view.nodes.get("a")
    assert node is not None
    private = node.tunnel_keys[0].private
    assert repr(private) not in repr(node)
    assert private.hex() not in repr(node)
