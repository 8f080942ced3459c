"""The dashboard's files, as the API sends them."""

import base64
import gzip
import hashlib
import re
from pathlib import Path

import pytest

from common.model.client import Role
from manager.api import dashboard
from manager.api.access.roles import Caller
from manager.api.call import Answer, Call
from tests.fakes.api_cluster import ApiCluster

VIEWER = Caller("viewer", "192.0.2.7:1", Role.VIEWER, uid=1000, environment=False)
PAGE = b'<!doctype html><script type="importmap">{"imports": {}}</script>'


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of pages in the place of the real one."""
    (tmp_path / "vendor" / "licences").mkdir(parents=True)
    (tmp_path / "index.html").write_bytes(PAGE)
    (tmp_path / "terminal.html").write_bytes(b"<!doctype html>")
    (tmp_path / "main.js").write_bytes(b"let one = 1;" * 100)
    (tmp_path / "secret.pem").write_bytes(b"key")
    (tmp_path / "vendor" / "preact.mjs").write_bytes(b"export {};")
    (tmp_path / "vendor" / "preact.mjs.gz").write_bytes(gzip.compress(b"export {};", 1))
    monkeypatch.setattr(dashboard, "FOLDER", tmp_path)
    monkeypatch.setattr(dashboard, "_NEEDED", tmp_path / "vendor" / "preact.mjs")
    return tmp_path


async def ask(cluster: ApiCluster, path: str, **headers: str) -> Answer:
    reply = await cluster.api.answer(Call("GET", path, headers=headers, caller=VIEWER))
    assert isinstance(reply, Answer)
    return reply


@pytest.mark.usefixtures("web")
async def test_every_address_has_the_page(cluster: ApiCluster) -> None:
    for path in ("/dashboard", "/dashboard/", "/dashboard/services/shop_api", "/dashboard/nodes/w1"):
        reply = await ask(cluster, path)
        assert (reply.status, reply.value, reply.content_type) == (200, PAGE, "text/html; charset=utf-8")


@pytest.mark.usefixtures("web")
async def test_a_page_may_run_its_own_files_alone(cluster: ApiCluster) -> None:
    headers = (await ask(cluster, "/dashboard/")).headers
    policy = dict(part.strip().partition(" ")[::2] for part in headers["Content-Security-Policy"].split(";"))
    digest = base64.b64encode(hashlib.sha256(b'{"imports": {}}').digest()).decode()
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == f"'self' 'sha256-{digest}'"
    assert policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.usefixtures("web")
async def test_the_terminals_page_alone_may_make_styles(cluster: ApiCluster) -> None:
    policy = (await ask(cluster, "/dashboard/static/terminal.html")).headers["Content-Security-Policy"]
    assert "style-src 'self' 'unsafe-inline';" in policy
    assert "frame-ancestors 'self';" in policy
    assert "script-src 'self';" in policy


@pytest.mark.usefixtures("web")
async def test_files_are_compressed_for_who_can_read_that(cluster: ApiCluster) -> None:
    plain = await ask(cluster, "/dashboard/static/main.js")
    assert plain.content_type == "text/javascript; charset=utf-8"
    for path in ("main.js", "vendor/preact.mjs"):
        plain = await ask(cluster, f"/dashboard/static/{path}")
        packed = await ask(cluster, f"/dashboard/static/{path}", **{"accept-encoding": "gzip, br"})
        assert "Content-Encoding" not in plain.headers
        assert packed.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(packed.value) == plain.value


async def test_a_browser_keeps_code_while_it_is_the_same(cluster: ApiCluster, web: Path) -> None:
    first = await ask(cluster, "/dashboard/static/main.js", **{"accept-encoding": "gzip"})
    plain = await ask(cluster, "/dashboard/static/main.js")
    assert first.headers["Cache-Control"] == plain.headers["Cache-Control"] == "no-cache"
    assert first.headers["Vary"] == "Accept-Encoding"
    assert first.headers["ETag"] != plain.headers["ETag"]
    known = {"accept-encoding": "gzip", "if-none-match": f"W/{first.headers['ETag']}"}
    again = await ask(cluster, "/dashboard/static/main.js", **known)
    assert (again.status, again.value, again.headers["ETag"]) == (304, None, first.headers["ETag"])
    (web / "main.js").write_text("export const other = 1;")
    changed = await ask(cluster, "/dashboard/static/main.js", **known)
    assert changed.status == 200
    assert gzip.decompress(changed.value) == b"export const other = 1;"
    for path in ("/dashboard/", "/dashboard/static/terminal.html"):
        assert (await ask(cluster, path)).headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "name",
    ["missing.js", "../app.py", "vendor/../index.html", "secret.pem", "vendor", "/etc/passwd", ".hidden.js", "a/", ""],
)
@pytest.mark.usefixtures("web")
async def test_nothing_else_is_a_file(cluster: ApiCluster, name: str) -> None:
    reply = await ask(cluster, f"/dashboard/static/{name}")
    assert reply.status == 404 or (name == "" and reply.value == PAGE)


async def test_without_its_libraries_it_says_so(cluster: ApiCluster, web: Path) -> None:
    (web / "vendor" / "preact.mjs").unlink()
    reply = await ask(cluster, "/dashboard/services/web")
    assert reply.status == 503
    assert b"libraries are not installed" in reply.value
    assert b"deploy/install" in reply.value
    assert "script-src 'self';" in reply.headers["Content-Security-Policy"]


async def test_who_asks_is_told_as_what(cluster: ApiCluster) -> None:
    reply = await ask(cluster, "/swarm/caller")
    assert reply.value == {"Name": "viewer", "Role": "viewer", "Environment": False, "Forbidden": [], "Terminals": True}
    admin = Caller("uid 0", "unix", Role.ADMIN, uid=0)
    lowered = await cluster.api.answer(Call("GET", "/swarm/caller", headers={"swarm-role": "operator"}, caller=admin))
    assert isinstance(lowered, Answer)
    assert lowered.value["Role"] == "operator"


def test_our_own_pages_name_files_that_exist() -> None:
    """What index.html and the modules load is there, beside what `deploy/web-assets` fetches."""
    folder = Path(dashboard.__file__).parents[1] / "web"
    assert folder == dashboard.FOLDER
    named = set()
    for page in folder.glob("*.html"):
        named |= set(re.findall(r'/dashboard/static/([^"]+)"', page.read_text()))
    assert named
    assert not [name for name in named if not name.startswith("vendor/") and not (folder / name).is_file()]
