"""How often one address may try to join: a token bucket an address, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict

from common.clock import Clock

_MAX_ADDRESSES = 10_000


class RateLimit:
    """Allows `burst` attempts of an address at once, and one more every `period` seconds.

    Only a limited number of addresses is remembered, the longest unseen forgotten first.
    """

    def __init__(self, burst: int, period: float, clock: Clock) -> None:
        self._burst = burst
        self._period = period
        self._clock = clock
        # address -> (attempts left, as of when)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allow(self, address: str) -> bool:
        """Take one attempt from an address's bucket; False when it is empty."""
        now = self._clock.now()
        left, since = self._buckets.pop(address, (float(self._burst), now))
        left = min(float(self._burst), left + max(0.0, now - since) / self._period)
        allowed = left >= 1.0
        self._buckets[address] = (left - 1.0 if allowed else left, now)
        if len(self._buckets) > _MAX_ADDRESSES:
            self._buckets.popitem(last=False)
        return allowed

    def refund(self, address: str) -> None:
        """Give an attempt back: it was a good one."""
        left, since = self._buckets.get(address, (float(self._burst), self._clock.now()))
        self._buckets[address] = (min(float(self._burst), left + 1.0), since)
