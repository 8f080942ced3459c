"""Rate limits: token buckets, alone and one for each address or node, in bounded memory.

Pure: the present instant is passed in, in seconds of any clock. One that is set back gives nothing away.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

_MAX_KEYS = 10_000


class Rate(NamedTuple):
    """So much at once, and so much a second from then on."""

    burst: float
    per_second: float


class TokenBucket:
    """Full (`burst`) at first and at most; `per_second` come back. Who spends more than is there is in debt."""

    __slots__ = ("_left", "_rate", "_since")

    def __init__(self, rate: Rate, now: float) -> None:
        self._rate = rate
        self._left = float(rate.burst)
        self._since = now

    def left(self, now: float) -> float:
        """Return how much may be spent at this instant; negative in debt."""
        if now > self._since:
            earned = self._left + (now - self._since) * self._rate.per_second
            self._left = max(self._left, min(self._rate.burst, earned))
        self._since = now
        return self._left

    def spend(self, amount: float, now: float) -> float:
        """Take `amount`, in debt if need be; return the seconds until there is no debt (any more)."""
        self._left = self.left(now) - amount
        return max(0.0, -self._left / self._rate.per_second)

    def take(self, amount: float, now: float) -> bool:
        """Take `amount` if there is so much, else nothing and return False."""
        if self.left(now) < amount:
            return False
        self._left -= amount
        return True

    def give_back(self, amount: float) -> None:
        """Return what was taken and has done no harm."""
        self._left = min(self._rate.burst, self._left + amount)


class RateLimit:
    """A bucket for each key. Only a limited number is remembered, the longest unseen forgotten first."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def allow(self, key: str, now: float) -> bool:
        """Take one attempt from a key's bucket; False when it is empty."""
        return self._bucket(key, now).take(1.0, now)

    def left(self, key: str, now: float) -> float:
        """Return how much of a key's bucket may be spent at this instant; negative in debt."""
        return self._bucket(key, now).left(now)

    def spend(self, key: str, amount: float, now: float) -> float:
        """Take `amount` from a key's bucket, in debt if need be; return the seconds until there is no debt."""
        return self._bucket(key, now).spend(amount, now)

    def refund(self, key: str) -> None:
        """Give an attempt back: it was a good one."""
        if key in self._buckets:
            self._buckets[key].give_back(1.0)

    def _bucket(self, key: str, now: float) -> TokenBucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = TokenBucket(self._rate, now)
            if len(self._buckets) > _MAX_KEYS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
        return bucket
