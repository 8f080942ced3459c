"""The order of the cluster's containers by age.

An engine's list has the second in which each container was created, in the order of creation. The fraction is in
`inspect`, which is asked for only where it decides what belongs to a list.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeAlias

from common.clock import parse_rfc3339
from common.errors import SwarmError
from manager.api.call import Filters
from manager.api.containers.locate import locate
from manager.api.context import Context
from manager.api.engine.proxy import ask
from manager.api.engine.types import ContainerInspect
from manager.api.errors import EngineError, invalid

Entry: TypeAlias = dict[str, Any]


async def created_between(context: Context, entries: Iterable[Entry], filters: Filters) -> list[Entry]:
    """Return the containers that were created between those that the filters `before` and `since` name.

    Raises:
        EngineError: 404, there is no such container; 400, a filter names more than one.

    """
    newest, oldest = await _bound(context, filters, "before"), await _bound(context, filters, "since")
    entries = list(entries)
    bounds = [each for each in (newest, oldest) if each is not None]
    times = await _instants(context, [each for each in entries if each["Created"] in map(int, bounds)])

    def between(entry: Entry) -> bool:
        made = _created_at(entry, times)
        return (newest is None or made < newest) and (oldest is None or made > oldest)

    return [each for each in entries if between(each)]


async def newest_first(context: Context, entries: Iterable[Entry], limit: int) -> list[Entry]:
    """Return containers, the newest first; at most `limit` of them unless that is 0."""
    # Sorting is stable: equal ones keep the order of their engines.
    found = sorted(entries, key=lambda each: each["Created"], reverse=True)
    if not limit or len(found) <= limit:
        return found
    last = found[limit - 1]["Created"]
    same = [each for each in found if each["Created"] == last]
    times = await _instants(context, same) if len(same) > 1 else {}
    return sorted(found, key=lambda each: _created_at(each, times), reverse=True)[:limit]


def _created_at(entry: Entry, times: Mapping[str, float]) -> float:
    return times.get(entry["Id"], float(entry["Created"]))


async def _bound(context: Context, filters: Filters, name: str) -> float | None:
    """Return when the container that a filter names was created (Unix seconds); None without that filter."""
    if name not in filters:
        return None
    if len(filters[name]) > 1:
        raise invalid(f"invalid filter '{name}': more than one container")
    found = await locate(context, next(iter(filters[name])))
    return await _instant(context, found.node_id, found.id)


async def _instants(context: Context, entries: Collection[Entry]) -> dict[str, float]:
    """Return when these were created (Unix seconds), by id; one whose engine does not answer now is left out."""
    held = [context.containers.find(each["Id"]) for each in entries]
    known = [(found[0].node_id, found[1]) for found in held if found is not None]
    times = await asyncio.gather(*(_instant(context, *found) for found in known), return_exceptions=True)
    failures = [each for each in times if isinstance(each, BaseException) and not isinstance(each, SwarmError)]
    if failures:
        raise failures[0]
    return {full_id: made for (_, full_id), made in zip(known, times, strict=True) if isinstance(made, float)}


async def _instant(context: Context, node_id: str, full_id: str) -> float:
    reply = await ask(context, node_id, "GET", f"/containers/{full_id}/json")
    if not reply.ok:
        raise EngineError(404, f"No such container: {full_id}")
    made = reply.read(ContainerInspect).get("Created", "")
    try:
        return parse_rfc3339(made)
    except (ValueError, OverflowError):
        raise reply.wrong(f"container {full_id[:12]} was made at {made!r}") from None
