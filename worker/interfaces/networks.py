"""The host's networks: what a task's container gets of them, and when they are told of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from common.model.container import Mount
from common.model.task import Task
from common.wire.messages import MESH, MESH6
from worker.intake.world import NetworkWorld
from worker.interfaces.engine import Container


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkEndpoint:
    """One Docker network for a container; `address` is fixed by the worker or, when empty, chosen by the engine.

    `address6` is its IPv6 address in a dual-stack network.
    """

    network: str
    network_id: str = ""
    address: str = ""
    address6: str = ""
    aliases: tuple[str, ...] = ()
    driver_opts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """What a task's container gets of networks.

    mode: `host`, `none` or `bridge` where the task has no network of the cluster; empty otherwise.
    endpoints: the Docker networks, the one for the default route first.
    dns, mounts: name servers, and files such as a resolv.conf that take their place.
    """

    mode: str = ""
    endpoints: tuple[NetworkEndpoint, ...] = ()
    dns: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    extra_hosts: tuple[str, ...] = ()

    def status_addresses(self) -> dict[str, str]:
        """Map network ids to the addresses that were assigned here, for the task's status.

        What the engine chose is an address of a bridge of this host alone: other hosts cannot use it.
        """
        found = {end.network_id: end.address for end in self.endpoints}
        found[MESH6] = next((end.address6 for end in self.endpoints if end.network_id == MESH), "")
        return {network_id: address for network_id, address in found.items() if network_id and address}


class Networks(Protocol):
    """The host's networks: the data plane, or plain bridges where there is none.

    For each task the supervisor calls in this order: attach, started, drain, release; `adopted` in place of attach for
    a container that outlived the agent.
    """

    async def run(self) -> None:
        """Bring the host into line with the newest world and keep it there; cancelled, leave the host as it is."""

    def update(self, world: NetworkWorld) -> None:
        """Take note of a new world. Called with each new assignment set; `attach` waits for what it needs of it."""

    async def in_line(self) -> None:
        """Wait until the host's rules are as the newest world has them."""

    def reserve(self, holder: str, addresses: Mapping[str, str]) -> None:
        """Note that a task or attachment has these addresses, by network id, or is to get them; others never do.

        Raises:
            AlreadyExists: one of them is another's.

        """

    async def attach(self, task: Task) -> Attachment:
        """Prepare what the task's container needs, networks and addresses; repeating it gives the same.

        Raises:
            SwarmError: it cannot be; the task is rejected with the message.

        """

    def hindrance(self, task: Task) -> str:
        """Say what `attach` waits for at the moment, with a tool's own error where one fails."""

    async def adopted(self, task: Task, container: Container) -> Attachment:
        """Recognise a container that runs already; its addresses are taken."""

    async def started(self, task: Task, container: Container) -> None:
        """Finish what needs the running container (its pid, its bridge ports), before it counts as started."""

    async def silent_ports(self, task: Task, container: Container) -> tuple[int, ...]:
        """Name the published TCP ports, as the container has them, on which its program does not listen yet.

        None of them where that cannot be seen.
        """

    async def drain(self, task: Task) -> None:
        """Take the task out of the load balancer; return when no new connection reaches it through any host."""

    async def release(self, task_id: str) -> None:
        """Give back the task's addresses and what was made for it alone. Its container has ended. Repeatable."""

    async def remove_all(self) -> None:
        """Leave the host as it was before the worker came."""

    def lacks(self) -> Collection[str]:
        """Name the rights or tools that the host misses, one sentence each."""

    def encryption(self) -> str:
        """Say what carries encrypted networks here, as `NodeDescription.encryption`; empty: nothing does."""

    async def looked(self) -> None:
        """Wait until the host was looked at once more: what it lacks may be something else then."""

    def ipv6(self) -> bool:
        """Whether tasks of dual-stack networks can be here, as `NodeDescription.ipv6`."""

    def ipv6_addresses(self) -> Collection[str]:
        """Return the host's own, as `NodeDescription.ipv6_addresses`."""
