"""What containers answer to clients that came through a peer goes back through it."""

from common.wire.messages import Peer
from tests.unit.worker.net.worlds import POOLS6, facts, world
from worker.net.plan.host_plan import HostPlan, plan
from worker.net.plan.ruleset import Ruleset, difference


def way_back(found: HostPlan) -> Ruleset:
    assert found.way_back is not None
    return found.way_back


def test_each_peers_mark_leads_into_the_tunnel_and_is_taken_off():
    found = way_back(plan(world(), (), (), facts()))
    assert found.table == "netdev orc"
    assert found.chains["h_back"].rules == ("meta mark & 0xfff0000 vmap @peers",)
    assert found.chains["h_back"].hook.startswith('type filter hook ingress device "oc-gw"')
    assert found.lookups["peers"].elements == {"0x20000": "goto back_2", "0x30000": "goto back_3"}
    unmarked = "meta mark set meta mark & 0xf000ffff"
    assert found.chains["back_3"].rules == (
        "meta length > 1450 meta l4proto != tcp return",
        f'meta protocol ip {unmarked} fwd ip to 10.239.240.3 device "orc-vx"',
    )


def test_ipv6_goes_back_the_same_way():
    _, _, second = way_back(plan(world(address_pools=POOLS6), (), (), facts(ipv6=True))).chains["back_2"].rules
    assert second.startswith("meta protocol ip6 ")
    assert second.endswith('fwd ip6 to fd00:20:0:ffff:ffff:ffff:aef:f002 device "orc-vx"')


def test_without_a_tunnel_or_peers_there_is_nothing():
    assert plan(world(), (), (), facts(address="")).way_back is None
    assert plan(world(peers={}), (), (), facts()).way_back is None


def test_a_peer_that_comes_or_goes_changes_its_own_chain_only():
    both = way_back(plan(world(), (), (), facts()))
    peer = Peer(node_id="node2", number=2, addr="192.168.7.2")
    one = way_back(plan(world(peers={"node2": peer}), (), (), facts()))
    assert difference(both, one).splitlines() == [
        "delete element netdev orc peers { 0x30000 }",
        "flush chain netdev orc back_3",
        "delete chain netdev orc back_3",
    ]
    assert "back_2" not in difference(one, both)
