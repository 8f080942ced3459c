"""Rules: any way through changes ends in the same table as writing the last one anew; addresses are never shared."""

import re
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import ResourceExhausted
from tests.unit.worker.net.nfkernel import ServicesKernel
from tests.unit.worker.net.worlds import POOLS6, backend, endpoint, facts, ips, mesh6, network, port, world
from worker.intake.addresses import port as listened
from worker.net.ipam import AddressPool
from worker.net.plan import service_table
from worker.net.plan.host_plan import Memory, plan
from worker.net.plan.ruleset import Ruleset, difference, whole
from worker.net.plan.service_table import ServiceTable

COMMAND = re.compile(r"(add|flush|delete) (chain|rule|element) (?:ip|ip6|bridge|netdev) orc (\S+) ?(.*)")


class Kernel:
    """The table as nft would leave it: refuses what nft refuses (unknown chains, elements twice, chains in use)."""

    def __init__(self) -> None:
        self.chains: dict[str, list[str]] = {}
        self.elements: dict[str, dict[str, str]] = {}

    def run(self, text: str) -> None:
        if re.match(r"table (ip|ip6|bridge|netdev) orc\ndelete", text):
            self.chains, self.elements = {}, {}
            for line in text.splitlines():
                if found := re.match(r"(chain|set|map) (\S+) {", line):
                    (
                        self.chains.setdefault(found[2], [])
                        if found[1] == "chain"
                        else self.elements.setdefault(found[2], {})
                    )
        for line in text.splitlines():
            if found := COMMAND.fullmatch(line):
                self._one(*found.groups())

    def _one(self, verb: str, kind: str, name: str, rest: str) -> None:
        match verb, kind:
            case "add", "chain":
                assert name not in self.chains
                self.chains[name] = []
            case "flush", "chain":
                self.chains[name].clear()
            case "delete", "chain":
                assert not self.chains.pop(name)
            case "add", "rule":
                self.chains[name].append(rest)
            case _:
                self._elements(verb, self.elements[name], rest)

    def _elements(self, verb: str, lookup: dict[str, str], rest: str) -> None:
        for element in rest.removeprefix("{ ").removesuffix(" }").split(", "):
            key, _, value = element.partition(" : ")
            if verb == "add":
                assert key not in lookup
                lookup[key] = value
            else:
                del lookup[key]

    def shows(self, wanted: Ruleset) -> None:
        assert self.chains == {name: list(chain.rules) for name, chain in wanted.chains.items()}
        assert self.elements == {name: dict(lookup.elements) for name, lookup in wanted.lookups.items()}


@st.composite
def worlds(draw: st.DrawFn):
    names = draw(st.sets(st.sampled_from(["web", "db", "api"])))
    made = []
    for number, name in enumerate(sorted(names)):
        numbers = draw(st.lists(st.integers(2, 6), unique=True, max_size=4))
        host_ip = draw(st.sampled_from(["", "127.0.0.1", "fd00::7", "::1"]))
        ports = (port(8080 + number, host_ip=host_ip),) if draw(st.booleans()) else ()
        ipv6 = draw(st.booleans())  # a node that has none, or not yet
        backends = [backend(each, ipv6=ipv6) for each in numbers]
        made.append(endpoint(*backends, name=name, vip=f"10.1.0.{9 + number}", ports=ports))
    addresses = draw(st.sets(st.sampled_from(["10.1.16.2", "10.1.16.3", mesh6(1, 2)])))
    held = frozenset({listened("tcp", 8080, "")}) if draw(st.booleans()) else frozenset()
    peers: dict[str, Any] = {"peers": {}} if draw(st.booleans()) else {}
    networks = (network(subnet6="fd00:1::/64"),)
    there = world(*made, **peers, address_pools=POOLS6, networks=networks)
    return there, ips(*addresses), draw(st.sets(st.sampled_from(["t2", "t3"]))), facts(held=held, ipv6=True)


@settings(max_examples=200, deadline=None)
@given(st.lists(worlds(), min_size=2, max_size=6))
def test_differences_lead_to_the_same_tables_as_the_whole(steps):
    memory, kernels = Memory(), {family: Kernel() for family in ("ip", "ip6", "bridge", "netdev")}
    balancing = {family: ServicesKernel() for family in ("ip", "ip6")}
    before: dict[str, Ruleset] = {}
    balanced: dict[str, ServiceTable] = {}
    for step in steps:
        there, addresses, draining, host = step
        found = plan(there, addresses, draining, host, memory)
        assert [each.family for each in found.rulesets] == ["ip", "ip6", "bridge"]
        assert [each.family for each in found.services] == ["ip", "ip6"]
        for after in (*found.rulesets, *([found.way_back] if found.way_back is not None else ())):
            kernel = kernels[after.family]
            kernel.run(whole(after) if after.family not in before else difference(before[after.family], after))
            kernel.shows(after)
            assert difference(after, after) == ""
            before[after.family] = after
        for table in found.services:
            last = balanced.get(table.family)
            commands = service_table.whole(table) if last is None else service_table.difference(last, table)
            if commands:
                balancing[table.family].run(commands)
            balancing[table.family].shows(table)
            assert not service_table.difference(table, replace(table))
            balanced[table.family] = table


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.floats(0, 20)), max_size=60))
def test_no_address_has_two_holders_or_is_given_while_it_rests(steps):
    pool = AddressPool(IPv4Network("10.1.16.0/28"), IPv4Network("10.1.0.0/16"))
    now, held, freed = 0.0, {}, {}
    for task, take, passed in steps:
        now += passed
        if not take and task in held:
            freed[held[task]] = now
            pool.release(held.pop(task), now)
        elif take and task not in held:
            try:
                found = pool.take(str(task), now)
            except ResourceExhausted:
                assert len(held) == 14
                continue
            if isinstance(found, IPv4Address):
                assert found not in held.values()
                assert now - freed.get(found, -100.0) >= 10
                held[task] = found
            else:
                assert 0 < found <= 10
