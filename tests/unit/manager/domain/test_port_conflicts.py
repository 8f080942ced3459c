"""Which published ports can be had at once, by whom, and which pass from one service of a stack to another."""

import time

import pytest

from common.errors import InvalidArgument
from common.model import Service
from common.model.node import ManagerStatus, Node
from common.model.service import Endpoint, EndpointSpec, PortConfig, ServiceSpec
from common.net.addressing import WIREGUARD_PORTS
from manager.domain import port_conflicts
from manager.domain.port_conflicts import AskedPorts, check_ports, conflict, is_same
from tests.fakes.world import World


def port(number: int, mode: str = "ingress", protocol: str = "tcp", host_ip: str = "") -> PortConfig:
    return PortConfig(protocol=protocol, target_port=80, published_port=number, publish_mode=mode, host_ip=host_ip)


def spec(*ports: PortConfig, name: str = "web") -> ServiceSpec:
    return ServiceSpec(name=name, endpoint_spec=EndpointSpec(ports=ports))


def service(*ports: PortConfig, name: str = "web", **other: object) -> Service:
    return Service(id=name, spec=spec(*ports, name=name), **other)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (port(80), port(80), False),
        (port(80), port(81), True),
        (port(80), port(80, protocol="udp"), True),
        (port(80), port(80, "host"), False),
        (port(80, "host"), port(80, "host"), True),  # on different nodes
        (port(80, host_ip="10.0.0.1"), port(80, host_ip="10.0.0.2"), True),
        (port(80, host_ip="10.0.0.1"), port(80, host_ip="0.0.0.0"), False),
    ],
)
def test_two_services_can_have_both_or_not(one: PortConfig, other: PortConfig, *, both: bool) -> None:
    assert conflict(one, other) is conflict(other, one) is not both


def test_host_ports_are_the_same_port_all_the_same() -> None:
    assert is_same(port(80, "host"), port(80, "host"))


def test_a_port_that_another_service_has_is_refused_by_its_name() -> None:
    world = World()
    world.put(service(port(80), name="first"))
    with pytest.raises(InvalidArgument, match=r"port '80' is already in use by service 'first' .* as an ingress"):
        check_ports(world.tables, service(port(80)))
    check_ports(world.tables, service(port(80), name="first"))  # its own
    check_ports(world.tables, service(port(81)))


def test_the_ports_of_a_service_that_is_removed_are_free() -> None:
    world = World()
    world.put(service(port(80), name="first", pending_delete=True))
    check_ports(world.tables, service(port(80)))


def test_one_service_cannot_publish_a_port_twice() -> None:
    with pytest.raises(InvalidArgument, match="duplicate published port '80/tcp' in service 'web'"):
        check_ports(World().tables, service(port(80, "host"), port(80, "host")))


def test_the_clusters_own_ports_are_refused() -> None:
    world = World()
    world.put(Node(id="m", manager_status=ManagerStatus(addr="10.0.0.1:2377"), etcd_addr="10.0.0.1:2380"))
    world.put(Node(id="w", agent=True, image_port=2378))
    for number, words in ((2377, "its manager listens"), (2380, "its manager listens"), (2378, "serve images")):
        with pytest.raises(InvalidArgument, match=rf"'{number}/tcp' is the cluster's own: .*{words}"):
            check_ports(world.tables, service(port(number)))
    for number in (4789, *WIREGUARD_PORTS):
        with pytest.raises(InvalidArgument, match=rf"'{number}/udp' is the cluster's own"):
            check_ports(world.tables, service(port(number, protocol="udp")))
    check_ports(world.tables, service(port(2377, protocol="udp"), port(4789)))


def test_a_service_holds_what_it_asks_for_and_what_was_chosen() -> None:
    chosen = service(port(0), endpoint=Endpoint(ports=(port(30000),)))
    assert chosen.published_ports == (port(30000),)


def test_a_port_that_another_is_to_have_is_given_up_first() -> None:
    present = service(port(80), port(81), endpoint=Endpoint(ports=(port(80), port(81))))
    left = AskedPorts({"web": spec(port(81)), "other": spec(port(80), name="other")}).without_passed_on(present)
    assert left.spec.ports == (port(81),)
    assert left.endpoint is not None
    assert left.endpoint.ports == (port(81),)


def test_a_port_that_a_service_is_to_keep_is_not_given_up() -> None:
    present = service(port(80))
    asked = AskedPorts({"web": spec(port(80)), "other": spec(port(80), name="other")})
    assert asked.without_passed_on(present) == present


def test_ports_are_compared_with_those_of_the_same_number_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a stack of thousands of services is checked in a time that grows with it and not with its square."""
    world, compared = World(), []
    everyone = [service(port(number), name=f"s{number}") for number in range(1000, 1100)]
    world.put(*everyone)
    monkeypatch.setattr(port_conflicts, "conflict", lambda one, other: compared.append((one, other)))
    for each in everyone:
        check_ports(world.tables, each)
    asked = AskedPorts({each.name: spec(*everyone[number - 1].spec.ports) for number, each in enumerate(everyone)})
    for each in everyone:
        asked.without_passed_on(each)
    assert len(compared) <= 2 * len(everyone)


def test_thousands_of_ports_of_one_service_are_checked_quickly() -> None:
    """Or a range of ports, of which each was compared with each, kept the manager from all else for minutes."""
    world = World()
    for number in range(100):
        world.put(Node(id=f"n{number}", agent=True, image_port=2378))
    held = [port(number, "host") for number in range(10_000, 30_000)]
    world.put(service(*held, name="first"))
    wanted = service(*held, *(port(number, protocol="udp") for number in range(10_000, 30_000)))
    asked = AskedPorts({"web": wanted.spec, "first": spec(*held, name="first")})
    began = time.process_time()
    check_ports(world.tables, wanted)
    assert asked.without_passed_on(wanted) == wanted
    assert time.process_time() - began < 3
