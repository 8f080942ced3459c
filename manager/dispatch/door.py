"""The door itself: every message of a worker passes here first, and what is not believed of it is written down.

What may be believed is decided in `manager.dispatch.intake`, purely; here are the clock, the log and the memory of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import TypeVar

from msgspec.structs import replace

from common.clock import Clock
from common.errors import InvalidArgument
from common.model import Node
from common.model.node import NodeDescription
from common.net.addressing import is_address, is_loopback
from common.wire.message import Message
from common.wire.messages import Hello, JoinRequest, NodeReport
from manager.config import split_address
from manager.dispatch.intake.form import Hearing, Implausible
from manager.dispatch.intake.host_addresses import observed_address
from manager.dispatch.intake.messages import ADDRESS, OF_DESCRIPTION, OF_HELLO, believe
from manager.domain.refusals import Refusal, Refusals
from manager.store.view import View

M = TypeVar("M", bound=Message)

_log = logging.getLogger(__name__)


class Door:
    """`managers` tells the addresses (`host:port`) that workers are to use.

    `refusals` is what was not believed, for the API to show.
    """

    def __init__(
        self, view: View, clock: Clock, managers: Callable[[], Collection[str]], refusals: Refusals | None = None
    ) -> None:
        self._view = view
        self._clock = clock
        self._managers = managers
        self._doubted: dict[str, NodeDescription] = {}
        self.refusals = refusals if refusals is not None else Refusals()

    @property
    def _loopback(self) -> bool:
        """Whether this is a cluster on one host, where nodes may be at 127.0.0.1."""
        return any(is_loopback(split_address(address)[0]) for address in self._managers())

    def take(self, message: M, node_id: str) -> M | None:
        """Return what may be used of a message of a node; None: nothing, or its node is one no more."""
        node = self._view.nodes.get(node_id)
        if node is None:
            return None
        hearing = Hearing(self._view, self._clock.now(), node)
        taken = believe(message, hearing)
        if isinstance(message, NodeReport):
            self._settle(message.description, OF_DESCRIPTION, hearing)
        elif hearing.refusals:
            self._count(hearing)
        return taken

    def hello(self, hello: Hello, node: Node, source: str) -> Hello:
        """Return what may be used of a node's first word. Its address is always set, to the best that is known.

        `source` is where its connection comes from; of the manager's own worker that says nothing.
        """
        hearing = Hearing(self._view, self._clock.now(), node, source, self._loopback)
        taken = believe(hello, hearing)
        assert taken is not None, "its form needs no field"
        if not taken.advertise_addr:
            taken = replace(taken, advertise_addr=_address(node, hearing))
        self._settle(hello.description, OF_HELLO, hearing)
        return taken

    def join(self, request: JoinRequest, source: str) -> JoinRequest:
        """Return what a joining host says of itself, with its address; empty where it names none that others reach.

        Raises:
            InvalidArgument: something does not hold; it names all that does not.

        """
        hearing = Hearing(self._view, self._clock.now(), None, source, self._loopback)
        taken = believe(request, hearing)
        if taken is None or hearing.refusals:
            raise InvalidArgument("; ".join(f"{_word(each)}: {each.reason}" for each in hearing.refusals))
        return taken if taken.advertise_addr else replace(taken, advertise_addr=_observed_address(hearing))

    # --- what is not believed may hold later ---

    @property
    def doubted(self) -> Collection[str]:
        """The connected nodes whose description was not believed in all."""
        return list(self._doubted)

    def again(self, node_id: str) -> NodeDescription | None:
        """Return what may be used now of a description that was not believed in all; None when the node is gone."""
        node, said = self._view.nodes.get(node_id), self._doubted.get(node_id)
        if node is None or said is None:
            return None
        hearing = Hearing(self._view, self._clock.now(), node)
        report = believe(NodeReport(description=said), hearing)
        self.refusals.keep(node_id, OF_DESCRIPTION, hearing.refusals)
        if not hearing.refusals:
            del self._doubted[node_id]
        return report.description if report is not None else None

    def left(self, node_id: str) -> None:
        """Hear that a node's session has ended: it says what it is when it comes again."""
        self._doubted.pop(node_id, None)

    def forget(self, node_id: str) -> None:
        """Hear that a node was removed."""
        self.refusals.forget(node_id)

    def _settle(self, said: NodeDescription, fields: Collection[str], hearing: Hearing) -> None:
        self.refusals.keep(hearing.node_id, fields, hearing.refusals)
        self._count(hearing)
        if hearing.refusals:
            self._doubted[hearing.node_id] = said
        else:
            self._doubted.pop(hearing.node_id, None)

    def _count(self, hearing: Hearing) -> None:
        assert hearing.node is not None, "hosts that join are refused"
        for refusal in self.refusals.add(hearing.node_id, hearing.refusals, hearing.now):
            _log.warning(
                "node %s (%s) sent a value of %s that was refused: %s (logged once; 'swarm-manager node "
                "inspect' counts)",
                hearing.node.name,
                hearing.node_id,
                refusal.field,
                refusal.reason,
            )


def _address(node: Node, hearing: Hearing) -> str:
    """Choose a node's address as its peers reach it where its worker says none that holds."""
    known = node.status.addr if is_address(node.status.addr) else ""
    if node.manager_status is not None and known:
        return known
    return _observed_address(hearing) or known


def _observed_address(hearing: Hearing) -> str:
    if not hearing.source:
        return ""
    try:
        return observed_address(hearing)
    except Implausible as error:
        hearing.refuse(f"{error}: give it one with 'swarm-worker join --advertise-addr'", ADDRESS)
        return ""


def _word(refusal: Refusal) -> str:
    """Name a field of a join as its user knows it."""
    return refusal.field.rpartition(".")[2].replace("_", " ")
