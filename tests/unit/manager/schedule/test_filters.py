"""Filters that only some tasks need: plugins and platforms."""

from __future__ import annotations

import pytest

from common.model import Network
from common.model.container import ContainerSpec, DriverConfig, Mount, VolumeOptions
from common.model.network import NetworkSpec
from common.model.node import Plugin
from common.model.service import NetworkAttachmentConfig, Placement, Platform, TaskSpec
from tests.unit.manager.schedule.worlds import World, node, task

PLUGINS = (Plugin(type="Volume", name="local"), Plugin(type="Network", name="overlay"), Plugin(type="Log", name="gelf"))


def volume(driver: str, kind: str = "volume") -> TaskSpec:
    options = VolumeOptions(driver_config=DriverConfig(name=driver))
    return TaskSpec(container_spec=ContainerSpec(mounts=(Mount(type=kind, source="v", volume_options=options),)))


def network() -> TaskSpec:
    return TaskSpec(networks=(NetworkAttachmentConfig(target="net"),))


def log(driver: str) -> TaskSpec:
    return TaskSpec(log_driver=DriverConfig(name=driver))


@pytest.mark.parametrize(
    ("spec", "driver"), [(volume("nfs"), "nfs"), (network(), "macvlan"), (log("fluentd"), "fluentd")]
)
def test_a_missing_driver_rules_a_node_out(spec: TaskSpec, driver: str):
    macvlan = Network(id="net", spec=NetworkSpec(name="net", driver=DriverConfig(name="macvlan")))
    world = World(node("a", plugins=PLUGINS), macvlan, task("t", spec=spec))
    world.decide()
    assert world.error_of("t") == f"no suitable node (missing plugin on 1 node: {driver})"


@pytest.mark.parametrize("spec", [volume("local"), volume("nfs", kind="bind"), log("gelf"), log("none"), log("")])
def test_a_driver_that_the_engine_has_is_fine(spec: TaskSpec):
    world = World(node("a", plugins=PLUGINS), task("t", spec=spec))
    world.decide()
    assert world.nodes_of() == ["a"]


def test_the_clusters_own_networks_need_no_plugin():
    overlay = Network(id="net", spec=NetworkSpec(name="net", driver=DriverConfig(name="overlay")))
    world = World(node("a", plugins=(Plugin(type="Network", name="bridge"),)), overlay, task("t", spec=network()))
    world.decide()
    assert world.nodes_of() == ["a"]


def test_an_engine_that_lists_no_drivers_of_a_kind_is_accepted():
    world = World(node("a"), task("t", spec=volume("nfs")))
    world.decide()
    assert world.nodes_of() == ["a"]


def test_a_plugins_latest_tag_is_its_name():
    plugin = Plugin(type="Volume", name="vieux/sshfs:latest")
    world = World(node("a", plugins=(plugin,)), task("t", spec=volume("vieux/sshfs")))
    world.decide()
    assert world.nodes_of() == ["a"]


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        ((), True),
        ((Platform(os="linux", architecture="amd64"),), True),
        ((Platform(os="linux"),), True),
        ((Platform(),), True),
        ((Platform(os="linux", architecture="arm64"),), False),
        ((Platform(os="windows", architecture="amd64"),), False),
        ((Platform(os="windows"), Platform(os="linux", architecture="x86_64")), True),
    ],
)
def test_one_of_the_images_platforms_must_be_the_nodes(wanted: tuple[Platform, ...], fits: bool):
    here = Platform(os="linux", architecture="x86_64")
    world = World(node("a", platform=here), task("t", spec=TaskSpec(placement=Placement(platforms=wanted))))
    world.decide()
    expected = "" if fits else "no suitable node (unsupported platform on 1 node)"
    assert world.error_of("t") == expected


def test_dual_stack_tasks_go_to_nodes_with_ipv6_containers():
    both = Network(id="net", spec=NetworkSpec(name="net", ipv6_enabled=True))
    world = World(node("a", ipv6=False), node("b"), both, task("t", spec=network()))
    world.decide()
    assert world.nodes_of() == ["b"]
    world = World(node("a", ipv6=False), both, task("t", spec=network()))
    world.decide()
    assert world.error_of("t") == "no suitable node (no IPv6 for containers on 1 node)"


def test_encrypted_network_tasks_go_to_capable_nodes():
    options = DriverConfig(name="overlay", options={"encrypted": ""})
    secret = Network(id="net", spec=NetworkSpec(name="net", driver=options))
    world = World(node("a"), node("b", encryption="wireguard-go"), secret, task("t", spec=network()))
    world.decide()
    assert world.nodes_of() == ["b"]
    world = World(node("a"), node("b"), secret, task("t", spec=network()))
    world.decide()
    assert world.error_of("t") == "no suitable node (no encrypted networks on 2 nodes)"
