"""What is put into Docker's chain, by what is there and by what leads to it."""

from __future__ import annotations

import shutil

import pytest

from worker.host import command
from worker.host.command import Output
from worker.net.apply import docker_user
from worker.net.apply.docker_user import CHAIN, FALLBACK_RULES, RULES

RETURN = "-j RETURN"
JUMP = f"-j {CHAIN}"
OLD, NEW = ["-j DOCKER-ISOLATION-STAGE-1", "-o docker0 -j DOCKER"], ["-j DOCKER-FORWARD"]


class Tables:
    """An iptables that has these chains, and does what iptables-restore is told."""

    def __init__(self, **chains: list[str]) -> None:
        self.chains = {name.replace("_", "-"): rules for name, rules in chains.items()}

    async def run(self, *argv: str, stdin: str = "", **_: object) -> Output:
        tool, *arguments = argv
        if tool.endswith("-restore"):
            for line in stdin.splitlines()[1:-1]:
                self._do(*line.split(" ", 2))
            return Output(0, "", "")
        chain = arguments[-1]
        if chain not in self.chains:
            return Output(1, "", "no such chain")
        return Output(0, "\n".join([f"-N {chain}", *(f"-A {chain} {rule}" for rule in self.chains[chain])]), "")

    def _do(self, action: str, chain: str, rule: str) -> None:
        if action == "-D":
            self.chains[chain].remove(rule)
        else:
            self.chains[chain].insert(0, rule.removeprefix("1 "))


async def ensured(monkeypatch: pytest.MonkeyPatch, tables: Tables) -> tuple[str, ...]:
    monkeypatch.setattr(command, "run", tables.run)
    return await docker_user.ensure()


@pytest.mark.parametrize("dockers", [OLD, NEW], ids=["before-28", "since-28"])
async def test_missing_rules_go_in_front(monkeypatch: pytest.MonkeyPatch, dockers: list[str]) -> None:
    tables = Tables(DOCKER_USER=[RULES[0], RETURN], FORWARD=[JUMP, *dockers])
    assert await ensured(monkeypatch, tables) == RULES[1:]
    assert tables.chains["DOCKER-USER"] == [*RULES[:0:-1], RULES[0], RETURN]
    assert tables.chains["FORWARD"] == [JUMP, *dockers]
    assert await ensured(monkeypatch, tables) == ()


def test_a_connection_that_is_let_in_is_let_out_again() -> None:
    """Docker lets nothing from one bridge to another, and a plain container's bridge is another."""
    found = {rule for rule in RULES if "oc-gw" in rule}
    into, out = "-o oc-gw -m conntrack --ctstate DNAT", "-i oc-gw -m conntrack --ctstate DNAT --ctdir REPLY"
    assert found == {f"{into} -j ACCEPT", f"{out} -j ACCEPT"}


async def test_without_the_chain_there_is_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await ensured(monkeypatch, Tables(FORWARD=[])) == ()


async def test_when_all_rules_were_flushed_ours_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its policy goes on to drop: without a way to the chain, all that is not let through before."""
    tables = Tables(DOCKER_USER=[], FORWARD=["-s 192.0.2.1 -j ACCEPT"])
    assert await ensured(monkeypatch, tables) == (*RULES, *FALLBACK_RULES, f"FORWARD {JUMP}")
    assert sorted(tables.chains["DOCKER-USER"]) == sorted([*RULES, *FALLBACK_RULES])
    assert tables.chains["FORWARD"] == [JUMP, "-s 192.0.2.1 -j ACCEPT"]
    assert await ensured(monkeypatch, tables) == ()
    tables.chains["FORWARD"] += OLD
    assert await ensured(monkeypatch, tables) == ()
    assert sorted(tables.chains["DOCKER-USER"]) == sorted(RULES)


async def test_nothing_of_ours_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = Tables(DOCKER_USER=[*FALLBACK_RULES, *RULES, RETURN], FORWARD=[JUMP])
    monkeypatch.setattr(command, "run", tables.run)
    monkeypatch.setattr(shutil, "which", lambda tool: tool if tool == "iptables" else None)
    await docker_user.remove()
    assert tables.chains["DOCKER-USER"] == [RETURN]
