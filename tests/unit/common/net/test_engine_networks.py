from common.model.network import Network, NetworkSpec
from common.net.engine_networks import GATEWAY_NETWORK, engine_network


def named(name: str, network_id: str = "n" * 25) -> str:
    return engine_network(Network(id=network_id, spec=NetworkSpec(name=name)))


def test_two_networks_of_one_name_have_different_names():
    assert named("front", "abcdefgh") == "orc-front-abcde"
    assert named("front", "bcdefghi") != named("front", "abcdefgh")


def test_the_gateway_network_sorts_before_all_others():
    """Docker gives the network whose name sorts first the default route."""
    names = ["front", "0", "00-orc-gw", "ingress", "A"]
    assert min(GATEWAY_NETWORK, *map(named, names)) == GATEWAY_NETWORK
