"""Spread preferences: the labels by whose values a service's tasks are to be spread, the first one first."""

from __future__ import annotations

from typing import TypeAlias

from common.model import Node
from common.model.service import Placement

Levels: TypeAlias = tuple[str, ...]

_NODE_LABEL = "node.labels."
_ENGINE_LABEL = "engine.labels."


def levels_of(placement: Placement | None) -> Levels:
    """Return the descriptors of a placement's spread preferences that name labels; others divide nothing."""
    if placement is None or not placement.preferences:
        return ()
    descriptors = [each.spread.spread_descriptor for each in placement.preferences if each.spread]
    return tuple(each for each in descriptors if each.lower().startswith((_NODE_LABEL, _ENGINE_LABEL)))


def label_values(node: Node, levels: Levels) -> tuple[str, ...]:
    """Return what a node has for each of the labels."""
    return tuple(label_value(node, level) for level in levels)


def label_value(node: Node, descriptor: str) -> str:
    """Return what a node has for the label that a spread preference names; nothing when it lacks it."""
    if descriptor.lower().startswith(_NODE_LABEL):
        return node.spec.labels.get(descriptor[len(_NODE_LABEL) :], "")
    return node.description.engine.labels.get(descriptor[len(_ENGINE_LABEL) :], "")
