"""Whatever a worker says, what is believed of it is text that does nothing, numbers that are some, and its own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, ip_address

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.clock import rfc3339
from common.model import Task
from common.model.node import NodeDescription
from common.model.task import TaskStatus
from common.wire.codec import decode, encode
from common.wire.message import Message
from common.wire.messages import MESH, MESH6, Hello, JoinRequest, StatusReport, TaskReport
from manager.dispatch.assignments import backend_of, peer_of
from manager.dispatch.intake.form import MessageContext
from manager.dispatch.intake.messages import FORMS, validate
from manager.store.observation import observe
from tests.fakes import validation
from tests.fakes.structs import Scalars, structs
from tests.fakes.validation import CONTAINER, FOREIGN, IN_OTHER, IN_OWN, MESH_OTHER, MESH_OWN, NET, NOW, OTHER, OWN

LONGEST = 16_384
MOST = 100_000
TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        [
            "",
            "\x1b]0;x\x07",
            "a\nb",
            "\u202egnp",
            "x" * 20_000,
            "; flush ruleset",
            "../../etc/passwd",
            "127.0.0.1",
            "0.0.0.0",
            "not-an-ip",
            "fe80::1%eth0",
            "::ffff:10.0.0.1",
            "192.0.2.1",
            "192.0.2.2",
            "192.0.2.99",
            "2001:db8::1",
            "2001:db8::2",
            "2001:db8::99",
            IN_OWN,
            IN_OTHER,
            MESH_OWN,
            MESH_OTHER,
            validation.mesh6(MESH_OWN),
            validation.mesh6(MESH_OTHER),
            NET,
            FOREIGN,
            MESH,
            MESH6,
            OWN,
            OTHER,
            "t1",
            "t2",
            "a1",
            "a2",
            "host-1",
            "host-2",
            CONTAINER,
            "sha256:" + "a" * 64,
            "registry.example.com",
            "orc-network-net",
            "00-orc-gw",
            "tcp",
            "host",
            "bind",
            "/etc/resolv.conf",
            "/var/lib/x/a1",
        ]
    ),
)
INTEGERS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-2, 10), st.sampled_from([80, 8080, 65536, 2**31]))
FLOATS = st.one_of(st.floats(), st.floats(NOW - 10_000, NOW + 10_000), st.sampled_from([math.nan, math.inf, 1e300]))


HOSTILE = Scalars(TEXTS, INTEGERS, FLOATS)


def leaves(value: object) -> Iterator[object]:
    match value:
        case msgspec.Struct():
            for name in value.__struct_fields__:
                yield from leaves(getattr(value, name))
        case tuple():
            assert len(value) <= MOST
            for each in value:
                yield from leaves(each)
        case dict():
            assert len(value) <= MOST
            for key, each in value.items():
                yield from leaves(key)
                yield from leaves(each)
        case _:
            yield value


def check_leaves(message: object) -> None:
    for leaf in leaves(message):
        match leaf:
            case str():
                assert len(leaf) <= LONGEST
                assert leaf.isprintable()
            case bytes():
                assert len(leaf) <= LONGEST
            case float():
                assert math.isfinite(leaf)


@pytest.mark.parametrize("kind", FORMS, ids=lambda kind: kind.__name__)
def test_accepted_reports_are_bounded_printable_and_finite(kind: type[Message]) -> None:
    tables = validation.world()

    @settings(max_examples=80, deadline=None)
    @given(structs(kind, HOSTILE), st.sampled_from(["", "192.0.2.99", "127.0.0.1", "nonsense"]), st.booleans())
    def check(message: Message, source: str, loopback: bool) -> None:
        node = None if kind is JoinRequest else tables.nodes.get(OWN)
        context = MessageContext(tables, NOW, node, source, loopback)
        believed = validate(message, context)
        for refusal in context.refusals:
            assert refusal.reason.isprintable()
            assert len(refusal.reason) < 500
        if believed is not None:
            check_leaves(believed)
            assert decode(encode(believed)).message == believed  # type: ignore[arg-type]
            again = MessageContext(tables, NOW, node, source, loopback)
            assert validate(believed, again) == believed

    check()


@settings(max_examples=200, deadline=None)
@given(structs(TaskStatus, HOSTILE))
def test_a_backend_has_addresses_of_its_own_nodes_part_alone(status: TaskStatus) -> None:
    tables = validation.world()
    task, context = tables.tasks.get("t1"), MessageContext(tables, NOW, tables.nodes.get(OWN))
    assert task is not None
    believed = validate(StatusReport(tasks=(TaskReport(task_id="t1", status=status),)), context)
    assert believed is not None
    for each in believed.tasks:
        changed = observe(task, each.status, NOW)
        assert changed is None or isinstance(changed, Task)
        assert rfc3339(each.status.timestamp)
        backend = backend_of(changed) if changed is not None else None
        for network_id, address in (backend.addresses if backend is not None else {}).items():
            parsed = ip_address(address)
            assert str(parsed) == address
            if network_id == MESH6:
                assert address == validation.mesh6(each.status.addresses[MESH])
                continue
            assert isinstance(parsed, IPv4Address)
            part = {NET: "10.1.16.0/24", MESH: "10.240.1.0/24"}[network_id]
            assert parsed in IPv4Network(part)


@settings(max_examples=200, deadline=None)
@given(structs(NodeDescription, HOSTILE), TEXTS)
def test_a_peer_has_addresses_that_nobody_else_has(description: NodeDescription, address: str) -> None:
    tables = validation.world()
    node, other = tables.nodes.get(OWN), tables.nodes.get(OTHER)
    assert node is not None
    assert other is not None
    context = MessageContext(tables, NOW, node, "203.0.113.9")
    believed = validate(Hello(protocol=3, description=description, advertise_addr=address), context)
    assert believed is not None
    status = msgspec.structs.replace(node.status, addr=believed.advertise_addr or node.status.addr)
    peer = peer_of(msgspec.structs.replace(node, description=believed.description, status=status))
    assert peer is not None
    assert believed.description.hostname == "host-1"
    theirs = {other.status.addr, *other.description.ipv6_addresses}
    for each in (peer.addr, *peer.ipv6_addresses):
        parsed = ip_address(each)
        assert str(parsed) == each
        assert "%" not in each
        assert each not in theirs
        assert not any((parsed.is_loopback, parsed.is_unspecified, parsed.is_multicast, parsed.is_link_local))
