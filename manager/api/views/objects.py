"""The head that every stored object has in the engine's answers."""

from __future__ import annotations

from typing import Any

from common.clock import rfc3339
from common.model.meta import Object


def head(value: Object) -> dict[str, Any]:
    """Return id, version and times."""
    return {
        "ID": value.id,
        "Version": {"Index": value.version.index},
        "CreatedAt": rfc3339(value.created_at),
        "UpdatedAt": rfc3339(value.updated_at),
    }
