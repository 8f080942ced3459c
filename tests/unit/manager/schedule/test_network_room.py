"""Tasks go only to nodes that have a part of their networks, or can get one."""

from __future__ import annotations

from common.model import Network, NetworkAttachment
from common.model.attachment import AttachedNetwork
from common.model.network import IpamConfig, NetworkSpec
from common.model.service import NetworkAttachmentConfig, TaskSpec
from manager.store.changes import Change
from tests.unit.manager.schedule.worlds import World, node, running, task, tasks

PART = "10.1.0.8/29"


def net(name: str = "tiny", subnet: str = "10.1.0.0/28", **leases: str) -> Network:
    """Make a network; the usual one has one part."""
    return Network(id=name, spec=NetworkSpec(name=name), subnets=(IpamConfig(subnet=subnet),), vni=1, leases=leases)


def joining(*networks: str) -> TaskSpec:
    return TaskSpec(networks=tuple(NetworkAttachmentConfig(target=name) for name in networks))


IN_TINY = joining("tiny")


def test_the_node_that_has_the_only_part_takes_all():
    world = World(net(b=PART), node("a"), node("b"), *tasks(3, spec=IN_TINY))
    world.decide()
    assert world.nodes_of() == ["b", "b", "b"]


def test_two_services_in_one_pass_do_not_share_the_last_part():
    world = World(net(), node("a"), node("b"), *tasks(2, "one", IN_TINY), *tasks(2, "two", IN_TINY))
    world.decide()
    assert len({*world.nodes_of("one"), *world.nodes_of("two")}) == 1


def test_a_promised_network_part_is_not_there_for_others():
    world = World(net(), node("a"), node("b"), running("old", "b", spec=IN_TINY), task("t", spec=IN_TINY))
    world.decide()
    assert world.nodes_of() == ["b"]


def test_a_plain_container_claims_a_part_too():
    plain = NetworkAttachment(id="x", node_id="b", networks=(AttachedNetwork(target="tiny"),))
    world = World(net(), node("a"), node("b"), plain, task("t", spec=IN_TINY))
    world.decide()
    assert world.nodes_of() == ["b"]


def test_a_part_has_room_for_so_many_tasks_as_it_has_addresses():
    """Of eight one is the part's, one its bridge's, and the last one of a subnet is nobody's."""
    world = World(net(subnet="10.1.0.0/27", a="10.1.0.16/29", b="10.1.0.24/29"), node("a"), node("b"))
    world.put(*tasks(12, spec=IN_TINY))
    world.decide()
    assert world.nodes_of() == ["a"] * 6 + ["b"] * 5
    reason = "no suitable node (no addresses of network tiny left for 2 nodes)"
    assert [task.status.err for task in world.view.tasks if not task.node_id] == [reason]


def test_a_plain_container_that_ends_makes_room():
    plain = [NetworkAttachment(id=f"x{i}", node_id="b", networks=(AttachedNetwork(target="tiny"),)) for i in range(5)]
    world = World(net(b=PART), node("b"), *plain, task("t", spec=IN_TINY))
    world.decide()
    assert world.nodes_of() == []
    assert world.load.apply(Change(old=plain[0], new=None))
    world.view.of(NetworkAttachment).discard("x0")
    world.decide()
    assert world.nodes_of() == ["b"]


def test_who_finds_no_part_says_of_which_network():
    world = World(
        net(away=PART), net("wide", "10.2.0.0/16"), node("a"), node("b"), node("away", state="down"),
        task("t", spec=joining("wide", "tiny")),
    )  # fmt: skip
    world.decide()
    reason = "no suitable node (no addresses of network tiny left for 2 nodes; 1 node not available for new tasks)"
    assert world.error_of("t") == reason


def test_a_global_task_names_the_network_that_its_node_lacks():
    world = World(
        net(b=PART), node("a"), node("b"), *(task(f"on-{name}", spec=IN_TINY, slot=0, node_id=name) for name in "ab")
    )
    world.decide()
    assert world.nodes_of() == ["b"]
    assert world.error_of("on-a") == "no suitable node (no addresses of network tiny left for 1 node)"


def test_a_part_that_was_given_back_lets_tasks_be_tried_again():
    world = World(net(gone=PART), node("a"), node("b"), task("t", spec=IN_TINY))
    world.decide()
    assert world.nodes_of() == []
    assert world.load.apply(Change(old=net(gone=PART), new=net()))
    world.view.of(Network).put(net())
    world.decide()
    assert world.nodes_of() == ["a"]


def test_a_large_network_asks_no_node_for_anything():
    world = World(net("wide", "10.2.0.0/16"), node("a"), node("b"), task("t", spec=joining("wide", "nowhere", "host")))
    assert not world.load.networks["wide"].is_short(2)
    world.decide()
    assert world.nodes_of() == ["a"]
