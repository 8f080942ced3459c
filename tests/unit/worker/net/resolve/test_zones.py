import random
from dataclasses import replace
from ipaddress import IPv4Address

import msgspec
import pytest

from common.model.network import IpamConfig, Network, NetworkSpec
from common.wire.messages import MESH, Backend, Peer, ServiceEndpoint
from worker.assignments import AssignmentSet
from worker.intake.network import NetworkIntake
from worker.net.plan.topology import HostFacts, topology
from worker.net.resolve import answers, messages
from worker.net.resolve.answers import Forward
from worker.net.resolve.messages import A, Query
from worker.net.resolve.zones import LocalContainer, Zones, zones_of

BLUE, RED = "blue" + "0" * 21, "red" + "0" * 22
WEB, DB = "service-web", "service-db"
AAAA, MX = 28, 15


def network(network_id, name, number):
    subnets = (IpamConfig(subnet=f"10.{number}.0.0/16"),)
    leases = {"here": f"10.{number}.16.0/24", "there": f"10.{number}.17.0/24"}
    return Network(id=network_id, spec=NetworkSpec(name=name), subnets=subnets, leases=leases)


def backend(task_id, slot, **addresses):
    ids = {"blue": BLUE, "red": RED, "mesh": MESH}
    found = {ids[name]: ip for name, ip in addresses.items()}
    node_id = "there" if ".17." in next(iter(found.values())) else "here"
    return Backend(task_id=task_id, slot=slot, node_id=node_id, addresses=found)


WEB_ENDPOINT = ServiceEndpoint(
    service_id=WEB,
    name="Shop_web",
    stack="Shop",
    vips={BLUE: "10.0.0.10"},
    aliases={BLUE: ("web", "api.example.com")},
    backends=(
        backend("t1", 1, blue="10.0.16.5", mesh="10.240.1.5"),
        backend("t2", 2, blue="10.0.17.6", mesh="10.240.2.6"),
    ),
)
DB_ENDPOINT = ServiceEndpoint(
    service_id=DB,
    name="db",
    aliases={RED: ("sql",)},
    backends=(backend("d1", 1, blue="10.0.16.7", red="10.1.16.7"), backend("d2", 2, red="10.1.17.8")),
)
SET = AssignmentSet(
    node_number=1,
    address_pools=("10.0.0.0/8",),
    networks={BLUE: network(BLUE, "blue", 0), RED: network(RED, "red", 1)},
    endpoints={WEB: WEB_ENDPOINT, DB: DB_ENDPOINT},
    peers={"there": Peer(node_id="there", number=2, addr="192.0.2.2")},
)
ONE, BOTH, OUT = "10.0.16.5", "10.0.16.7", "10.240.1.9"
CONTAINERS = (
    LocalContainer(task_id="t1", addresses={MESH: IPv4Address("10.240.1.5"), BLUE: IPv4Address(ONE)}, service_id=WEB),
    LocalContainer(task_id="d1", addresses={BLUE: IPv4Address(BOTH), RED: IPv4Address("10.1.16.7")}, service_id=DB),
    LocalContainer(task_id="x", addresses={MESH: IPv4Address(OUT)}, nameservers=("9.9.9.9",)),
)


def make(found=SET, containers=CONTAINERS, intake=None, **more):
    world = (intake or NetworkIntake("here")).world(found)
    return zones_of(world, topology(world, HostFacts(node_id="here")), containers, **more)


def with_endpoints(*endpoints):
    return replace(SET, endpoints={endpoint.service_id: endpoint for endpoint in endpoints})


def ask(zones, name, source=ONE, kind=A):
    """Return the addresses, the rcode when there is no answer section, or a Forward."""
    question = messages.encode_name(name) + kind.to_bytes(2) + b"\0\1"
    query = Query(7, 0x0100, name.lower().rstrip("."), kind, question)
    answer = answers.reply(query, zones, source, 65535, random.Random(1))
    if isinstance(answer, Forward):
        return answer
    count = int.from_bytes(answer[6:8])
    records = answer[12 + len(question) :]
    assert answer[2] & 0x04 or answer[3] & 15 == messages.REFUSED, "authoritative for what is ours"
    if not count:
        return answer[3] & 15
    if kind == messages.PTR:
        return records[12:]
    return sorted(str(IPv4Address(records[16 * n + 12 : 16 * n + 16])) for n in range(count))


def called(endpoint, *hostnames):
    """Return the endpoint with these names of its containers for themselves."""
    pairs = zip(endpoint.backends, hostnames, strict=True)
    backends = tuple([msgspec.structs.replace(each, hostname=name) for each, name in pairs])
    return msgspec.structs.replace(endpoint, backends=backends)


@pytest.mark.parametrize(
    ("hostnames", "name", "source", "expected"),
    [
        (("Rabbit-1", "0d41ae530f33"), "rabbit-1", ONE, ["10.0.16.5"]),
        (("rabbit-1", "0d41ae530f33"), "Rabbit-1.", ONE, ["10.0.16.5"]),
        (("rabbit-1", "0d41ae530f33"), "rabbit-1.blue", ONE, ["10.0.16.5"]),
        (("rabbit-1", "0d41ae530f33"), "0d41ae530f33", ONE, ["10.0.17.6"]),
        (("rabbit-1", "0d41ae530f33"), "rabbit-2", ONE, messages.NXDOMAIN),
        (("a.example.com", ""), "a.example.com", BOTH, ["10.0.16.5"]),
        (("a.example.com", ""), "a.example.com.red", BOTH, Forward()),  # not of that network
        (("same", "same"), "same", BOTH, ["10.0.16.5", "10.0.17.6"]),
        (("other", ""), "other", BOTH, ["10.0.16.5", "10.0.16.7"]),
        (("other", ""), "other", ONE, ["10.0.16.5"]),  # of its own stack
        (("sql", "db"), "db", ONE, ["10.0.16.7"]),  # a service's name goes first
        (("sql", "db"), "sql", BOTH, ["10.1.16.7", "10.1.17.8"]),  # in whichever network
    ],
)
def test_what_containers_call_themselves(hostnames, name, source, expected):
    zones = make(with_endpoints(called(WEB_ENDPOINT, *hostnames), called(DB_ENDPOINT, "other", "")))
    assert ask(zones, name, source) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("store", ["10.0.16.7"]),
        ("STORE.", ["10.0.16.7"]),
        ("front", ["10.0.0.10"]),
        ("lost", messages.NXDOMAIN),
        ("db", ["10.0.16.7"]),
    ],
)
def test_links_are_one_containers_own_names(name, expected):
    linked = LocalContainer(
        task_id="t1", addresses={BLUE: ONE}, links={"Store": "db", "front": "Shop_web", "lost": "nobody"}
    )
    assert ask(make(containers=(linked, *CONTAINERS[1:])), name) == expected
    if name != "db":
        assert ask(make(containers=(linked, *CONTAINERS[1:])), name, BOTH) == messages.NXDOMAIN


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("shop_web", ["10.0.0.10"]),
        ("SHOP_Web", ["10.0.0.10"]),
        ("shop_web.", ["10.0.0.10"]),
        ("web", ["10.0.0.10"]),
        ("api.example.com", ["10.0.0.10"]),
        ("tasks.web", ["10.0.16.5", "10.0.17.6"]),
        ("tasks.shop_web", ["10.0.16.5", "10.0.17.6"]),
        ("tasks.api.example.com", ["10.0.16.5", "10.0.17.6"]),
        ("1.web", ["10.0.16.5"]),
        ("2.shop_web", ["10.0.17.6"]),
        ("shop_web.2.t2", ["10.0.17.6"]),
        ("web.blue", ["10.0.0.10"]),
        ("2.web.blue", ["10.0.17.6"]),
        ("db", ["10.0.16.7"]),
    ],
)
def test_names_of_a_service(name, expected):
    assert ask(make(), name) == expected


@pytest.mark.parametrize("name", ["nosuch", "tasks", "3.web", "sql", "web-1", "tasks.sql.blue"])
def test_unknown_names(name):
    zones = make()
    expected = Forward() if name == "tasks.sql.blue" else messages.NXDOMAIN
    assert ask(zones, name) == expected


@pytest.mark.parametrize("name", ["example.com", "www.web", "1.2.web", "1.nosuch", "web.red", ""])
def test_dotted_names_that_are_nobodys_here_are_for_others(name):
    assert ask(make(), name) == Forward()


def test_a_container_knows_its_own_networks_only():
    zones = make()
    assert ask(zones, "sql", ONE) == messages.NXDOMAIN
    assert ask(zones, "sql", BOTH) == ["10.1.16.7", "10.1.17.8"]
    assert ask(zones, "web", BOTH) == ["10.0.0.10"]
    assert ask(zones, "web", OUT) == Forward(("9.9.9.9",)), "it has name servers of its own, for single words too"
    assert ask(zones, "db.red", BOTH) == ["10.1.16.7", "10.1.17.8"]
    assert ask(zones, "db.red", ONE) == Forward()


def test_the_first_network_by_name_goes_first():
    assert ask(make(), "db", BOTH) == ["10.0.16.7"]
    assert ask(make(), "2.db", BOTH) == ["10.1.17.8"], "what only the second has is found there"


def test_strangers_are_refused_and_an_address_sees_its_network():
    zones = make()
    assert ask(zones, "web", "10.0.16.200") == ["10.0.0.10"]
    assert ask(zones, "sql", "10.0.16.200") == messages.NXDOMAIN
    for stranger in ("10.0.17.6", "192.0.2.1", "10.240.1.1"):
        assert ask(zones, "web", stranger) == messages.REFUSED


def test_other_types_of_a_known_name_are_empty():
    zones = make()
    for kind in (AAAA, MX, 65):
        assert ask(zones, "web", kind=kind) == messages.NOERROR
        assert ask(zones, "1.web", kind=kind) == messages.NOERROR
    assert ask(zones, "web", kind=messages.ANY) == ["10.0.0.10"]


def test_a_service_without_tasks_keeps_its_name():
    zones = make(
        with_endpoints(
            ServiceEndpoint(service_id=WEB, name="web", vips={BLUE: "10.0.0.10"}),
            ServiceEndpoint(service_id=DB, name="db", aliases={BLUE: ("sql",)}),
        )
    )
    assert ask(zones, "web") == ["10.0.0.10"]
    assert ask(zones, "tasks.web") == messages.NOERROR
    assert ask(zones, "1.web") == messages.NXDOMAIN
    assert ask(zones, "sql") == messages.NOERROR


def test_a_global_services_tasks_are_named_by_node():
    endpoint = ServiceEndpoint(
        service_id=WEB, name="web", backends=(backend("t1", 0, blue="10.0.16.5"),), vips={BLUE: "10.0.0.10"}
    )
    zones = make(with_endpoints(endpoint))
    assert ask(zones, "here.web") == ["10.0.16.5"]
    assert ask(zones, "web.here.t1") == ["10.0.16.5"]


def test_of_two_services_with_one_name_the_own_stacks_is_meant():
    other = ServiceEndpoint(
        service_id="other",
        name="Blog_web",
        stack="Blog",
        vips={BLUE: "10.0.0.20"},
        aliases={BLUE: ("web",)},
        backends=(backend("o1", 1, blue="10.0.17.30"),),
    )
    zones = make(with_endpoints(WEB_ENDPOINT, other, DB_ENDPOINT))
    assert ask(zones, "web", ONE) == ["10.0.0.10"]
    assert ask(zones, "1.web", ONE) == ["10.0.16.5"]
    assert ask(zones, "web", BOTH) == ["10.0.0.10", "10.0.0.20"], "it is of neither stack"
    assert ask(zones, "blog_web", ONE) == ["10.0.0.20"]


def test_draining_tasks_are_not_named():
    zones = make(draining={"t1"})
    assert ask(zones, "tasks.web") == ["10.0.17.6"]
    assert ask(zones, "1.web") == messages.NXDOMAIN
    assert ask(zones, "web", ONE) == ["10.0.0.10"], "it may go on asking"


def test_reverse_names():
    zones = make()
    reverse = "{3}.{2}.{1}.{0}.in-addr.arpa".format

    def name_of(address, source=ONE, kind=messages.PTR):
        return ask(zones, reverse(*address.split(".")), source, kind)

    assert name_of("10.0.17.6") == messages.encode_name("2.Shop_web")
    assert name_of("10.0.0.10") == messages.encode_name("Shop_web")
    assert name_of("10.0.17.6", kind=A) == messages.NOERROR
    assert name_of("10.0.99.1") == messages.NXDOMAIN, "nobody else can know"
    assert name_of("10.1.17.8") == messages.NXDOMAIN, "not in one of its networks"
    assert name_of("10.1.17.8", BOTH) == messages.encode_name("2.db")
    assert name_of("192.0.2.1") == Forward()
    assert ask(zones, "10.in-addr.arpa", kind=messages.PTR) == Forward()
    assert ask(zones, "x.in-addr.arpa", kind=messages.PTR) == Forward()


@pytest.mark.parametrize("name", ["n" * 64, ".".join(["n" * 60] * 5)], ids=["label", "name"])
def test_a_name_that_no_message_can_hold_is_not_told(name):
    """Docker lets containers be called so."""
    zones = make(with_endpoints(msgspec.structs.replace(WEB_ENDPOINT, name=name), DB_ENDPOINT))
    assert ask(zones, "10.0.0.10.in-addr.arpa", kind=messages.PTR) == messages.NXDOMAIN
    assert ask(zones, "7.16.0.10.in-addr.arpa", BOTH, messages.PTR) == messages.encode_name("1.db")


def test_it_listens_at_the_gateways_of_all_networks():
    assert make().listen == {"10.0.16.1", "10.1.16.1", "10.240.1.1"}
    assert make(AssignmentSet()) == Zones()


def test_what_did_not_change_is_the_same_value():
    memory, intake = {}, NetworkIntake("here")
    first = make(memory=memory, intake=intake)
    again = make(memory=memory, before=first, intake=intake)
    assert again.zones[BLUE] is first.zones[BLUE]
    assert again.zones[RED] is first.zones[RED]
    changed = ServiceEndpoint(service_id=WEB, name="Shop_web", vips={BLUE: "10.0.0.11"})
    later = make(with_endpoints(changed, DB_ENDPOINT), memory=memory, before=again, intake=intake)
    assert later.zones[RED] is first.zones[RED]
    assert later.zones[BLUE] is not first.zones[BLUE]
    assert ask(later, "shop_web") == ["10.0.0.11"]
    assert ask(first, "shop_web") == ["10.0.0.10"], "nobody sees half of a change"
    gone = make(with_endpoints(DB_ENDPOINT), memory=memory, before=later, intake=intake)
    assert ask(gone, "shop_web") == messages.NXDOMAIN
    assert memory.keys() == {DB}


def test_several_addresses_come_in_a_new_order_each_time():
    zones = make()
    question = messages.encode_name("tasks.web") + b"\0\1\0\1"
    query = Query(7, 0, "tasks.web", A, question)
    rng = random.Random(1)
    orders = {answers.reply(query, zones, ONE, 512, rng) for _ in range(30)}
    assert len(orders) == 2
