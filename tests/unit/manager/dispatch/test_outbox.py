"""Credentials for pulls, and the request to renew a certificate, are sent once, and again when they change."""

from __future__ import annotations

from common.clock import SystemClock
from common.model import RegistryLogin, RootKey
from common.wire.messages import RenewCertificate
from manager.dispatch.outbox import unsent_logins
from manager.store.backends.memory import MemoryBackend
from manager.store.store import Store
from tests.fakes.dispatching import Manager
from tests.fakes.virtual_loop import run_virtual


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


def test_a_worker_is_told_once_a_step_to_renew_its_certificate() -> None:
    async def story() -> int:
        async with Manager().running() as manager:
            worker = await manager.session("n1")
            await manager.put(RootKey(step=1))
            await worker.expect(RenewCertificate)
            await manager.put(RootKey(step=1, certificate=b"another"))
            # It says nothing more, so the session ends.
            return len([each async for each in worker.rest() if isinstance(each, RenewCertificate)])

    async def next_step() -> None:
        async with Manager().running() as manager:
            worker = await manager.session("n1")
            for step in (1, 2):
                await manager.put(RootKey(step=step))
                await worker.expect(RenewCertificate)

    assert run_virtual(story()) == 0
    run_virtual(next_step())
