"""/dashboard: the dashboard's pages, their code and styles, as files that are the same for everybody.

The code draws each screen and chooses it by the address, so every address below /dashboard that is not a file's has the
same page.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import re
from functools import lru_cache
from pathlib import Path

from common.model.client import Role
from manager.api.call import Answer, Call, Reply
from manager.api.containers.execs import are_allowed
from manager.api.context import Context
from manager.api.errors import EngineError
from manager.api.router import Place, Route

FOLDER = Path(__file__).parents[1] / "web"
# Files are below this; `deploy/web-assets` makes the folder in them that has other people's libraries.
_FILES = "static/"
_NEEDED = FOLDER / "vendor" / "preact.mjs"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_NAME = re.compile(r"([a-z0-9][a-z0-9_-]*/)*[a-z0-9][a-z0-9_-]*(\.[a-z0-9]+)+")
_IMPORT_MAP = re.compile(rb'<script type="importmap">(.*?)</script>', re.DOTALL)
# What a page may do: run our own files, and speak with who sent it.
_POLICY = (
    "default-src 'none'; script-src 'self'{scripts}; style-src 'self'{styles}; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors {ancestors}; "
    "require-trusted-types-for 'script'"
)
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# A browser caches code and styles and revalidates them each time; a page is fetched each time.
_KEPT = {"Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
_MISSING = b"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Dashboard</title>
<h1>The dashboard's libraries are not installed here</h1>
<p>The manager runs, and everything else works. The pages need a few files of npm's packages, which could not be fetched
when this was installed. Where a package registry can be reached, run <code>deploy/install</code> again on the manager's
host: it fetches what is missing, and restarts the manager without touching a container.
</html>
"""


async def file(_: Context, call: Call) -> Reply:
    """Send a file, or the page."""
    path = call.params.get("path", "")
    if path.startswith(_FILES):
        return await asyncio.to_thread(_file, path.removeprefix(_FILES), call)
    if not await asyncio.to_thread(_NEEDED.exists):
        return _answer(_MISSING, ".html", {}, _policy(b""), status=503)
    return await asyncio.to_thread(_file, "index.html", call)


def _file(name: str, call: Call) -> Answer:
    """Read a file below the folder; 304 where the browser has it as it is.

    Raises:
        EngineError: 404, there is no file of this name.

    """
    path = FOLDER / name
    if not _NAME.fullmatch(name) or path.suffix not in _TYPES or not path.is_file():
        raise EngineError(404, f"the dashboard has no file {name[:80]!r}")
    data = path.read_bytes()
    packs = "gzip" in call.headers.get("accept-encoding", "")
    policy, headers = "", {"Content-Encoding": "gzip"} if packs else {}
    if path.suffix == ".html":
        policy = _policy(data, terminal=name == "terminal.html")
    else:
        tag = f'"{hashlib.sha256(data).hexdigest()[:32]}{"-gzip" if packs else ""}"'
        if tag in call.headers.get("if-none-match", ""):
            return Answer(304, headers={**_HEADERS, **_KEPT, "ETag": tag}, public=True)
        headers |= {**_KEPT, "ETag": tag}
    return _answer(_compressed(path, data) if packs else data, path.suffix, headers, policy)


def _answer(data: bytes, suffix: str, headers: dict[str, str], policy: str, status: int = 200) -> Answer:
    said = {**_HEADERS, **headers, **({"Content-Security-Policy": policy} if policy else {})}
    return Answer(status, data, said, _TYPES[suffix], public=True)


def _compressed(path: Path, data: bytes) -> bytes:
    ready = path.with_name(f"{path.name}.gz")
    return ready.read_bytes() if ready.exists() else _compress(data)


@lru_cache(maxsize=128)
def _compress(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def _policy(page: bytes, *, terminal: bool = False) -> str:
    """Return the content security policy of a page; its own import map is the one script that may be in it.

    The terminal's library makes `<style>` elements: that document alone may, and only the dashboard may frame it.
    """
    digests = [base64.b64encode(hashlib.sha256(each).digest()).decode() for each in _IMPORT_MAP.findall(page)]
    return _POLICY.format(
        scripts="".join(f" 'sha256-{digest}'" for digest in digests),
        styles=" 'unsafe-inline'" if terminal else "",
        ancestors="'self'" if terminal else "'none'",
    )


async def to_pages(_: Context, __: Call) -> Reply:
    """Redirect from the root to the dashboard."""
    return Answer(307, headers={**_HEADERS, "Location": "/dashboard/"})


async def caller(context: Context, call: Call) -> Reply:
    """Answer who the caller is, so that a page knows which buttons it may offer."""
    role = call.caller.role
    return Answer(
        value={
            "Name": call.caller.name,
            "Role": role.label if role is not None else "",
            "Environment": call.caller.environment,
            "Forbidden": list(call.caller.forbidden),
            "Terminals": are_allowed(context.store.view),
        }
    )


ROUTES = (
    Route("GET", "/", to_pages, needs=Role.VIEWER, place=Place.HERE),
    Route("GET", "/dashboard", file, needs=Role.VIEWER, place=Place.HERE),
    Route("GET", "/dashboard/", file, needs=Role.VIEWER, place=Place.HERE),
    Route("GET", "/dashboard/{path+}", file, needs=Role.VIEWER, place=Place.HERE),
    Route("GET", "/swarm/caller", caller, needs=Role.VIEWER, place=Place.HERE),
)
