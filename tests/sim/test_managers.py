"""Clusters of several managers with seeded faults of etcd and managers: nothing acknowledged is lost, nothing doubled.

A failing seed is replayed with `SIM_MANAGERS_SEED=n tests/run sim -k replay_managers -n 0`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from common.errors import Unavailable
from tests.fakes.etcd import Faults
from tests.sim import clock
from tests.sim.chaos import Chaos
from tests.sim.managers import Managers
from tests.sim.test_seeds import converge

# As many as of one manager: sim has what e2e leaves of the processors.
SEEDS = int(os.environ.get("SIM_MANAGERS_SEEDS", "1000"))
PART = 5
FAULTS_SECONDS = 40.0
# More than any of the patience with managers; that with tasks, which is longer, is what one manager's seeds are for.
REST_SECONDS = 10.0
# As long as no misfortune of a manager, or of etcd, lasts.
_LONGEST = 8.0


class ManagerChaos(Chaos):
    """Chaos in which managers and etcd have their share."""

    def __init__(self, cluster: Managers, rng: random.Random) -> None:
        super().__init__(cluster, rng)
        self._managers = cluster
        self._lasting: set[asyncio.Task[None]] = set()

    async def happen(self) -> None:
        if self._rng.random() < 0.6:
            await super().happen()
            return
        operation = self._rng.choices(list(_OPERATIONS), list(_OPERATIONS.values()))[0]
        self.log.append(f"{self._managers.clock.now():.2f} {operation.__name__.strip('_')}")
        await operation(self)

    async def calm_down(self) -> None:
        await asyncio.gather(*self._lasting)
        self._managers.etcd.faults = Faults()
        await self._managers.start_manager()
        await asyncio.sleep(5.0)
        await super().calm_down()

    async def _lose_member(self) -> None:
        """Take a member of etcd away, or the majority, and give it back after a while."""
        names = self._rng.sample(list(self._managers.etcd.members), self._rng.choice([1, 1, 1, 2]))
        self._last(self._away(names, self._rng.choice(["cut", "paused", "down"]), self._duration()))

    async def _away(self, names: list[str], how: str, seconds: float) -> None:
        etcd = self._managers.etcd
        for name in names:
            etcd.set_member(name, up=how != "down", cut=how == "cut", paused=how == "paused")
        await asyncio.sleep(seconds)
        for name in names:
            etcd.set_member(name)

    async def _elect(self) -> None:
        self._last(self._managers.etcd.elect(self._rng.uniform(0.1, 2.0)))

    async def _compact(self) -> None:
        etcd = self._managers.etcd
        etcd.compact(etcd.revision - self._rng.choice([0, 5, 50]))

    async def _hand_over(self) -> None:
        if self._managers.leader is not None:
            self._managers.leader.leadership.hand_over()

    async def _upgrade(self) -> None:
        with contextlib.suppress(Unavailable):  # there is no leader just now: the level rises with the next one
            await self._managers.upgrade()

    async def _stop(self) -> None:
        """Stop one of the managers, or all one after the other, and start them again."""
        for _ in range(self._rng.choice([1, 1, 2, 3])):
            await self._managers.stop_manager()
            await asyncio.sleep(self._rng.choice([0.0, 0.3, 2.0]))
        await self._managers.start_manager()

    def _last(self, misfortune: Coroutine[Any, Any, None]) -> None:
        """Let something go on while other things happen."""
        task = asyncio.create_task(misfortune)
        self._lasting.add(task)
        task.add_done_callback(self._lasting.discard)

    def _duration(self) -> float:
        return self._rng.choice([0.1, 0.5, 1.3, 1.6, self._rng.uniform(0, _LONGEST)])


_OPERATIONS: dict[Callable[[ManagerChaos], Awaitable[None]], int] = {
    ManagerChaos._lose_member: 4,
    ManagerChaos._elect: 2,
    ManagerChaos._compact: 1,
    ManagerChaos._hand_over: 2,
    ManagerChaos._upgrade: 2,
    ManagerChaos._stop: 4,
}


def faults(rng: random.Random) -> Faults:
    return Faults(
        delay=rng.choice([0.001, 0.01, 0.1]),
        lag=rng.choice([0.001, 0.01, 0.3]),
        lost=rng.choice([0.0, 0.01, 0.05]),
        unanswered=rng.choice([0.0, 0.02, 0.1]),
        late=rng.choice([0.0, 0.02, 0.05]),
        stale=rng.choice([0.0, 0.5]),
        slow=rng.choice([0.0, 0.005, 0.05]),
    )


async def scenario(seed: int) -> Managers:
    """Live through one seed."""
    rng = random.Random(seed)
    cluster = Managers(seed, heartbeat=rng.choice([1.0, 3.0]), latency=rng.choice([0.0, 0.01]))
    cluster.habits.rejected = rng.choice([0.0, 0.1])
    cluster.habits.failing = rng.choice([0.0, 0.2])
    cluster.habits.pull = rng.choice([0.1, 2.0])
    chaos = ManagerChaos(cluster, rng)
    try:
        async with cluster.running():
            await chaos.build(rng.randint(2, 4))
            cluster.etcd.faults = faults(rng)
            end = cluster.clock.now() + FAULTS_SECONDS
            while cluster.clock.now() < end:
                await chaos.happen()
                await asyncio.sleep(rng.expovariate(1.0))
                cluster.check()
            await chaos.calm_down()
            await converge(cluster, REST_SECONDS)
            await asyncio.sleep(1.0)
            assert len({replica.store.index for replica in cluster.replicas.values()}) == 1, "a follower lags for ever"
            cluster.check()
    except BaseException as error:
        error.add_note(f"replay: SIM_MANAGERS_SEED={seed} tests/run sim -k replay_managers -n 0")
        error.add_note("\n".join(["what happened:", *chaos.log]))
        raise
    return cluster


@pytest.mark.parametrize("first", range(0, SEEDS, PART))
def test_seeds_of_managers(first: int) -> None:
    clock.run_each(scenario, range(first, min(SEEDS, first + PART)))


@pytest.mark.skipif("SIM_MANAGERS_SEED" not in os.environ, reason="replays one seed: SIM_MANAGERS_SEED=n")
def test_replay_managers() -> None:
    seed = int(os.environ["SIM_MANAGERS_SEED"])
    print(f"seed {seed}", file=sys.stderr)
    cluster = clock.run(scenario(seed))
    history = cluster.history
    told = f"{history.acknowledged} commits acknowledged, {history.unknown} unknown, {len(history.leaders)} leaders"
    print(told, file=sys.stderr)
