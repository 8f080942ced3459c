"""Tables are brought to the kernel side by side, and each on its own."""

import asyncio

import pytest

from common.errors import Unavailable
from worker.net import command
from worker.net.nft import NftTables
from worker.net.ruleset import Chain, Ruleset


def tables(rule: str) -> list[Ruleset]:
    return [Ruleset(chains={"c": Chain((rule,))}, family=family) for family in ("ip", "ip6")]


async def test_no_table_waits_for_another(monkeypatch: pytest.MonkeyPatch):
    both = asyncio.Barrier(2)

    async def must(*_: str, **__: object) -> str:
        await both.wait()
        return ""

    monkeypatch.setattr(command, "must", must)
    await asyncio.wait_for(NftTables().apply(tables("accept")), 5)


async def test_a_refused_table_is_written_anew_and_the_others_are_there(monkeypatch: pytest.MonkeyPatch):
    written: list[str] = []
    refused = True

    async def must(*_: str, stdin: str, **__: object) -> str:
        written.append(stdin)
        if refused and "ip6" in stdin:
            raise Unavailable("nft failed: no room")
        return ""

    monkeypatch.setattr(command, "must", must)
    kernel = NftTables()
    with pytest.raises(Unavailable, match="no room"):
        await kernel.apply(tables("accept"))
    written.clear()
    refused = False
    await kernel.apply(tables("drop"))
    assert sorted(text.splitlines()[0] for text in written) == ["flush chain ip orc c", "table ip6 orc"]
    await kernel.apply(tables("drop"))
    assert len(written) == 2, "nothing differs"
