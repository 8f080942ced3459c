"""Whatever a message says, none of its texts gets into rules, arguments, paths or URLs, and it costs itself alone."""

import socket
from collections.abc import Collection, Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import InvalidArgument
from common.model.attachment import AttachedNetwork, NetworkAttachment
from common.model.container import ConfigReference, ContainerSpec, DriverConfig, FileTarget, SecretReference
from common.model.network import MTU
from common.model.node import NodeDescription, TunnelKey
from common.model.secret import Config, ConfigSpec, Secret, SecretSpec
from common.model.service import NetworkAttachmentConfig
from common.spec.gotemplate import TemplateError
from common.spec.task_templates import context
from common.wire.messages import MESH, MESH6, Backend, Peer, ServiceEndpoint
from tests.prop.hostile_sets import CANARY, TEXTS, made_hostile
from tests.unit.worker.net.worlds import BLUE, POOLS6, RED, backend, endpoint, facts, mesh6, network, port
from tests.unit.worker.worlds import make_task
from worker.assignments import AssignmentSet
from worker.engine.driver import DockerEngine
from worker.intake import Accepted, Intake
from worker.intake.identifiers import Unusable
from worker.net.dns.resolv_conf import ContainerFiles, HostResolution
from worker.net.plan import service_table
from worker.net.plan.host_plan import HostPlan, plan, purge
from worker.net.plan.nf_messages import batch
from worker.net.plan.ruleset import Nft, Ruleset, difference, whole
from worker.net.plan.topology import topology
from worker.net.resolve import messages
from worker.net.resolve.zones import Zones, zones_of
from worker.tasks.plan.files import Materials, task_files
from worker.tasks.tmpfs import TmpfsFiles
from worker.unmanaged import as_task

FACTS = facts(ipv6=True)
EVIL = "node3"
SECRET = "secret" + "0" * 19
FILES = ContainerSpec(
    secrets=(SecretReference(secret_id="s1", secret_name="key", file=FileTarget(name="key")),),
    configs=(ConfigReference(config_id="c1", config_name="conf", file=FileTarget(name="/etc/conf")),),
    hosts=("10.0.0.9 db",),
)
NETWORKS = (
    network(subnet6="fd00:1::/64"),
    network(RED, "10.2.0.0/16", labels={"a": "b"}),
    network(SECRET, "10.3.0.0/16", driver=DriverConfig(options={"encrypted": "", MTU: "1300"})),
)


def keys(node: int) -> dict[int, bytes]:
    return {1: bytes([node]) * 32, 2: bytes([node + 10]) * 32}


def peer(number: int) -> Peer:
    addresses = (f"2001:db8::{number}", f"2001:db8:1::{number}")
    return Peer(
        node_id=f"node{number}", number=number, addr=f"192.168.7.{number}", keys=keys(number), ipv6_addresses=addresses
    )


EVIL_TASK = Backend(
    task_id="evil1",
    slot=7,
    node_id=EVIL,
    addresses={BLUE: "10.1.18.9", SECRET: "10.3.18.9", MESH: "10.240.3.9", MESH6: mesh6(3, 9)},
    hostname="evil-1",
)
WEB = endpoint(backend(2, ipv6=True), backend(3, 2), ports=(port(), port(8081, 81, "udp"), port(8082, host_ip="::1")))
DB = endpoint(backend(4, 2), name="db", vip="10.1.0.10", aliases={BLUE: ("sql", "data.base")})
# A plain container on the evil node: the names are what its worker says.
PLAIN = ServiceEndpoint(
    service_id="plain1",
    name="plain",
    aliases={BLUE: ("c0ffee000000", "plain-host")},
    backends=(Backend(task_id="plain1", slot=0, node_id="", addresses={BLUE: "10.1.18.20"}),),
)
ATTACHMENT = NetworkAttachment(
    id="attached1", node_id="node1", name="mine", networks=(AttachedNetwork(target=BLUE, aliases=("x",)),)
)
TASK = make_task("task1", container=FILES, networks=(NetworkAttachmentConfig(target=BLUE, aliases=("web",)),))


def by(name: str, *values: Any) -> dict[str, Any]:
    return {getattr(value, name): value for value in values}


GOOD = AssignmentSet(
    node_number=1,
    address_pools=POOLS6,
    data_path_port=4789,
    tasks=by("id", TASK),
    attachments=by("id", ATTACHMENT),
    secrets={"s1": Secret(id="s1", spec=SecretSpec(name="key", data=b"x"))},
    configs={"c1": Config(id="c1", spec=ConfigSpec(name="conf", data=b"y"))},
    networks=by("id", *NETWORKS),
    endpoints=by("service_id", WEB, DB),
    peers=by("node_id", peer(2)),
    tunnel_keys=(TunnelKey(generation=1, private=b"p" * 32, public=b"q" * 32),),
)
WITH_EVIL = msgspec.structs.replace(WEB, backends=(*WEB.backends, EVIL_TASK))
WHOLE = replace(
    GOOD,
    endpoints={**GOOD.endpoints, **by("service_id", WITH_EVIL, PLAIN)},
    peers={**GOOD.peers, EVIL: peer(3)},
)
KINDS = ("tasks", "attachments", "secrets", "configs", "networks", "endpoints", "peers")


@pytest.fixture(autouse=True)
def _no_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(host: object, *_: object, **__: object) -> None:
        raise AssertionError(f"somebody was asked where {host!r} is")

    monkeypatch.setattr(socket, "getaddrinfo", ask)


def taken(found: AssignmentSet) -> tuple[Accepted, HostPlan]:
    accepted = Intake("node1").take(found)
    return accepted, plan(accepted.world, [ip_address("10.1.16.2"), ip_address(mesh6(1, 2))], (), FACTS)


def rulesets(found: HostPlan) -> list[Ruleset]:
    return [*found.rulesets, *([found.way_back] if found.way_back is not None else ())]


def told(found: HostPlan, before: HostPlan) -> Iterator[str | bytes]:
    """Yield all that the kernel and the host's tools are told by a plan, first and in the place of another."""
    old = {each.family: each for each in rulesets(before)}
    for each in rulesets(found):
        yield whole(each)
        if each.family in old:
            yield difference(old[each.family], each)
    tables = {each.family: each for each in before.services}
    for table in found.services:
        yield batch(service_table.whole(table))
        if table.family in tables and (changes := service_table.difference(tables[table.family], table)):
            yield batch(changes)
    yield repr((found.tunnel, found.items, sorted(map(str, found.ports))))
    for path, value in found.sysctls.items():
        yield f"{path}={value}"
        assert ".." not in path.split("/")
    for link in (found.wireguard or {}).values():
        yield f"wg syncconf {link.name} {link.address}\n{link.config()}"
    for bridge in found.networks.values():
        yield repr({key: value for key, value in bridge.body("node1").items() if key != "Labels"})
    for one, other in ((before, found), (found, before)):
        yield repr(purge(one, other))


def names(zones: Zones) -> Iterator[str]:
    for zone in zones.zones.values():
        yield from (zone.network, *zone.names)
        for records in zone.records:
            yield from (*records.members, *records.hosts, *records.pointers.values())


# --- nothing gets out -------------------------------------------------------------------------------------------------

MANY = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@st.composite
def hostile_sets(draw: st.DrawFn) -> AssignmentSet:
    """Change some entries of any kinds, and the node's place."""
    found = WHOLE
    for kind in draw(st.sets(st.sampled_from(KINDS), min_size=1)):
        entries = getattr(found, kind)
        name = draw(st.sampled_from(sorted(entries)))
        changed = draw(made_hostile(entries[name]))
        # A set has its entries by what they are called.
        key = next(getattr(changed, each) for each in ("id", "service_id", "node_id") if hasattr(changed, each))
        wrong: dict[str, Any] = {kind: {**{each: entries[each] for each in entries if each != name}, key: changed}}
        found = replace(found, **wrong)
    if draw(st.booleans()):
        pools = (draw(TEXTS), *POOLS6) if draw(st.booleans()) else (POOLS6[0], draw(TEXTS))
        found = replace(found, address_pools=pools)
    if draw(st.booleans()):
        found = replace(found, data_path_port=draw(st.sampled_from([-1, 1, 65_536, 2**63 - 1])))
    if draw(st.booleans()):
        found = replace(found, tunnel_keys=(draw(made_hostile(WHOLE.tunnel_keys[0])),))
    return found


@MANY
@given(hostile_sets())
def test_no_text_of_a_set_reaches_rules_links_and_arguments(found: AssignmentSet) -> None:
    _, before = taken(WHOLE)
    accepted, after = taken(found)
    for text in told(after, before):
        assert (CANARY.encode() if isinstance(text, bytes) else CANARY) not in text
    zones = zones_of(accepted.world, topology(accepted.world, FACTS), [])
    for name in names(zones):
        assert name.isascii()
        assert not set(name) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
        if messages.is_name(name):
            messages.encode_name(name)


@MANY
@given(hostile_sets())
def test_no_text_of_a_set_leads_to_another_path_or_url(found: AssignmentSet) -> None:
    accepted, _ = taken(found)
    root = Path("/nowhere")
    resolv, tmpfs = ContainerFiles(root / "resolv", HostResolution(root / "host")), TmpfsFiles(root / "files")
    engine_url = DockerEngine._url
    materials = Materials(secrets=found.secrets, configs=found.configs)
    engine: Any = SimpleNamespace(_docker=SimpleNamespace(docker_host="unix://x", api_version="v1"))
    for task in (*found.tasks.values(), *map(as_task, found.attachments.values())):
        usable = task.id in accepted.tasks or task.id in accepted.attachments
        for make in (resolv.path, tmpfs._folder):
            try:
                path = make(task.id)
            except Unusable:
                assert not usable
            else:
                assert path.parent.parent == root
                assert CANARY not in str(path)
        image = task.spec.container_spec.image if task.spec.container_spec is not None else ""
        for parts in (("containers", task.name, "json"), ("images", image, "json"), ("networks", task.id)):
            try:
                url = engine_url(engine, *parts)
            except Unusable:
                continue
            assert url == "/".join(("unix://x", "v1", *parts))
            assert not set(url) & set("?#%\\ \n\0")
            assert ".." not in url.split("/")
        assert task.id not in accepted.tasks or CANARY not in task.name
        try:
            spec = task.spec.container_spec or ContainerSpec()
            files = task_files(spec, materials, context(task, "node1", NodeDescription()))
        except (InvalidArgument, TemplateError, KeyError):
            continue  # refused, or not here
        for file in files:
            assert file.target.startswith("/")
            assert ".." not in file.target.split("/")
            assert file.target.isprintable()


# --- and it costs itself alone ----------------------------------------------------------------------------------------

EVILS = (
    "02:6f:63:00:00:03",
    "0x30000",
    "192.168.7.3",
    "10.239.240.3",
    "10.240.3.",
    "10.1.18.",
    "10.2.18.",
    "10.3.18.",
    "back_3",
    "aef:f003",
    "af0:300",
    "a01:1200",
    "fe80::3",
)
PARTS = [ip_network(each).network_address.packed[:3] for each in ("10.1.18.0/24", "10.3.18.0/24", "10.240.3.0/24")]


def is_evils_own(text: object, said: Collection[str] = ()) -> bool:
    return any(each in str(text) for each in (*EVILS, *said))


def of_others(address: bytes) -> bool:
    return address[-4:-1] not in PARTS


# Addresses that are good ones, and others': of containers, gateways, services, hosts.
OTHERS = st.sampled_from(
    [
        *("10.1.16.2", "10.1.17.3", "10.1.16.1", "10.1.18.1", "10.1.0.9", "10.1.0.1", "10.2.16.2", "10.3.17.9"),
        *("10.240.1.2", "10.240.2.3", "10.240.1.1", "10.240.3.1", "10.239.240.2", "192.168.7.1", "192.168.7.2"),
        *("127.0.0.1", "0.0.0.0", "224.0.0.1", "8.8.8.8", "::1", "fd00:1::a01:1002", mesh6(1, 2), mesh6(2, 3)),
    ]
)


@st.composite
def evil_words(draw: st.DrawFn) -> AssignmentSet:
    """Change what the evil node itself says: of its addresses, of its task, of its plain container."""
    evil, task, plain = peer(3), EVIL_TASK, PLAIN
    if draw(st.booleans()):
        said = draw(st.lists(TEXTS | OTHERS, max_size=40))
        evil = msgspec.structs.replace(evil, addr=draw(TEXTS | OTHERS), ipv6_addresses=(*said, *evil.ipv6_addresses))
    if draw(st.booleans()):
        addresses = draw(made_hostile(task.addresses, TEXTS | OTHERS))
        task = msgspec.structs.replace(task, addresses=addresses, hostname=draw(TEXTS))
    if draw(st.booleans()):
        names = tuple(draw(st.lists(TEXTS, max_size=3)))
        (only,) = plain.backends
        only = msgspec.structs.replace(only, addresses=draw(made_hostile(only.addresses, TEXTS | OTHERS)))
        plain = msgspec.structs.replace(plain, name=draw(TEXTS), aliases={BLUE: names}, backends=(only,))
    web = msgspec.structs.replace(WEB, backends=(*WEB.backends, task))
    return replace(GOOD, endpoints={**GOOD.endpoints, **by("service_id", web, plain)}, peers={**GOOD.peers, EVIL: evil})


@MANY
@given(evil_words())
def test_what_a_node_says_changes_nothing_of_others(found: AssignmentSet) -> None:
    _, alone = taken(GOOD)
    accepted, beside = taken(found)
    evil = accepted.world.peers.get(EVIL)
    # Whose address it is that a node says is its own, nobody here can know: it is that of its tunnel's other end.
    said = [str(evil.addr), *map(str, evil.ipv6_addresses)] if evil is not None else []
    assert (beside.networks, beside.sysctls, beside.tunnel, beside.ports) == (
        alone.networks,
        alone.sysctls,
        alone.tunnel,
        alone.ports,
    )
    assert alone.items <= beside.items
    assert all(is_evils_own(item) for item in beside.items - alone.items)
    for old, new in zip(rulesets(alone), rulesets(beside), strict=True):
        assert old.lookups.keys() == new.lookups.keys()
        for name, lookup in old.lookups.items():
            more = dict(new.lookups[name].elements.items() - lookup.elements.items())
            assert lookup.elements.items() <= new.lookups[name].elements.items()
            assert all(is_evils_own(key, said) for key in more)
        evils = {name for name in new.chains if is_evils_own(name)}
        assert new.chains.keys() - evils == old.chains.keys()
        for name, chain in old.chains.items():
            assert new.chains[name].rules == tuple(map(_with_evils_zone(new), chain.rules))
    for table, other in zip(alone.services, beside.services, strict=True):
        for chain, choice in table.chains.items():
            kept = tuple(each for each in other.chains[chain].addresses if of_others(each))
            assert other.chains[chain]._replace(addresses=kept) == choice
        for before, after in ((table.vips, other.vips), (table.mesh, other.mesh), (table.at_address, other.at_address)):
            assert before == after
    for links in (alone.wireguard, beside.wireguard):
        assert links is not None
    for name, link in (alone.wireguard or {}).items():
        assert set(link.peers) <= set((beside.wireguard or {})[name].peers)


def _with_evils_zone(new: Ruleset) -> Any:
    """Return what adds the evil node's own zone to the rule that has those of all peers, if it is a peer."""
    there = any("02:6f:63:00:00:03" in rule for chain in new.chains.values() for rule in chain.rules)

    def expected(rule: Nft) -> str:
        zone = "02:6f:63:00:00:02 : 2"
        return rule.replace(zone, f"{zone}, 02:6f:63:00:00:03 : 3") if there else str(rule)

    return expected


@MANY
@given(st.sampled_from(KINDS[4:]), st.data())
def test_an_entry_that_cannot_be_used_costs_itself_alone(kind: str, data: st.DataObject) -> None:
    entries = getattr(WHOLE, kind)
    name = data.draw(st.sampled_from(sorted(entries)))
    changed = data.draw(made_hostile(entries[name]))
    rest = {each: entries[each] for each in entries if each != name}

    def set_of(entries: dict[str, Any]) -> dict[str, Any]:
        return {kind: entries}

    with_it = Intake("node1").take(replace(WHOLE, **set_of({**rest, name: changed}))).world
    without = Intake("node1").take(replace(WHOLE, **set_of(rest))).world
    for other in {"peers", "networks"} - ({kind} if kind == "peers" else set()):
        known = getattr(without, other)
        assert {each: value for each, value in getattr(with_it, other).items() if each in known} == known
    if kind == "endpoints":
        assert {each: value for each, value in with_it.endpoints.items() if each != name} == dict(without.endpoints)


def test_the_worlds_here_are_good_ones() -> None:
    """Else nothing above would mean much."""
    for found in (GOOD, WHOLE):
        accepted, planned = taken(found)
        assert accepted.refused == ()
        assert planned.topology.problems == {}
        assert len(planned.networks) == 4
        assert len(planned.rulesets) == 3
        assert planned.wireguard
