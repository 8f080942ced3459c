"""The header that tells a client something beside the answer: `swarm-manager` prints it, docker's clients leave it."""

from __future__ import annotations

import re

_LONGEST = 4096
_NOT_IN_HEADERS = re.compile(r"[^ -\[\]-~]")


def warning(text: str) -> dict[str, str]:
    """Return the header with a text; an empty one is nothing to be told."""
    if not text:
        return {}
    if len(text) > _LONGEST:
        text = text[:_LONGEST] + " …"
    clean = _NOT_IN_HEADERS.sub("?", " ".join(text.replace("…", "...").replace('"', "'").split()))
    return {"Warning": f'199 swarm-manager "{clean}"'}
