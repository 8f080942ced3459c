"""Validation of workers' messages: each passes here first, and what is refused of it is recorded.

The rules are in `manager.dispatch.intake`, which is pure; this module has the clock, the log and the record.
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
from manager.dispatch.intake.form import Implausible, MessageContext
from manager.dispatch.intake.host_addresses import observed_address
from manager.dispatch.intake.messages import ADDRESS, OF_DESCRIPTION, OF_HELLO, validate
from manager.domain.refusals import Refusal, Refusals
from manager.store.view import View

M = TypeVar("M", bound=Message)

_log = logging.getLogger(__name__)


class Validator:
    """Validates messages and records refusals. `managers` returns the addresses (`host:port`) that workers use.

    `refusals` is what was refused, for the API to show.
    """

    def __init__(
        self, view: View, clock: Clock, managers: Callable[[], Collection[str]], refusals: Refusals | None = None
    ) -> None:
        self._view = view
        self._clock = clock
        self._managers = managers
        self._partly_refused: dict[str, NodeDescription] = {}
        self.refusals = refusals if refusals is not None else Refusals()

    @property
    def _loopback(self) -> bool:
        """Whether this is a cluster on one host, where nodes may be at 127.0.0.1."""
        return any(is_loopback(split_address(address)[0]) for address in self._managers())

    def validate(self, message: M, node_id: str) -> M | None:
        """Return what may be used of a message of a node; None if that is nothing, or the node was removed."""
        node = self._view.nodes.get(node_id)
        if node is None:
            return None
        context = MessageContext(self._view, self._clock.now(), node)
        taken = validate(message, context)
        if isinstance(message, NodeReport):
            self._record(message.description, OF_DESCRIPTION, context)
        elif context.refusals:
            self._count(context)
        return taken

    def hello(self, hello: Hello, node: Node, source: str) -> Hello:
        """Return what may be used of a node's Hello. Its address is always set, to the best that is known.

        `source` is the address that its connection comes from; it is not the node's for a worker on this host.
        """
        context = MessageContext(self._view, self._clock.now(), node, source, self._loopback)
        taken = validate(hello, context)
        assert taken is not None, "its form needs no field"
        if not taken.advertise_addr:
            taken = replace(taken, advertise_addr=_address(node, context))
        self._record(hello.description, OF_HELLO, context)
        return taken

    def join(self, request: JoinRequest, source: str) -> JoinRequest:
        """Return the request of a joining host, with its address; empty if it names none that others can reach.

        Raises:
            InvalidArgument: a field is refused; the message names all such fields.

        """
        context = MessageContext(self._view, self._clock.now(), None, source, self._loopback)
        taken = validate(request, context)
        if taken is None or context.refusals:
            raise InvalidArgument("; ".join(f"{_word(each)}: {each.reason}" for each in context.refusals))
        return taken if taken.advertise_addr else replace(taken, advertise_addr=_observed_address(context))

    # --- what is refused may be valid later ---

    @property
    def partly_refused(self) -> Collection[str]:
        """The connected nodes of whose description something was refused."""
        return list(self._partly_refused)

    def revalidate(self, node_id: str) -> NodeDescription | None:
        """Return what may be used now of a partly refused description; None when the node is gone."""
        node, said = self._view.nodes.get(node_id), self._partly_refused.get(node_id)
        if node is None or said is None:
            return None
        context = MessageContext(self._view, self._clock.now(), node)
        report = validate(NodeReport(description=said), context)
        self.refusals.keep(node_id, OF_DESCRIPTION, context.refusals)
        if not context.refusals:
            del self._partly_refused[node_id]
        return report.description if report is not None else None

    def session_ended(self, node_id: str) -> None:
        """Forget a node's description: it sends it again in its next session."""
        self._partly_refused.pop(node_id, None)

    def forget(self, node_id: str) -> None:
        """Forget what was refused of a node that was removed."""
        self.refusals.forget(node_id)

    def _record(self, said: NodeDescription, fields: Collection[str], context: MessageContext) -> None:
        self.refusals.keep(context.node_id, fields, context.refusals)
        self._count(context)
        if context.refusals:
            self._partly_refused[context.node_id] = said
        else:
            self._partly_refused.pop(context.node_id, None)

    def _count(self, context: MessageContext) -> None:
        assert context.node is not None, "hosts that join are refused"
        for refusal in self.refusals.add(context.node_id, context.refusals, context.now):
            _log.warning(
                "node %s (%s) sent a value of %s that was refused: %s (logged once; 'swarm-manager node "
                "inspect' counts)",
                context.node.name,
                context.node_id,
                refusal.field,
                refusal.reason,
            )


def _address(node: Node, context: MessageContext) -> str:
    """Return the address at which peers reach a node whose worker names no valid one."""
    known = node.status.addr if is_address(node.status.addr) else ""
    if node.manager_status is not None and known:
        return known
    return _observed_address(context) or known


def _observed_address(context: MessageContext) -> str:
    if not context.source:
        return ""
    try:
        return observed_address(context)
    except Implausible as error:
        context.refuse(f"{error}: give it one with 'swarm-worker join --advertise-addr'", ADDRESS)
        return ""


def _word(refusal: Refusal) -> str:
    """Return the name of a field of a join as its user knows it."""
    return refusal.field.rpartition(".")[2].replace("_", " ")
