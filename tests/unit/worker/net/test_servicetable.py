"""The services' table in the kernel's own bytes."""

from dataclasses import replace
from ipaddress import ip_network

from tests.unit.worker.net.nfkernel import ServicesKernel
from worker.net.servicetable import Choice, ServiceTable, difference, removal, whole

MANY = tuple(f"10.1.{16 + number // 200}.{number % 200}" for number in range(2000))
TABLE = ServiceTable(
    "ip",
    chains={"v_web": Choice(("10.1.16.2", "10.1.17.3")), "m_tcp_80": Choice(("10.240.1.2",), "tcp", 8080)},
    vips={("oc-blue00000000", "10.1.0.9"): "v_web"},
    mesh={("tcp", 80): "m_tcp_80"},
    at_address={("10.1.16.1", "udp", 53): ""},
    no_ports=(ip_network("10.1.0.0/20"),),
)


def kernel_with(table: ServiceTable) -> ServicesKernel:
    kernel = ServicesKernel()
    kernel.run(whole(table))
    return kernel


def test_the_whole_replaces_whatever_was_there():
    kernel = kernel_with(replace(TABLE, chains={}, vips={}, mesh={}))
    kernel.run(whole(TABLE))
    kernel.shows(TABLE)


def test_thousands_of_backends_are_more_than_one_message_has_room_for():
    kernel_with(replace(TABLE, chains={**TABLE.chains, "v_web": Choice(MANY)})).shows(
        replace(TABLE, chains={**TABLE.chains, "v_web": Choice(MANY)})
    )


def test_a_change_touches_only_its_own_chain():
    fewer = replace(TABLE, chains={**TABLE.chains, "v_web": Choice(("10.1.17.3",))})
    changes = difference(TABLE, fewer)
    assert len(changes) == 2, "one chain is emptied, and gets one rule"
    kernel = kernel_with(TABLE)
    kernel.run(changes)
    kernel.shows(fewer)
    assert not difference(fewer, replace(fewer))


def test_ranges_without_published_ports_change_with_the_networks():
    more = replace(TABLE, no_ports=(ip_network("10.1.0.0/20"), ip_network("10.2.0.0/20")))
    kernel = kernel_with(TABLE)
    kernel.run(difference(TABLE, more))
    kernel.shows(more)


def test_a_table_that_is_gone_can_be_removed():
    kernel = ServicesKernel()
    kernel.run(removal("ip"))
    assert not kernel.there
