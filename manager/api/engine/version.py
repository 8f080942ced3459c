"""In which version of the API a node's engine is spoken to, and what it is too old for. Pure."""

from __future__ import annotations

import re
from urllib.parse import parse_qs

from common.model.node import EngineDescription
from manager.api.router import MAX_API_VERSION, numbers

# Parameters that choose a part of an image. Older engines pass over them and take the whole of it: to remove it, say.
_SINCE = (
    ("POST", re.compile(r"/images/.+/push"), "platform", "1.46"),
    ("GET", re.compile(r"/images/(.+/)?get|/images/.+/history"), "platform", "1.48"),
    ("POST", re.compile(r"/images/load"), "platform", "1.48"),
    ("GET", re.compile(r"/images/.+/json"), "platform", "1.49"),
    ("DELETE", re.compile(r"/images/.+"), "platforms", "1.50"),
)


def spoken(engine: EngineDescription, asked: str) -> str:
    """Choose the version for a request that a client made in `asked` (empty: in none).

    It is the client's (ours where it named none), but not above or below what the engine serves.
    """
    lower = min(asked or MAX_API_VERSION, engine.api_version or MAX_API_VERSION, key=numbers)
    return max(lower, engine.min_api_version or lower, key=numbers)


def too_old(engine: EngineDescription, method: str, path: str, query: str) -> str:
    """Say why an engine would do something else than a request asks for; empty when it would not.

    `path` has no version.
    """
    given = parse_qs(query).keys()
    own = engine.api_version or MAX_API_VERSION
    for verb, pattern, parameter, since in _SINCE:
        if verb == method and parameter in given and pattern.fullmatch(path) and numbers(own) < numbers(since):
            return (
                f"{parameter!r} needs an engine with API {since} or later: this is Docker {engine.engine_version} "
                f"with API {own}"
            )
    return ""
