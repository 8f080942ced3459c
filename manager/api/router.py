"""From a method and a path to a handler, and the negotiation of the API's version.

Nodes' engines are spoken to in a version of their own, and may be too old for something. Pure.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import parse_qs

from common.model.client import Role
from common.model.node import EngineDescription
from manager.api.call import Call, Reply
from manager.api.context import Context
from manager.api.errors import EngineError, invalid

MIN_API_VERSION = "1.24"
MAX_API_VERSION = "1.51"


class Place(enum.Enum):
    """Which of several managers answers: the leader, any from its store when that is up to date, or any at once."""

    LEADER = enum.auto()
    STORE = enum.auto()
    HERE = enum.auto()


Handler: TypeAlias = Callable[[Context, Call], Awaitable[Reply]]

_VERSIONED = re.compile(r"^/v([0-9][0-9.]{0,10})(/.*)$", re.DOTALL)
_PARAMETER = re.compile(r"\{(\w+)(\+?)\}")


@dataclass(frozen=True, slots=True)
class Route:
    """`pattern` is a path in which `{x}` is one segment and `{x+}` one or more (names with slashes).

    The body of a `raw` one is not read for it, whatever its size: its handler returns a `Relay`, which may. A `large`
    one's may be `Limits.large_body_bytes`. `needs` is the least role that may call it: nobody may call one that does
    not say so.
    """

    method: str
    pattern: str
    handler: Handler
    raw: bool = False
    needs: Role | None = None
    large: bool = False
    place: Place = Place.LEADER


@dataclass(frozen=True, slots=True)
class Match:
    """What a request is for; `resource` is the first segment of its path, `pattern` the route's."""

    resource: str
    pattern: str
    handler: Handler
    params: Mapping[str, str]
    version: str
    raw: bool = False
    needs: Role | None = None
    large: bool = False
    place: Place = Place.LEADER


class Router:
    """All routes, grouped by their first segment."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes: dict[str, list[tuple[Route, re.Pattern[str]]]] = {}
        for route in routes:
            entry = (route, _compile(route.pattern))
            self._routes.setdefault(_first_segment(route.pattern), []).append(entry)

    def match(self, method: str, path: str) -> Match:
        """Find the handler of a request.

        Raises:
            EngineError: 404, there is no such route; 400, the version in the path is not served.

        """
        version, path = _split_version(path)
        for route, pattern in self._routes.get(_first_segment(path), ()):
            found = pattern.fullmatch(path) if route.method == method else None
            if found is not None:
                _check_version(version)
                resource = _first_segment(path)
                params = found.groupdict()
                return Match(
                    resource,
                    route.pattern,
                    route.handler,
                    params,
                    version,
                    route.raw,
                    route.needs,
                    route.large,
                    route.place,
                )
        raise EngineError(404, "page not found")


def _split_version(path: str) -> tuple[str, str]:
    match = _VERSIONED.match(path)
    return (match[1], match[2]) if match else ("", path)


def _check_version(version: str) -> None:
    if not version:
        return
    asked = numbers(version)
    if asked > numbers(MAX_API_VERSION):
        raise invalid(f"client version {version} is too new. Maximum supported API version is {MAX_API_VERSION}")
    if asked < numbers(MIN_API_VERSION):
        text = f"client version {version} is too old. Minimum supported API version is {MIN_API_VERSION}"
        raise invalid(f"{text}, please upgrade your client to a newer version")


def numbers(version: str) -> tuple[int, ...]:
    """Return a version's numbers, to compare; what is not a number counts as 0."""
    return tuple(int(part) if part.isdecimal() else 0 for part in version.split("."))


def _first_segment(path: str) -> str:
    return path.split("/", 2)[1] if path.startswith("/") else ""


def _compile(pattern: str) -> re.Pattern[str]:
    def expression(match: re.Match[str]) -> str:
        return f"(?P<{match[1]}>.+)" if match[2] else f"(?P<{match[1]}>[^/]+)"

    return re.compile(_PARAMETER.sub(expression, pattern), re.DOTALL)


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
