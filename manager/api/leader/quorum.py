"""The quorum of managers as the API sees it: who leads, whether changes can be made, what the leader is asked."""

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


class Quorum(Protocol):
    """The managers together, as one of them sees them."""

    @property
    def leads(self) -> bool:
        """Whether this manager takes changes, and has the workers' sessions."""

    @property
    def trouble(self) -> str:
        """Why no manager takes changes, for a person; empty while one does, as far as this one knows."""

    async def catch_up(self) -> str:
        """Wait until the store here has all that was acknowledged; return why that is unknown, or an empty text."""

    async def reached(self, index: int) -> None:
        """Wait, for 1 s at most, until the store here has the change `index`, which the leader has answered for."""

    async def connect(self, caller: Caller) -> Duplex:
        """Open a connection to the leader's API, on which requests are `caller`'s; waits up to 3 s for the next leader.

        Raises:
            Unavailable: no manager leads; nothing was sent, and the message says what to do.

        """

    async def leader_lost(self) -> None:
        """Wait until the present leader no longer leads, or has been silent for 10 s."""

    async def check_role(self, node: Node, role: str) -> None:
        """Check that a node can be given another role, `manager` or `worker`.

        Raises:
            FailedPrecondition: it cannot; the message says why.

        """

    async def leave(self) -> bool:
        """Stop being a manager, if there are others; return whether there are.

        Raises:
            SwarmError: the cluster could not go on without this one, or nobody can decide.

        """

    def status_of(self, node: Node) -> ManagerStatus | None:
        """Return a manager's present status; None if the node is not a manager."""


class SingleManager:
    """The quorum of a cluster that has one manager."""

    leads = True
    trouble = ""

    async def catch_up(self) -> str:
        return ""

    async def reached(self, index: int) -> None:
        """Return at once: no change is made elsewhere."""

    async def connect(self, caller: Caller) -> Duplex:
        raise AssertionError(f"the one manager answers {caller.name} itself")

    async def leader_lost(self) -> None:
        """Wait for ever: this manager always leads."""
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
