"""The messages in which engines tell how a pull, a build or a load goes on: one JSON object a line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def failure(message: Mapping[str, Any]) -> str:
    """Return the error that a message tells of, empty if none. Of its two places the API has deprecated one (1.48)."""
    return str((message.get("errorDetail") or {}).get("message") or message.get("error") or "")
