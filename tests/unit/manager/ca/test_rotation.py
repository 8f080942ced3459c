"""Which step of a root's replacement is next: never before every member has taken the one before, and to an end."""

from __future__ import annotations

import random
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import FailedPrecondition
from common.model import ClientCertificate, Cluster, Node, RootKey, StoredObject
from common.model.authority import RotationPhase
from common.model.node import ManagerStatus, NodeSpec
from common.tls import root_digest
from common.wire.token import parse_token
from manager.ca.authority import create_root
from manager.ca.rotation import (
    REVOKER,
    awaited,
    begin,
    decide,
    has_newest,
    managed_step,
    root_of,
    trusts_newest,
    turn,
)
from manager.ca.tokens import new_tokens
from manager.store.levels import ROOT_OF_MANAGERS
from manager.store.tables import Tables
from manager.store.transaction import Transaction

NOW = 1_700_000_000.0
OLD, NEW = create_root("c1", NOW), create_root("c1", NOW)
RNG = random.Random(1)


class World:
    """A state, changed by transactions."""

    def __init__(self, *nodes: Node) -> None:
        self.tables = Tables()
        tokens = new_tokens(root_digest(OLD.certificate), RNG)
        self.now = NOW
        self.put(OLD, Cluster(id="c1", join_tokens=tokens, root_certificate=OLD.certificate.decode()), *nodes)

    def put(self, *values: StoredObject) -> None:
        self.now += 1
        tx = Transaction(self.tables, self.now)
        for value in values:
            tx.put(value)
        tx.merge()
        self.tables.index += 1

    @property
    def root(self) -> RootKey:
        root = root_of(self.tables)
        assert root is not None
        return root

    def decide(self) -> bool:
        decision = decide(self.tables, self.now, RNG)
        self.put(*decision.put)
        return bool(decision)

    def take_step(self, node: Node) -> None:
        """Let a node have a certificate of the present step, as far as managers let workers."""
        step = self.root.step
        if node.manager_status is not None:
            status = msgspec.structs.replace(node.manager_status, certificate_step=step)
            node = msgspec.structs.replace(node, manager_status=status)
        self.put(msgspec.structs.replace(node, certificate_step=managed_step(self.tables)))


def manager(*, agent: bool = False) -> Node:
    return Node(id="m", manager_status=ManagerStatus(), agent=agent, certificate_serials=("1",) if agent else ())


def worker(name: str) -> Node:
    return Node(id=name, agent=True, certificate_serials=("1",))


def _rounds(world: World, order: random.Random) -> Iterator[str]:
    """Name all nodes, each time in another order, for as long as any two rounds take a step, and one more."""
    names = [node.id for node in world.tables.nodes]
    for _ in range(8):
        order.shuffle(names)
        yield from names


@settings(deadline=None)
@given(st.integers(0, 5), st.booleans(), st.randoms(use_true_random=False))
def test_it_ends_and_never_leaves_a_member_behind(workers: int, agent: bool, order: random.Random) -> None:
    world = World(manager(agent=agent), *(worker(f"w{number}") for number in range(workers)))
    world.put(begin(world.tables, NEW))
    for node_id in _rounds(world, order):
        before, late = world.root, list(awaited(world.tables))
        if world.decide():
            assert not late
            assert world.root.step == before.step + 1
        if world.root.phase is RotationPhase.ISSUE:  # whoever may connect now believes what the others show
            assert all(trusts_newest(world.root, each.certificate_step) or each.left for each in world.tables.nodes)
        node = world.tables.nodes.get(node_id)
        assert node is not None
        world.take_step(node)
    assert world.root.phase is RotationPhase.NONE
    assert (world.root.certificate, world.root.key) == (NEW.certificate, NEW.key)
    assert (world.root.next_certificate, world.root.next_key) == (b"", b"")
    for node in world.tables.nodes:
        assert has_newest(world.root, node.certificate_step) or node.left
    assert world.tables.cluster.root_certificate == NEW.certificate.decode()
    assert parse_token(world.tables.cluster.join_tokens.worker).pins(NEW.certificate)
    assert not world.decide()


def test_workers_take_no_step_before_their_manager() -> None:
    world = World(manager(), worker("w"))
    world.put(begin(world.tables, NEW))
    assert (world.root.step, managed_step(world.tables)) == (1, 0)
    world.take_step(world.tables.nodes.get("m"))  # type: ignore[arg-type]
    assert managed_step(world.tables) == 1


def test_who_is_removed_or_has_left_is_not_waited_for() -> None:
    world = World(manager(), worker("w"), worker("gone"))
    world.put(begin(world.tables, NEW))
    for node_id in ("m", "w"):
        world.take_step(world.tables.nodes.get(node_id))  # type: ignore[arg-type]
    assert not world.decide()
    assert [node.id for node in awaited(world.tables)] == ["gone"]
    world.put(msgspec.structs.replace(worker("gone"), certificate_serials=()))
    assert world.decide()
    assert world.root.phase is RotationPhase.ISSUE


def test_clients_of_the_old_root_alone_are_revoked() -> None:
    world = World(manager())
    world.put(ClientCertificate(id="a", name="old"), begin(world.tables, NEW))
    world.take_step(world.tables.nodes.get("m"))  # type: ignore[arg-type]
    assert world.decide()
    world.put(ClientCertificate(id="b", name="new"))
    world.take_step(world.tables.nodes.get("m"))  # type: ignore[arg-type]
    assert world.decide()
    revoked = {each.name: each.revoked_by for each in world.tables.client_certificates}
    assert revoked == {"old": REVOKER, "new": ""}


def test_a_second_rotation_is_refused_while_one_is_on() -> None:
    world = World(manager(), worker("w"))
    world.put(begin(world.tables, NEW))
    with pytest.raises(FailedPrecondition, match="being rotated already; waiting for certificates of"):
        begin(world.tables, create_root("c1", NOW))


def several(count: int) -> list[Node]:
    return [
        Node(id=f"m{number}", spec=NodeSpec(role="manager"), manager_status=ManagerStatus(), etcd_addr="h:2380")
        for number in range(count)
    ]


def test_several_managers_must_all_know_how() -> None:
    world = World(*several(2))
    with pytest.raises(FailedPrecondition, match="before every manager runs this release"):
        begin(world.tables, NEW)
    world.put(msgspec.structs.replace(world.tables.cluster, store_level=ROOT_OF_MANAGERS))
    world.put(begin(world.tables, NEW))
    assert world.root.phase is RotationPhase.TRUST


def test_managers_take_steps_in_turn_and_the_leader_last() -> None:
    world = World(*several(3))
    world.put(msgspec.structs.replace(world.tables.cluster, store_level=ROOT_OF_MANAGERS))
    world.put(begin(world.tables, NEW))
    order = []
    while node_id := turn(world.tables, "m0"):
        order.append(node_id)
        world.take_step(world.tables.nodes.get(node_id))  # type: ignore[arg-type]
    assert order == ["m1", "m2", "m0"]


@settings(deadline=None)
@given(st.integers(1, 5), st.randoms(use_true_random=False))
def test_managers_always_believe_what_the_others_show(count: int, order: random.Random) -> None:
    """Each shows what it took last, and believes what it took last: whatever the order, all can speak with all."""
    world = World(*several(count), worker("w"))
    world.put(msgspec.structs.replace(world.tables.cluster, store_level=ROOT_OF_MANAGERS))
    names = [node.id for node in world.tables.nodes]
    shown = dict.fromkeys(names, OLD.certificate)
    believed = dict.fromkeys(names, OLD.certificate)
    world.put(begin(world.tables, NEW))
    phases = []
    for node_id in _rounds(world, order):
        if world.decide():
            phases.append(world.root.phase)
        node = world.tables.nodes.get(node_id)
        assert node is not None
        world.take_step(node)
        shown[node_id], believed[node_id] = world.root.certificate, world.root.trusted
        assert all(shown[one] in believed[other] for one in names for other in names if "w" not in (one, other))
    assert phases == [RotationPhase.ISSUE, RotationPhase.RETIRE, RotationPhase.NONE]
    assert world.root.trusted == NEW.certificate
