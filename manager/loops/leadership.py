"""Runs leader election: claims the leadership when it is due, leads while it holds it, and follows again."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from common.aio.first import first_of
from common.clock import boot_time
from common.errors import Unavailable
from manager.store.backend import LeaderRecord, NotLeader
from manager.store.leadership import Claim, LeadershipTimeouts, Seen, Serve, StepDown, Verdict, Wait, judge
from manager.store.shared import SharedStore

# Managers that notice the same silence claim at most this many seconds apart.
_JITTER_SECONDS = 0.15
# A shorter wait may end before its instant, due to rounding.
_LEAST_SECONDS = 0.001

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Candidate:
    """What other managers learn about this one when it leads; see `LeaderRecord`. `generation` is its cluster's."""

    node_id: str
    addr: str
    release: str
    generation: int = 0


class Leadership:
    """Runs one manager's part of the election. The context `lead()` lasts for as long as it leads."""

    def __init__(
        self,
        store: SharedStore,
        candidate: Candidate,
        lead: Callable[[], AbstractAsyncContextManager[object]],
        rng: random.Random,
        *,
        elapsed: Callable[[], float] = boot_time,
        timeouts: LeadershipTimeouts | None = None,
    ) -> None:
        self._store = store
        self._candidate = candidate
        self._lead_context = lead
        self._rng = rng
        self._elapsed = elapsed
        self._timeouts = timeouts or LeadershipTimeouts()
        self._tried_at = -math.inf
        self._jitter = rng.uniform(0, _JITTER_SECONDS)
        self._handing_over = asyncio.Event()

    async def run(self) -> None:
        """Follow and lead until cancelled; then a leader hands over.

        An error of `lead`, or a bug that keeps the store from being written, is raised.
        """
        while True:
            verdict = self._judge()
            if not isinstance(verdict, Claim):
                await self._wait(verdict)
            elif await self._claim(verdict):
                await self._lead()

    def hand_over(self) -> None:
        """If this manager leads, let another one lead, if there is one; this one follows then."""
        if self._store.leads:
            self._handing_over.set()

    def index(self) -> int:
        """Return the index of a state that has all that any manager had acknowledged before this call.

        Raises:
            NotLeader: this manager does not lead, or is not sure that it does.

        """
        confirmed_at = self._store.confirmed_at
        # Signs of life do not count: a manager that did not see them may have claimed and committed since.
        if confirmed_at is None or self._elapsed() >= confirmed_at + self._timeouts.sure:
            raise NotLeader(None if self._store.leads else self._store.leader)
        return self._store.index

    def _judge(self) -> Verdict:
        store = self._store
        seen = Seen(
            node_id=self._candidate.node_id,
            record=store.record,
            has_led=store.has_led,
            moved_at=store.moved_at,
            shown_at=store.shown_at,
            tried_at=self._tried_at,
        )
        return judge(seen, self._elapsed(), self._jitter, self._timeouts, self._candidate.generation)

    async def _claim(self, claim: Claim) -> bool:
        own = self._candidate
        self._tried_at = self._elapsed()
        self._jitter = self._rng.uniform(0, _JITTER_SECONDS)
        try:
            return await self._store.lead(LeaderRecord(own.node_id, claim.epoch, own.addr, own.release))
        except Unavailable as error:
            _log.warning("cannot claim the leadership: %s", error.message)
            return False

    async def _lead(self) -> None:
        _log.info("this manager leads from change %d on, epoch %s", self._store.index, self._store.epoch)
        try:
            async with self._lead_context():
                while isinstance(verdict := self._judge(), Serve) and not self._handing_over.is_set():
                    await self._wait(verdict)
        finally:
            if isinstance(self._judge(), Serve):
                await self._store.resign()
            await self._store.step_down()
            self._handing_over.clear()
        await self._store.writing()
        _log.info("this manager follows again, after change %d", self._store.index)

    async def _wait(self, verdict: Wait | Serve | StepDown) -> None:
        """Wait until the situation may have changed."""
        if isinstance(verdict, StepDown):
            return
        timeout = max(_LEAST_SECONDS, verdict.until - self._elapsed())
        await first_of(self._store.moved(), self._handing_over.wait(), within=timeout)
