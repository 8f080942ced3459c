"""The rules use only words that the oldest nft we support reads: 1.0.6, Debian 12's.

Nothing here runs that nft. A new word that fails here is to be tried with it first, and then added.
"""

import re

import pytest

from common.model.container import DriverConfig
from tests.unit.worker.net.worlds import POOLS6, RED, backend, endpoint, facts, network, port, world
from worker.net.plan.host_plan import plan
from worker.net.plan.ruleset import Ruleset

# The names of priorities that nft 1.0.6 knows at each hook; a number is good everywhere.
PRIORITIES = {
    "prerouting": {"raw", "mangle", "dstnat", "filter", "security"},
    "postrouting": {"raw", "mangle", "filter", "security", "srcnat"},
    "input": {"raw", "mangle", "filter", "security"},
    "forward": {"raw", "mangle", "filter", "security"},
    "output": {"raw", "mangle", "filter", "security"},
    "ingress": {"filter"},
}
WORDS = """
    accept confirmed counter ct daddr device direction dnat dport drop dup established ether fwd icmpv6 iifname ip ip6
    jump l4proto length local map mark masquerade meta name nd-neighbor-advert nd-neighbor-solicit new notrack oifname
    original protocol reject related reply reset return saddr set state status tcp th to type udp vmap with zone
"""
PLACE = r'type \w+ hook (\w+)(?: device "[\w-]+")? priority (?:([a-z]\w*)(?: - \d+)?|-?\d+); policy accept;'
WORD = re.compile(r"[a-z][a-z0-9_-]*")


@pytest.fixture(params=["ip", "ip6", "bridge", "netdev"])
def table(request: pytest.FixtureRequest) -> Ruleset:
    """A table of a host with all that rules can be about."""
    secret = DriverConfig(name="overlay", options={"encrypted": ""})
    ports = (port(), port(53, 53, "udp"), port(8081, host_ip="127.0.0.1"), port(8082, host_ip="fd00:7::1"))
    networks = (network(subnet6="fd00:1::/64"), network(RED, "10.2.0.0/16", "fd00:2::/64", driver=secret))
    web = endpoint(backend(2, ipv6=True), backend(3, 2, ipv6=True), ports=ports)
    there = world(web, networks=networks, address_pools=POOLS6)
    found = plan(there, ("10.1.16.2",), (), facts(ipv6=True))
    assert found.way_back is not None
    (one,) = [each for each in (*found.rulesets, found.way_back) if each.family == request.param]
    return one


def test_priorities_have_names_only_where_nft_knows_them(table: Ruleset):
    hooks = [chain.hook for chain in table.chains.values() if chain.hook]
    assert hooks
    for hook in hooks:
        found = re.fullmatch(PLACE, hook)
        assert found, hook
        assert found[2] is None or found[2] in PRIORITIES[found[1]], hook


def test_rules_have_only_words_that_were_tried(table: Ruleset):
    rules = [rule for chain in table.chains.values() for rule in chain.rules]
    assert rules
    assert not {word for rule in rules for word in words(rule)} - set(WORDS.split())


def words(text: str) -> set[str]:
    """Return nft's words in a line: no names of ours, no addresses, no numbers."""
    plain = re.sub(r'"[^"]*"|@\S+|\S*::?\S+|\b[hvm]_\w+|(?<![\w-])0x\w+', " ", text)
    return set(WORD.findall(plain))
