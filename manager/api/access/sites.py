"""Refuses every request that a browser sends for a page of another site (CSRF). Pure."""

from __future__ import annotations

from common.http.cross_site import cross_site_header, opens_page
from manager.api.access.roles import access_denied
from manager.api.call import Call

_PAGES = "/dashboard"
_SAID = ("sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest", "origin")


def is_page(call: Call) -> bool:
    """Whether it asks for the dashboard's page or its code, which are the same for everybody and have no data."""
    return call.method == "GET" and (call.path in ("/", _PAGES) or call.path.startswith(f"{_PAGES}/"))


def check_site(call: Call) -> None:
    """Check that no page of another site sent a request.

    A link from elsewhere may open the dashboard's page, which has no data.

    Raises:
        EngineError: 403; the message says what the browser said.

    """
    # A unix socket has no scheme: what forwards to it may be reached by either.
    schemes = ("https",) if call.caller.serial else ("http", "https")
    sites, modes, destinations, origins = (_values(call, name) for name in _SAID)
    if is_page(call) and opens_page(sites, modes, destinations, origins):
        return
    header = cross_site_header(sites, origins, call.headers.get("host", ""), schemes, call.origins)
    if header:
        raise access_denied(f"a page of another site sent this request ({header})")


def _values(call: Call, name: str) -> tuple[str, ...]:
    """Return a header's values: all of them where it comes several times."""
    return call.repeated.get(name) or ((call.headers[name],) if name in call.headers else ())
