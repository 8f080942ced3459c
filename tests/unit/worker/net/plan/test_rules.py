"""The rules of services and hosts: who is balanced where, and what is refused."""

from tests.unit.worker.net.worlds import BLUE, NODE, RED, backend, endpoint, facts, ips, network, packed, port, world
from worker.intake.addresses import Protocol
from worker.intake.addresses import port as listened
from worker.intake.network import NetworkIntake
from worker.net.plan.host_plan import HostPlan, Memory, plan
from worker.net.plan.ruleset import Ruleset, whole
from worker.net.plan.service_table import Choice, ServiceTable

VIP_CHAIN = f"v_idweb_{BLUE[:12]}"
VIP_KEY = ("oc-blue00000000", *packed("10.1.0.9"))


def planned(*endpoints, **more) -> HostPlan:
    there = world(*endpoints, **more.pop("world", {}))
    return plan(there, more.pop("addresses", ()), more.pop("draining", ()), facts(**more))


def rules_of(*endpoints, **more) -> Ruleset:
    found = planned(*endpoints, **more).ruleset
    assert found is not None
    return found


def services_of(*endpoints, **more) -> ServiceTable:
    (found,) = planned(*endpoints, **more).services
    return found


def test_a_virtual_address_is_balanced_randomly_over_backends():
    found = services_of(endpoint(backend(2), backend(3, 2)))
    assert found.vips == {VIP_KEY: VIP_CHAIN}
    assert found.chains == {VIP_CHAIN: Choice(packed("10.1.16.2", "10.1.17.3"))}


def test_without_backends_the_address_is_refused():
    found = services_of(endpoint(ports=(port(),)))
    assert not found.chains
    assert not found.vips
    assert not found.mesh
    ruleset = rules_of(endpoint(ports=(port(),)))
    assert "tcp . 8080" in ruleset.lookups["ports"].elements
    assert any("@viprange" in rule and "tcp reset" in rule for rule in ruleset.chains["h_in"].rules)
    assert any("@ports" in rule and "tcp reset" in rule for rule in ruleset.chains["h_in"].rules)


def test_a_published_port_goes_to_all_hosts_mesh_addresses():
    found = services_of(endpoint(backend(2), backend(3, 3), ports=(port(8080, 80), port(8080, 81, "udp"))))
    assert found.mesh == {("tcp", 8080): "m_tcp_8080", ("udp", 8080): "m_udp_8080"}
    assert found.chains["m_tcp_8080"] == Choice(packed("10.240.1.2", "10.240.3.3"), Protocol.TCP, 80)
    assert found.chains["m_udp_8080"] == Choice(packed("10.240.1.2", "10.240.3.3"), Protocol.UDP, 81)


def test_a_port_of_one_address_is_not_answered_elsewhere():
    web = endpoint(backend(2), ports=(port(host_ip="127.0.0.1"), port(8081, host_ip="0.0.0.0")))
    found = services_of(web)
    assert found.at_address[*packed("127.0.0.1"), "tcp", 8080] == "m_tcp_8080_127_0_0_1"
    assert list(found.mesh) == [("tcp", 8081)]
    assert list(rules_of(web).lookups["ports"].elements) == ["tcp . 8081"]


def test_the_name_server_is_no_published_port():
    found = services_of(endpoint(backend(2), ports=(port(53, 53, "udp"),)))
    resolvers = packed("10.1.16.1", "10.240.1.1")
    assert found.at_address == {(each, protocol, 53): None for each in resolvers for protocol in ("tcp", "udp")}
    assert list(found.mesh) == [("udp", 53)]


def test_a_port_that_another_program_has_is_left_to_it():
    held = frozenset({listened("tcp", 8080, "")})
    web = endpoint(backend(2), ports=(port(), port(8081)))
    assert list(services_of(web, held=held).mesh) == [("tcp", 8081)]
    assert list(rules_of(web, held=held).lookups["ports"].elements) == ["tcp . 8081"]


def test_a_task_about_to_stop_gets_nothing_new():
    found = services_of(endpoint(backend(2), backend(3)), draining=("t2",))
    assert found.chains == {VIP_CHAIN: Choice(packed("10.1.16.3"))}


def test_a_service_on_an_absent_network_adds_only_its_ports():
    elsewhere = endpoint(backend(2), ports=(port(),))
    assert list(services_of(elsewhere, world={"networks": ()}).chains) == ["m_tcp_8080"]


def test_networks_are_told_apart_by_bridge_and_range():
    lookups = rules_of(world={"networks": (network(), network(RED, "10.2.0.0/16"))}).lookups
    assert set(lookups["samebr"].elements) == {
        '"oc-blue00000000" . "oc-blue00000000"',
        '"oc-red000000000" . "oc-red000000000"',
    }
    assert '"oc-blue00000000" . 10.1.0.0/16' in lookups["netpair"].elements
    assert list(lookups["cluster"].elements) == sorted(
        ["10.1.0.0/16", "10.2.0.0/16", "10.239.240.0/20", "10.240.0.0/12"]
    )


def test_only_peers_may_use_the_tunnel_and_each_has_a_zone():
    ruleset = rules_of()
    assert set(ruleset.lookups["peers"].elements) == {"192.168.7.2", "192.168.7.3"}
    assert any("02:6f:63:00:00:02 : 2" in rule for rule in ruleset.chains["h_raw"].rules)
    forged = 'udp dport 4789 iifname "oc-*" ip saddr @peers drop'
    raw = list(ruleset.chains["h_raw"].rules)
    assert raw.index(forged) < raw.index("udp dport 4789 ip saddr @peers notrack accept")
    assert "udp dport 4789 ip daddr @peers notrack accept" in ruleset.chains["h_sent"].rules
    first, second, *_ = ruleset.chains["h_in"].rules
    assert first == 'udp dport 4789 ip saddr @peers counter name "tunnel_came" accept'
    assert second == "udp dport 4789 drop"
    assert ruleset.lookups["peermark"].elements["02:6f:63:00:00:03"] == "0x30000"
    alone = rules_of(world={"peers": {}})
    assert not any("zone" in rule for rule in alone.chains["h_raw"].rules)


def test_an_answer_to_a_peers_client_goes_only_to_the_peer():
    ruleset = rules_of()
    *_, back = ruleset.chains["h_mark"].rules
    answer = 'ct mark & 0xfff0000 != 0 ct direction reply iifname "oc-gw"'
    assert back == f"{answer} meta mark set ct mark & 0xfff0000"
    assert ruleset.chains["h_fwd"].rules[0] == f"{answer} dup to meta mark & 0xfff0000 map @ways drop"
    assert ruleset.lookups["ways"].elements == {"0x20000": "10.239.240.2", "0x30000": "10.239.240.3"}


def test_without_encrypted_networks_no_chain_is_called_for_them():
    assert not [chain for chain in rules_of().chains.values() if "postrouting priority filter" in chain.hook]


def test_containers_that_reach_themselves_are_masqueraded():
    ruleset = rules_of(endpoint(), addresses=ips("10.1.16.2", "10.240.1.2"))
    assert list(ruleset.lookups["selfpair"].elements) == ["10.1.16.2 . 10.1.16.2", "10.240.1.2 . 10.240.1.2"]


def test_what_is_the_same_stays_the_very_same():
    memory, intake = Memory(), NetworkIntake(NODE)
    web, db = endpoint(backend(2)), endpoint(backend(4), name="db", vip="10.1.0.10")
    (first,) = plan(world(web, db, intake=intake), (), (), facts(), memory).services
    changed = world(web, endpoint(name="db", vip="10.1.0.10"), intake=intake)
    (second,) = plan(changed, (), (), facts(), memory).services
    assert second.chains[VIP_CHAIN] is first.chains[VIP_CHAIN]


def test_the_whole_is_one_transaction_that_replaces_the_old():
    text = whole(rules_of(endpoint(backend(2))))
    assert text.startswith("table ip orc\ndelete table ip orc\ntable ip orc {")
    assert 'add element ip orc samebr { "oc-blue00000000" . "oc-blue00000000" }' in text
