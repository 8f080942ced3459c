"""The services' table in the kernel's own bytes."""

from dataclasses import replace
from ipaddress import ip_network

from tests.unit.worker.net.nfkernel import ServicesKernel
from tests.unit.worker.net.worlds import packed
from worker.intake.addresses import Protocol
from worker.intake.identifiers import ChainName, InterfaceName
from worker.net.plan.ruleset import IP
from worker.net.plan.service_table import Choice, ServiceTable, difference, removal, whole

MANY = packed(*(f"10.1.{16 + number // 200}.{number % 200}" for number in range(2000)))
WEB, PORT = ChainName("v_web"), ChainName("m_tcp_80")
(VIP, RESOLVER) = packed("10.1.0.9", "10.1.16.1")
TABLE = ServiceTable(
    IP,
    chains={
        WEB: Choice(packed("10.1.16.2", "10.1.17.3")),
        PORT: Choice(packed("10.240.1.2"), Protocol.TCP, 8080),
    },
    vips={(InterfaceName("oc-blue00000000"), VIP): WEB},
    mesh={(Protocol.TCP, 80): PORT},
    at_address={(RESOLVER, Protocol.UDP, 53): None},
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


def test_thousands_of_backends_do_not_fit_in_one_message():
    kernel_with(replace(TABLE, chains={**TABLE.chains, WEB: Choice(MANY)})).shows(
        replace(TABLE, chains={**TABLE.chains, WEB: Choice(MANY)})
    )


def test_a_change_touches_only_its_own_chain():
    fewer = replace(TABLE, chains={**TABLE.chains, WEB: Choice(packed("10.1.17.3"))})
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
