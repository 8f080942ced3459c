"""Answers of the overview's shapes."""

from __future__ import annotations

from common.model.naming import Model
from manager.api.call import Answer


def shaped(value: Model) -> Answer:
    """Answer with a shape that has no place for a secret: a viewer's needs not be looked through for one."""
    return Answer(value=value, public=True)
