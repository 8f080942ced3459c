"""Published ports: conflicts refused with the holder's name, open ones chosen."""

from __future__ import annotations

from typing import Any

import pytest

from common.errors import InvalidArgument, ResourceExhausted
from common.model import Cluster, Node, Service
from common.model.node import ManagerStatus
from common.model.service import Endpoint, EndpointSpec, PortConfig, ServiceSpec
from manager.allocate.endpoints import FIRST_DYNAMIC, LAST_DYNAMIC, PortsInUse, choose_ports
from manager.domain.port_conflicts import check_ports
from manager.store.tables import Tables


def port(published: int, mode: str = "ingress", **more: str) -> PortConfig:
    return PortConfig(target_port=80, published_port=published, publish_mode=mode, **more)


def service(name: str, *ports: PortConfig, **more: Any) -> Service:
    return Service(id=f"id-{name}", spec=ServiceSpec(name=name, endpoint_spec=EndpointSpec(ports=ports)), **more)


def view_with(*services: Service) -> Tables:
    view = Tables()
    for each in services:
        view.of(Service).put(each)
    return view


def test_a_taken_ingress_port_is_refused_in_the_engines_words():
    expected = r"^port '8080' is already in use by service 'web' \(id-web\) as an ingress port$"
    with pytest.raises(InvalidArgument, match=expected):
        check_ports(view_with(service("web", port(8080))), service("api", port(8080)))


def test_a_host_port_of_another_service_is_named_as_one():
    with pytest.raises(InvalidArgument, match="as a host-published port"):
        check_ports(view_with(service("web", port(8080, "host"))), service("api", port(8080)))


@pytest.mark.parametrize(
    ("mine", "use"),
    [
        (port(2377), "its manager listens there"),
        (port(2377, "host"), "its manager listens there"),
        (port(4789, protocol="udp"), "the tunnels between its nodes end there"),
        (port(51878, protocol="udp"), "encrypted networks between its nodes end there"),
        (port(2378), "its workers serve images to each other there"),
        (port(2379), ""),
        (port(4789), ""),
        (port(2377, protocol="udp"), ""),
        (port(2378, protocol="udp"), ""),
        (port(377), ""),
    ],
)
def test_the_clusters_own_ports_are_refused(mine: PortConfig, use: str):
    view = view_with()
    view.of(Cluster).put(Cluster(id="c"))
    view.of(Node).put(Node(id="n", manager_status=ManagerStatus(addr="192.0.2.1:2377")))
    view.of(Node).put(Node(id="w", agent=True, image_port=2378))
    view.of(Node).put(Node(id="gone", image_port=2379))
    if not use:
        check_ports(view, service("web", mine))
        return
    with pytest.raises(InvalidArgument, match=f"is the cluster's own: {use}; publish another one"):
        check_ports(view, service("web", mine))


def test_a_port_that_was_chosen_for_a_service_is_taken():
    web = service("web", port(0), endpoint=Endpoint(ports=(port(30000),)))
    with pytest.raises(InvalidArgument, match="'30000' is already in use by service 'web'"):
        check_ports(view_with(web), service("api", port(30000)))


@pytest.mark.parametrize(
    ("theirs", "mine"),
    [
        (port(8080), port(8081)),
        (port(8080), port(8080, protocol="udp")),
        (port(8080, "host"), port(8080, "host")),
        (port(8080, host_ip="127.0.0.1"), port(8080, host_ip="192.0.2.1")),
        (port(0), port(0)),
    ],
)
def test_what_does_not_meet_is_allowed(theirs: PortConfig, mine: PortConfig):
    check_ports(view_with(service("web", theirs)), service("api", mine))


def test_one_address_conflicts_with_all_addresses():
    with pytest.raises(InvalidArgument, match="in use"):
        check_ports(view_with(service("web", port(8080, host_ip="127.0.0.1"))), service("api", port(8080)))


def test_a_service_keeps_its_ports_and_may_take_freed_ones():
    leaving = service("old", port(8080), pending_delete=True)
    check_ports(view_with(leaving, service("web", port(8080))), service("web", port(8080)))


def test_a_port_twice_in_one_service_is_refused():
    with pytest.raises(InvalidArgument, match="duplicate published port '8080/tcp' in service 'web'"):
        check_ports(view_with(), service("web", port(8080), port(8080, "host")))


def test_an_open_port_gets_its_protocols_lowest_free_number():
    used = PortsInUse([service("a", port(FIRST_DYNAMIC))])
    web = service("web", port(0), port(0, protocol="udp"), port(0, name="more"), port(443))
    numbers = [each.published_port for each in choose_ports(web, used)]
    assert numbers == [FIRST_DYNAMIC + 1, FIRST_DYNAMIC, FIRST_DYNAMIC + 2, 443]


def test_a_host_port_left_open_is_the_engines_to_choose():
    web = service("web", port(0, "host"))
    assert choose_ports(web, PortsInUse([]))[0].published_port == 0


def test_a_chosen_number_stays_through_an_update():
    web = service("web", port(0), endpoint=Endpoint(ports=(port(30123),)))
    assert choose_ports(web, PortsInUse([web])) == (port(30123),)


def test_a_chosen_port_now_fixed_for_another_target_is_replaced():
    web = service("web", port(30000), port(0, name="b"), endpoint=Endpoint(ports=(port(30000, name="b"),)))
    assert [each.published_port for each in choose_ports(web, PortsInUse([web]))] == [30000, 30001]


def test_no_port_left():
    full = service("full", *(port(number) for number in range(FIRST_DYNAMIC, LAST_DYNAMIC + 1)))
    with pytest.raises(ResourceExhausted, match="no tcp port from 30000 to 32767 is free"):
        choose_ports(service("web", port(0)), PortsInUse([full]))
