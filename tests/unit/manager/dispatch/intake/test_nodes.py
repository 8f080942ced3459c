"""What is believed of what a worker says of its host."""

from __future__ import annotations

import math
from typing import Any

import pytest
from msgspec.structs import replace

from common.model.node import (
    EngineDescription,
    Joining,
    NodeDescription,
    NodeResources,
    NodeSpec,
    PlainContainers,
    Plugin,
)
from common.model.service import DiscreteResourceSpec, GenericResource, NamedResourceSpec, Platform
from common.wire.messages import PROTOCOL_VERSION, Hello, JoinRequest, NodeReport, RenewRequest
from tests.fakes.validation import OWN, node, validated

GPU = GenericResource(named_resource_spec=NamedResourceSpec(kind="gpu", value="GPU-8f7a"))
SSD = GenericResource(discrete_resource_spec=DiscreteResourceSpec(kind="ssd", value=3))
HONEST = NodeDescription(
    hostname="host-1",
    platform=Platform(architecture="x86_64", os="linux"),
    resources=NodeResources(nano_cpus=64_000_000_000, memory_bytes=1 << 40, generic_resources=(GPU, SSD)),
    engine=EngineDescription(
        engine_version="24.0.7, build 311b9ff",
        api_version="1.43",
        min_api_version="1.12",
        labels={"disk": "ssd", "note": "two words"},
        plugins=(Plugin(type="Network", name="overlay"),),
    ),
    lacks=("the kernel has no memory cgroup: memory limits do not work",),
    agent_version="0.1.0",
    encryption="wireguard",
    ipv6_addresses=("2001:db8::1",),
    plain=PlainContainers(count=3, nano_cpus=1, memory_bytes=5),
)


def said(description: NodeDescription, *more: Any) -> tuple[NodeDescription, dict[str, str]]:
    taken, refused = validated(NodeReport(description=description), *more)
    assert taken is not None
    return taken.description, refused


def test_an_honest_worker_is_believed_in_all() -> None:
    found, refused = said(HONEST)
    assert found is HONEST
    assert not refused


@pytest.mark.parametrize("name", ["host-2", "HOST-2", "evil", "", "a b", "x\x1b[2J", "x" * 5000])
def test_a_node_stays_what_it_joined_as(name: str) -> None:
    found, refused = said(replace(HONEST, hostname=name))
    assert found == HONEST
    why = refused.pop("NodeDescription.hostname")
    assert "joined as host-1" in why
    assert f"swarm-manager node update --hostname NEW {OWN}" in why
    assert why.isprintable()
    assert len(why) < 400
    assert not refused


def test_it_may_use_its_operators_name_or_its_own() -> None:
    named = node(OWN, 1, spec=NodeSpec(name="web-3"))
    for name in ("web-3", "host-1"):
        found, refused = said(replace(HONEST, hostname=name), named)
        assert (found.hostname, refused) == ("host-1", {})


def test_the_managers_own_node_is_called_as_its_worker_joined() -> None:
    joining = node(OWN, 1, joining=Joining(hostname="engine"))
    found, refused = said(replace(HONEST, hostname="engine"), joining)
    assert (found.hostname, refused) == ("engine", {})
    found, refused = said(replace(HONEST, hostname="other"), joining)
    assert (found.hostname, list(refused)) == ("engine", ["NodeDescription.hostname"])


def test_a_record_without_a_name_takes_the_first_that_can_be_one() -> None:
    nameless = node(OWN, 1, description=NodeDescription())
    assert said(NodeDescription(hostname="first"), nameless) == (NodeDescription(hostname="first"), {})
    found, refused = said(NodeDescription(hostname="no name"), nameless)
    assert (found.hostname, list(refused)) == ("", ["NodeDescription.hostname"])


@pytest.mark.parametrize(
    ("changed", "at"),
    [
        ({"platform": Platform(architecture="x86_64\n", os="linux")}, "Platform.architecture"),
        ({"resources": NodeResources(nano_cpus=-1)}, "NodeResources.nano_cpus"),
        ({"resources": NodeResources(memory_bytes=2**62)}, "NodeResources.memory_bytes"),
        ({"encryption": "rot13"}, "NodeDescription.encryption"),
        ({"engine": EngineDescription(labels={"a\x07": "b"})}, "EngineDescription.labels"),
        ({"engine": EngineDescription(labels={"a": "b" * 5000})}, "EngineDescription.labels"),
        ({"engine": EngineDescription(labels={str(i): "" for i in range(200)})}, "EngineDescription.labels"),
        ({"engine": EngineDescription(plugins=(Plugin(type="Network", name="over lay"),))}, "Plugin.name"),
        ({"engine": EngineDescription(plugins=(Plugin(type="x", name="y"),) * 600)}, "EngineDescription.plugins"),
        ({"plain": PlainContainers(count=-5)}, "PlainContainers.count"),
        ({"lacks": ("x",) * 1000}, "NodeDescription.lacks"),
    ],
)
def test_impossible_host_facts_are_left_out_and_the_rest_is_used(changed: dict[str, Any], at: str) -> None:
    found, refused = said(replace(HONEST, **changed))
    assert list(refused) == [at]
    assert found != replace(HONEST, **changed)
    (field,) = changed
    assert replace(found, **{field: getattr(HONEST, field)}) == HONEST


@pytest.mark.parametrize(
    "resource",
    [
        GenericResource(discrete_resource_spec=DiscreteResourceSpec(kind="ssd", value=-3)),
        GenericResource(discrete_resource_spec=DiscreteResourceSpec(kind="s sd", value=3)),
        GenericResource(named_resource_spec=NamedResourceSpec(kind="gpu", value="x" * 300)),
    ],
)
def test_of_generic_resources_those_are_left_out_that_cannot_be(resource: GenericResource) -> None:
    found, refused = said(replace(HONEST, resources=NodeResources(generic_resources=(GPU, resource, SSD))))
    assert found.resources.generic_resources == (GPU, SSD)
    assert len(refused) == 1


def test_sentences_are_cut_and_made_printable() -> None:
    found, refused = said(replace(HONEST, lacks=("a\x1b]0;b\x07" + "c" * 600,)))
    assert found.lacks == ("a�]0;b�" + "c" * 492 + "…",)
    assert not refused


@pytest.mark.parametrize("port", [-1, 65536, 2**40])
def test_images_are_served_at_a_port(port: int) -> None:
    taken, refused = validated(Hello(protocol=PROTOCOL_VERSION, description=HONEST, image_port=port))
    assert taken is not None
    assert (taken.image_port, list(refused)) == (0, ["Hello.image_port"])


def join(**fields: Any) -> list[str]:
    request = JoinRequest(**{"protocol": 1, "token": "t", "csr": b"c", "clock": 1.7e9, "hostname": "new", **fields})
    return list(validated(request, node_id="")[1])


def test_a_join_is_looked_at_alike() -> None:
    assert join(advertise_addr="192.0.2.77", labels={"a": "b"}, availability="drain", engine="ABCD:EFGH") == []
    assert join(advertise_addr="127.0.0.1") == ["JoinRequest.advertise_addr"]
    assert join(advertise_addr="192.0.2.2") == ["JoinRequest.advertise_addr"]
    assert join(hostname="x\x1b") == ["JoinRequest.hostname"]
    assert join(labels={"a b": "c", "d": "e\n"}) == ["JoinRequest.labels"]
    assert join(availability="") == ["JoinRequest.availability"]
    assert join(engine="x" * 300) == ["JoinRequest.engine"]
    assert join(csr=b"x" * 20_000) == ["JoinRequest.csr"]
    assert join(token="x" * 20_000) == ["JoinRequest.token"]


@pytest.mark.parametrize("clock", [math.nan, math.inf, -1.0, 1e300])
def test_a_clock_without_a_time_is_said_to_be_one(clock: float) -> None:
    assert join(clock=clock) == ["JoinRequest.clock"]


def test_a_request_for_a_certificate_is_not_large() -> None:
    assert validated(RenewRequest(csr=b"x" * 20_000)) == (
        None,
        {"RenewRequest.csr": "it has 20,000 bytes, of which 16,384 are allowed"},
    )
