"""What this manager is among the others: what the API asks before it answers."""

from __future__ import annotations

import asyncio
from typing import Protocol

from msgspec.structs import replace

from common.errors import FailedPrecondition
from common.model import Node
from common.model.node import ManagerStatus
from manager.api.access.roles import Caller
from manager.api.engine.connections import Duplex

# With it the leader says which state its answer to a request that was passed on is of.
INDEX_HEADER = "swarm-index"
# In it the leader names what a request has made, for the manager that audits it.
MADE_HEADER = "swarm-made"


class Standing(Protocol):
    """A manager's place among the others."""

    @property
    def leads(self) -> bool:
        """Whether this manager takes changes, and has the workers' sessions."""

    @property
    def trouble(self) -> str:
        """Why no manager takes changes, for a person; empty while one does, as far as this one knows."""

    async def catch_up(self) -> str:
        """Wait until the store here has all that was acknowledged; return why that cannot be known, or nothing."""

    async def reached(self, index: int) -> None:
        """Wait until the store here has a change that the leader has answered for; not for long."""

    async def connect(self, caller: Caller) -> Duplex:
        """Open a connection to the leader's API, on which requests are `caller`'s; waits a little for a next leader.

        Raises:
            Unavailable: there is none: nothing was sent, and the message says what to do.

        """

    async def leader_lost(self) -> None:
        """Wait until the leader of now leads no more, or has not been heard of for some seconds."""

    async def check_role(self, node: Node, role: str) -> None:
        """Check that a node can be given another role, `manager` or `worker`.

        Raises:
            FailedPrecondition: it cannot; the message says why.

        """

    async def leave(self) -> bool:
        """Cease to be a manager, if there are others; return whether there are.

        Raises:
            SwarmError: the cluster could not go on without this one, or nobody can decide.

        """

    def status_of(self, node: Node) -> ManagerStatus | None:
        """Return a manager's status as of now; None for a node that is no manager."""


class Alone:
    """The place of the one manager of a cluster."""

    leads = True
    trouble = ""

    async def catch_up(self) -> str:
        return ""

    async def reached(self, index: int) -> None:
        """Nothing is elsewhere."""

    async def connect(self, caller: Caller) -> Duplex:
        raise AssertionError(f"the one manager answers {caller.name} itself")

    async def leader_lost(self) -> None:
        """Wait for ever: there is no other."""
        await asyncio.Event().wait()

    async def check_role(self, node: Node, role: str) -> None:
        if role == "worker":
            raise FailedPrecondition("attempting to demote the last manager of the swarm")
        raise FailedPrecondition(
            f"node {node.name} cannot be promoted: the store of this cluster is a file of its one manager; "
            "'swarm-manager convert --to etcd' on its host makes room for others"
        )

    async def leave(self) -> bool:
        return False

    def status_of(self, node: Node) -> ManagerStatus | None:
        return replace(node.manager_status, leader=True) if node.manager_status is not None else None
