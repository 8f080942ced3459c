"""IP address management (IPAM) of this host: which task has which address of the host's part of each network.

Docker's own IPAM hands a freed address out at once, while other hosts may still send it what was meant for the task
before. So here addresses are handed out in turn, and one that was given back rests for `REST_SECONDS`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network

from common.clock import Clock
from common.errors import AlreadyExists, ResourceExhausted, Unavailable
from common.net.addressing import container_addresses
from common.wire.messages import MESH
from worker.intake.addresses import IPAddress, address4
from worker.intake.identifiers import Unusable
from worker.interfaces.engine import Container
from worker.net.plan.topology import NodeTopology

REST_SECONDS = 10.0


class TaskAddresses:
    """The addresses of this host's tasks by network id, the one for the routing mesh under `MESH`.

    draining: the ids of tasks that are about to stop, and get no new connections.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pools: dict[str, AddressPool] = {}
        self._tasks: dict[str, dict[str, IPAddress]] = {}
        self.draining: set[str] = set()

    def of(self, task_id: str) -> Mapping[str, IPAddress]:
        """Return a task's addresses by network id; none of one that is not here."""
        return self._tasks.get(task_id, {})

    @property
    def by_task(self) -> Mapping[str, Mapping[str, IPAddress]]:
        return self._tasks

    @property
    def networks(self) -> Collection[str]:
        """The networks that tasks are on."""
        return {network_id for addresses in self._tasks.values() for network_id in addresses}

    @property
    def in_use(self) -> Collection[IPAddress]:
        """All addresses that tasks of this host have."""
        return {address for addresses in self._tasks.values() for address in addresses.values()}

    def fit(self, topology: NodeTopology) -> None:
        """Follow the leases of this host: a pool for each, holding what its tasks have.

        That of a network which is gone is kept for as long as its addresses are in use or rest: it may be back soon.
        """
        segments = topology.segments.items()
        leases = {network_id: (segment.lease, segment.subnet) for network_id, segment in segments}
        if topology.number:
            leases[MESH] = (topology.gateways, topology.gateways)
        for network_id, (lease, subnet) in leases.items():
            pool = self._pools.get(network_id)
            if pool is None or pool.lease != lease:
                pool = self._pools[network_id] = AddressPool(lease, subnet)
                for task_id, addresses in self._tasks.items():
                    held = addresses.get(network_id)
                    if isinstance(held, IPv4Address):
                        pool.hold(task_id, held)
        now = self._clock.now()
        for network_id in [each for each, pool in self._pools.items() if each not in leases and pool.idle(now)]:
            del self._pools[network_id]

    def take(self, task_id: str, network_ids: Collection[str]) -> float:
        """Give a task an address in each of these networks, and in no other.

        Returns 0, or for how many seconds to wait until one has rested.

        Raises:
            ResourceExhausted: a network has no address left here.
            Unavailable: a network has no part for this host yet.

        """
        addresses = self._tasks.setdefault(task_id, {})
        for network_id in addresses.keys() - {*network_ids}:
            self._give_back(network_id, addresses.pop(network_id))
        for network_id in network_ids:
            if network_id in addresses:
                continue
            pool = self._pools.get(network_id)
            if pool is None:
                raise Unavailable(f"network {network_id} has no addresses on this host yet")
            found = pool.take(task_id, self._clock.now())
            if not isinstance(found, IPv4Address):
                return found
            addresses[network_id] = found
        return 0.0

    def reserve(self, task_id: str, addresses: Mapping[str, IPAddress]) -> None:
        """Keep addresses for one that is to get them, or has them.

        Raises:
            AlreadyExists: one of them is another's.

        """
        for network_id, address in addresses.items():
            for other_id, others in self._tasks.items():
                if other_id != task_id and others.get(network_id) == address:
                    raise AlreadyExists(f"address {address} is in use on this host, by {other_id}")
        for network_id, address in addresses.items():
            self.hold(task_id, network_id, address)

    def hold(self, task_id: str, network_id: str, address: IPAddress) -> None:
        """Note what a container has that was made before."""
        self._tasks.setdefault(task_id, {})[network_id] = address
        if network_id in self._pools and isinstance(address, IPv4Address):
            self._pools[network_id].hold(task_id, address)

    def release(self, task_id: str) -> bool:
        """Take back a task's addresses; return whether it had any. Repeatable."""
        self.draining.discard(task_id)
        addresses = self._tasks.pop(task_id, {})
        for network_id, address in addresses.items():
            self._give_back(network_id, address)
        return bool(addresses)

    def _give_back(self, network_id: str, address: IPAddress) -> None:
        if network_id in self._pools and isinstance(address, IPv4Address):
            self._pools[network_id].release(address, self._clock.now())


def addresses_of(container: Container, docker_names: Mapping[str, str]) -> Iterator[tuple[str, IPv4Address]]:
    """Yield a container's addresses, and before each its network's id. `docker_names`: Docker's name → network id."""
    for name, text in container.addresses.items():
        with suppress(Unusable):  # an engine that says nonsense of its containers has others' to say it of, too
            if name in docker_names:
                yield docker_names[name], address4(text)


# --- which address a task gets ---


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
