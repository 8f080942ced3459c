"""Credentials for pulls are sent to a node once, again when they change, and not after they are gone."""

from __future__ import annotations

from common.clock import SystemClock
from common.model import RegistryLogin
from manager.dispatch.outbox import unsent_logins
from manager.store.backends.memory import MemoryBackend
from manager.store.store import Store


async def test_each_change_is_sent_once() -> None:
    sent: dict[str, RegistryLogin] = {}
    async with Store(MemoryBackend(), SystemClock()) as store:

        def unsent() -> list[str]:
            return [each.auth for each in unsent_logins(store.view, ["s1", "s2", "s1"], sent)]

        await store.update(lambda tx: tx.put(RegistryLogin(id="s1", auth="one")))
        assert unsent() == ["one"]
        assert unsent() == []
        await store.update(lambda tx: tx.put(RegistryLogin(id="s1", auth="two")))
        assert unsent() == ["two"]
        await store.update(lambda tx: tx.remove(RegistryLogin(id="s1")))
        assert (unsent(), sent) == ([], {})
        await store.update(lambda tx: tx.put(RegistryLogin(id="s1", auth="two")))
        assert unsent() == ["two"]
