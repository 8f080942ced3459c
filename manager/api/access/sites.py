"""Refuses what a browser sends for a page of another site, whatever it asks for. Pure."""

from __future__ import annotations

from common.net.sites import foreign_site
from manager.api.access.roles import access_denied
from manager.api.call import Call


def check_site(call: Call) -> None:
    """Check that no page of another site sent a request.

    Raises:
        EngineError: 403; the message says what the browser said.

    """
    # A unix socket has no scheme: what forwards to it may be reached by either.
    schemes = ("https",) if call.caller.serial else ("http", "https")
    host = call.headers.get("host", "")
    foreign = foreign_site(_values(call, "sec-fetch-site"), _values(call, "origin"), host, schemes)
    if foreign:
        raise access_denied(f"a page of another site sent this request ({foreign})")


def _values(call: Call, name: str) -> tuple[str, ...]:
    """Return a header's values: all of them where it comes several times."""
    return call.repeated.get(name) or tuple(call.headers[each] for each in (name,) if each in call.headers)
