"""Which address a task gets: the next one of this host's part of a network, and none that was in use a moment ago.

Docker's own choice hands a freed address out at once, while other hosts may still send it what was meant for the task
before. So addresses go round in turn, and one that was given back rests. Pure but for what it remembers.
"""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv4Address, IPv4Network

from common.addressing import container_addresses
from common.errors import ResourceExhausted

REST_SECONDS = 10.0


class AddressPool:
    """The addresses of one lease. Instants are seconds of any one clock."""

    def __init__(self, lease: IPv4Network, subnet: IPv4Network) -> None:
        self.lease = lease
        numbers = container_addresses(lease, subnet)
        self._first, self._last = numbers[0], numbers[-1]
        self._next = self._first
        self._holders: dict[int, str] = {}
        # Given back, in that order → until when they rest.
        self._resting: OrderedDict[int, float] = OrderedDict()

    def take(self, task_id: str, now: float) -> IPv4Address | float:
        """Return an address for a task, or, while all that are free still rest, how many seconds to wait.

        Raises:
            ResourceExhausted: all are in use.

        """
        for _ in range(self._last - self._first + 1):
            candidate = self._next
            self._next = self._first if candidate >= self._last else candidate + 1
            if candidate not in self._holders and not self._rest(candidate, now):
                self._resting.pop(candidate, None)
                self._holders[candidate] = task_id
                return IPv4Address(candidate)
        if not self._resting:
            raise ResourceExhausted(f"all addresses of {self.lease}, this host's part of the network, are in use")
        return self._rest(next(iter(self._resting)), now)

    def idle(self, now: float) -> bool:
        """Whether nobody has an address, and none rests."""
        return not self._holders and not any(self._rest(number, now) for number in self._resting)

    def _rest(self, number: int, now: float) -> float:
        """Return for how many seconds an address rests; of a clock that was set back, nothing is believed."""
        left = self._resting.get(number, now) - now
        return left if 0 < left <= REST_SECONDS else 0.0

    def hold(self, task_id: str, address: IPv4Address) -> None:
        """Note that a task has an address already; one of another lease does not matter here."""
        number = int(address)
        if self._first <= number <= self._last:
            self._holders[number] = task_id
            self._resting.pop(number, None)
            self._next = self._first if number >= self._last else max(self._next, number + 1)

    def release(self, address: IPv4Address, now: float) -> None:
        """Take an address back. Repeatable."""
        number = int(address)
        if self._holders.pop(number, None) is not None:
            self._resting[number] = now + REST_SECONDS
            self._resting.move_to_end(number)
