"""GET /swarm/audit: who changed what at this manager, the newest first. Not Docker's."""

from __future__ import annotations

import asyncio
import re

from common.clock import parse_rfc3339
from common.model.client import Role
from manager.api.call import Answer, Call, Reply
from manager.api.context import Context
from manager.api.errors import invalid
from manager.api.router import Place, Route

MOST = 500
_NUMBER = re.compile(r"[0-9]{1,6}")


async def audit(context: Context, call: Call) -> Reply:
    """Answer with at most `limit` entries, of those older than the instant `before` (RFC 3339) if it is given."""
    before, limit = call.query.get("before", ""), call.query.get("limit", str(MOST))
    if _NUMBER.fullmatch(limit) is None or not 0 < int(limit) <= MOST:
        raise invalid(f"limit={limit[:40]!r} is not a number from 1 to {MOST}")
    if before:
        try:
            parse_rfc3339(before)
        except (ValueError, OverflowError):
            raise invalid(f"before={before[:40]!r} is not a time like 2026-01-31T12:00:00Z") from None
    entries = await asyncio.to_thread(context.read_audit, before, int(limit))
    return Answer(value={"Entries": entries})


ROUTES = (Route("GET", "/swarm/audit", audit, needs=Role.ADMIN, place=Place.HERE),)
