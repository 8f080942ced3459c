"""What happens to the managers of a cluster: one fault after the other, each for some seconds, then mended."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager

from tests.e2e.history.record import Fault
from tests.e2e.managers import Managers
from tests.lab import Host

HELD_SECONDS = (1.0, 9.0)
REST_SECONDS = (0.5, 4.0)
SKEWS = (-5.0, 5.0)

# A rule of the host itself, before all others that it has: what comes from these addresses, or goes there, is lost.
_LOSE = """
table ip nemesis {{
  chain lost {{ type filter hook {hook} priority -400; ip {field} {{ {addresses} }} drop; }}
}}
"""


class Nemesis:
    """Chooses by `rng` of the faults `only` (none named: of all); `told` hears what it does, as it does it."""

    def __init__(
        self, cluster: Managers, rng: random.Random, told: Callable[[str], None], only: Collection[str] = ()
    ) -> None:
        self._faults: list[Fault] = []
        self._cluster = cluster
        self._rng = rng
        self._told = told
        kinds: dict[Callable[[], Awaitable[None]], int] = {
            self._kill_leader: 4,
            self._kill_one: 2,
            self._stop_leader: 3,
            self._stop_etcd: 3,
            self._stop_both: 2,
            self._kill_etcd: 2,
            self._cut_off: 3,
            self._lose_what_comes: 2,
            self._lose_what_goes: 2,
            self._cut_pair: 3,
            self._roll: 2,
            self._demote_and_promote: 3,
            self._fill_disk: 3,
            self._skew: 2,
            self._lose_majority: 2,
        }
        self._kinds = {kind: weight for kind, weight in kinds.items() if not only or kind.__name__.strip("_") in only}
        assert len(self._kinds) == (len(only) or len(kinds)), f"a fault of {', '.join(only)} is not one"

    async def run(self, seconds: float) -> tuple[Fault, ...]:
        """Do one thing after the other for so many seconds; in the end all is mended. Return what was done."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            (kind,) = self._rng.choices(list(self._kinds), list(self._kinds.values()))
            await kind()
            await asyncio.sleep(self._rng.uniform(*REST_SECONDS))
        return tuple(self._faults)

    @asynccontextmanager
    async def _fault(self, kind: str, *hosts: Host, isolates: bool = False) -> AsyncIterator[None]:
        """Write down what happens within; once mended all managers have to be reachable again."""
        names = tuple(host.name for host in hosts)
        self._told(f"{kind} {' '.join(names)}")
        began = time.monotonic()
        try:
            yield
        finally:
            self._faults.append(Fault(kind, names, began, time.monotonic(), isolates))
        await self._cluster.all_reachable()

    async def _hold(self) -> None:
        await asyncio.sleep(self._rng.uniform(*HELD_SECONDS))

    def _any(self, count: int = 1) -> list[Host]:
        return self._rng.sample(self._cluster.managed, count)

    async def _leader(self) -> Host:
        return await self._cluster.leader(self._cluster.managed[0])

    async def _kill_leader(self) -> None:
        await self._kill("leader killed", await self._leader())

    async def _kill_one(self) -> None:
        await self._kill("killed", *self._any())

    async def _lose_majority(self) -> None:
        await self._kill("majority killed", *self._any(2))

    async def _kill(self, kind: str, *hosts: Host) -> None:
        async with self._fault(kind, *hosts):
            for host in hosts:
                await self._cluster.signal_manager(host, signal.SIGKILL)
            await self._hold()
            await asyncio.gather(*(self._cluster.start_manager(host) for host in hosts))

    async def _stop_leader(self) -> None:
        await self._stop("leader stopped", await self._leader(), "manager")

    async def _stop_etcd(self) -> None:
        host = await self._leader() if self._rng.random() < 0.6 else self._any()[0]
        await self._stop("etcd stopped", host, "etcd")

    async def _stop_both(self) -> None:
        await self._stop("manager and etcd stopped", await self._leader(), "manager", "etcd")

    async def _stop(self, kind: str, host: Host, *what: str) -> None:
        async with self._fault(kind, host):
            for each in what:
                await self._cluster.signal_manager(host, signal.SIGSTOP, etcd=each == "etcd")
            try:
                await self._hold()
            finally:
                for each in reversed(what):
                    await self._cluster.signal_manager(host, signal.SIGCONT, etcd=each == "etcd")

    async def _kill_etcd(self) -> None:
        host = await self._leader() if self._rng.random() < 0.6 else self._any()[0]
        async with self._fault("etcd killed", host):
            await self._cluster.signal_manager(host, signal.SIGKILL, etcd=True)
            await self._hold()

    async def _fill_disk(self) -> None:
        """Leave etcd no room: it ends, and comes back when there is some."""
        host = await self._leader() if self._rng.random() < 0.6 else self._any()[0]
        async with self._fault("disk full", host):
            await self._cluster.fill_disk(host)
            try:
                await self._hold()
            finally:
                await self._cluster.free_disk(host)

    async def _cut_off(self) -> None:
        host = await self._leader() if self._rng.random() < 0.6 else self._any()[0]
        async with self._fault("cut off", host, isolates=True):
            await host.cut()
            try:
                await self._hold()
            finally:
                await host.mend()

    async def _lose_what_comes(self) -> None:
        await self._lose("hears nobody", "prerouting", "saddr", await self._leader(), self._cluster.managed)

    async def _lose_what_goes(self) -> None:
        await self._lose("is heard by nobody", "postrouting", "daddr", await self._leader(), self._cluster.managed)

    async def _cut_pair(self) -> None:
        first, second = self._any(2)
        await self._lose("cut from each other", "prerouting", "saddr", first, [second])

    async def _lose(self, kind: str, hook: str, field: str, host: Host, others: list[Host]) -> None:
        others = [each for each in others if each is not host]
        isolated = (host, *others) if len(others) == 1 else (host,)
        rules = _LOSE.format(hook=hook, field=field, addresses=", ".join(each.ip for each in others))
        async with self._fault(kind, *isolated, isolates=True):
            await host.run("nft", "-f", "-", input=rules)
            try:
                await self._hold()
            finally:
                await host.run("nft", "delete", "table", "ip", "nemesis")

    async def _roll(self) -> None:
        async with self._fault("rolling restart", *self._cluster.managed):
            for host in self._any(3):
                await self._cluster.restart_manager(host)
                await self._cluster.all_reachable()

    async def _demote_and_promote(self) -> None:
        host, asked = self._any(2)
        async with self._fault("demoted and promoted", host):
            await self._cluster.docker(asked, "node", "demote", host.name)
            await self._hold()
            await self._cluster.docker(asked, "node", "promote", host.name)

    async def _skew(self) -> None:
        host, skew = self._any()[0], self._rng.choice(SKEWS)
        async with self._fault(f"clock {skew:+.0f} s", host):
            await self._cluster.restart_manager(host, skew)
            await self._hold()
            await self._cluster.signal_manager(await self._leader(), signal.SIGKILL)
            await self._hold()
            for each in self._cluster.managed:
                await self._cluster.restart_manager(each)
