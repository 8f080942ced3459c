"""Recognizes cross-site requests by the headers that browsers send with them (CSRF protection). Pure.

A browser sends what any page tells it to, with its user's certificate. It says which site the page is of, in headers
that no page can change (https://www.w3.org/TR/fetch-metadata/); Docker's command line and SDKs have none of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from urllib.parse import urlsplit

_OWN = frozenset({"same-origin", "none"})
_PORTS = {"http": 80, "https": 443}


def cross_site_header(
    sites: Iterable[str], origins: Iterable[str], host: str, schemes: Collection[str], own: Collection[str] = ()
) -> str:
    """Return the header by which a request is another site's (`Origin: https://…`); empty if it is not.

    `sites` and `origins` are the values of its `Sec-Fetch-Site` and `Origin`, `host` is its `Host`; `schemes` are those
    that its server is reached by. `own` are further origins of the server: those of a proxy before it.
    """
    for site in sites:
        if site not in _OWN:
            return f"Sec-Fetch-Site: {site[:80]}"
    for origin in origins:
        if origin not in own and not _is_own(origin, host, schemes):
            return f"Origin: {origin[:80]}"
    return ""


def opens_page(sites: Sequence[str], modes: Sequence[str], destinations: Sequence[str], origins: Sequence[str]) -> bool:
    """Whether somebody follows a link to a page, from wherever: the values of `Sec-Fetch-*` and `Origin` say so."""
    return bool(sites) and not origins and list(modes) == ["navigate"] and list(destinations) == ["document"]


def is_origin(text: str) -> bool:
    """Whether this is what a browser sends as an origin: `https://HOST[:PORT]`, in lower case."""
    scheme = text.partition("://")[0]
    return text == text.lower() and scheme in _PORTS and _place(text) is not None


def _is_own(origin: str, host: str, schemes: Collection[str]) -> bool:
    scheme = origin.partition("://")[0]
    if scheme not in schemes:
        return False
    place = _place(origin)
    return place is not None and place == _place(f"{scheme}://{host}")


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
