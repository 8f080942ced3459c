"""When it is decided which attachments of plain containers go."""

from __future__ import annotations

from collections.abc import Iterable

from common.model import NetworkAttachment, Node
from manager.allocate.attachments import decide
from manager.loops.loop import Rule
from manager.store.changes import Change
from manager.store.view import View


def attachment_rule() -> Rule:
    return Rule("attachments", keys_of, all_keys, decide)


def keys_of(change: Change, view: View) -> Iterable[str]:
    """Name the attachment that was changed, or those of a node that came or went."""
    value = change.current
    if isinstance(value, NetworkAttachment):
        return () if change.new is None else (value.id,)
    if isinstance(value, Node) and change.new is None:
        return [attachment.id for attachment in view.attachments.on_node(value.id)]
    return ()


def all_keys(view: View) -> Iterable[str]:
    return [attachment.id for attachment in view.attachments]
