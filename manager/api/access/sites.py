"""Refuses what a browser sends for a page of another site. Pure.

A browser sends what any page tells it to, with its user's certificate, and says of which site the page is. Docker's
command line and SDKs say nothing of the kind.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from manager.api.access.roles import access_denied
from manager.api.call import Call

_OWN = frozenset({"same-origin", "none"})
_PORTS = {"http": 80, "https": 443}


def check_site(call: Call) -> None:
    """Check that no page of another site sent a request.

    Raises:
        EngineError: 403; the message says what the browser said.

    """
    for site in _values(call, "sec-fetch-site"):
        if site not in _OWN:
            raise access_denied(f"a page of another site sent this request (Sec-Fetch-Site: {site[:80]})")
    for origin in _values(call, "origin"):
        if not _is_own(call, origin):
            raise access_denied(f"a page of another site sent this request (Origin: {origin[:80]})")


def _values(call: Call, name: str) -> tuple[str, ...]:
    """Return a header's values: all of them where it comes several times."""
    return call.repeated.get(name) or tuple(call.headers[each] for each in (name,) if each in call.headers)


def _is_own(call: Call, origin: str) -> bool:
    """Whether a page of this origin is the API's own: the same scheme, host and port.

    On a unix socket there is no scheme; what forwards to it there may have either.
    """
    schemes = ("https",) if call.caller.serial else tuple(_PORTS)
    scheme = origin.partition("://")[0]
    if scheme not in schemes:
        return False
    place = _place(origin)
    return place is not None and place == _place(f"{scheme}://{call.headers.get('host', '')}")


def _place(origin: str) -> tuple[str, int] | None:
    """Return the host and port of an origin, None where the text is something else."""
    try:
        parts = urlsplit(origin)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host or "@" in parts.netloc or origin != f"{parts.scheme}://{parts.netloc}":
        return None
    return host, port or _PORTS[parts.scheme]
