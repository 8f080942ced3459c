"""The dashboard's gate on loopback: who gets through, and what of a request does."""

import asyncio
import gzip
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from common.errors import Unavailable
from manager.api.http.server import serve
from manager.cli.dashboard.gate import PROTOCOL, TOKEN_SECONDS, Gate, Keys, open_gate
from manager.cli.endpoint import Endpoint
from tests.fakes.api_cluster import ApiCluster


@dataclass
class Manager:
    """What stands behind the gate: notes each request, and answers as it is told."""

    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    status: int = 200
    body: bytes = b'{"ok":true}'
    headers: dict[str, str] = field(default_factory=dict)
    flows: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/exec/1/ws":
            return await self._echo(request)
        self.requests.append((request.method, request.raw_path, dict(request.headers), await request.read()))
        if request.path == "/stream":
            return await self._stream(request)
        return web.Response(status=self.status, body=self.body, headers=self.headers)

    async def _stream(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first")
        await self.flows.wait()
        await response.write(b"second")
        return response

    async def _echo(self, request: web.BaseRequest) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.data == "end":
                break
            await (socket.send_bytes if isinstance(message.data, bytes) else socket.send_str)(message.data)
        await socket.close(code=4000)
        return socket


@dataclass
class Opened:
    """A gate, and the browser before it."""

    gate: Gate
    port: int
    session: aiohttp.ClientSession
    manager: Manager

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def change(self, token: str) -> tuple[int, str]:
        """Change a token for a key; return the status, and the key or what is said."""
        async with self.session.post(f"{self.url}/gate/key", json={"token": token}) as answer:
            said = await answer.json()
            return answer.status, str(said.get("key") or said["message"])

    async def key(self) -> str:
        return (await self.change(self.gate.new_token()))[1]

    def get(self, path: str, key: str, headers: dict[str, str] | None = None) -> Any:
        return self.session.get(
            URL(self.url + path, encoded=True), headers={**(headers or {}), "Authorization": f"Bearer {key}"}
        )

    async def error(self, path: str, headers: dict[str, str], method: str = "GET") -> tuple[int, str]:
        async with self.session.request(method, self.url + path, headers=headers, allow_redirects=False) as answer:
            assert answer.status >= 400
            return answer.status, (await answer.json())["message"]


@asynccontextmanager
async def serving(manager: Manager) -> AsyncIterator[Endpoint]:
    """Serve a manager at a socket."""
    with tempfile.TemporaryDirectory(prefix="gate-") as folder:
        runner = web.ServerRunner(web.Server(manager.handle))
        await runner.setup()
        await web.UnixSite(runner, f"{folder}/manager.sock").start()
        try:
            yield Endpoint(f"unix://{folder}/manager.sock")
        finally:
            await runner.cleanup()


@pytest.fixture
async def gate() -> AsyncIterator[Opened]:
    manager = Manager()
    async with (
        serving(manager) as endpoint,
        open_gate(endpoint, "viewer", 0) as (gate, port),
        aiohttp.ClientSession(auto_decompress=False) as session,
    ):
        yield Opened(gate, port, session, manager)


# --- who gets through -------------------------------------------------------------------------------------------------


async def test_a_token_is_changed_for_a_key(gate: Opened) -> None:
    async with gate.get("/services", await gate.key()) as answer:
        assert (answer.status, await answer.read()) == (200, b'{"ok":true}')


async def test_a_token_that_was_used_is_refused(gate: Opened) -> None:
    token = gate.gate.new_token()
    assert (await gate.change(token))[0] == 200
    status, message = await gate.change(token)
    assert status == 403
    assert "was used already, or is too old" in message


async def test_a_late_token_is_refused(gate: Opened) -> None:
    token = gate.gate.new_token()
    gate.gate.clock = lambda: time.monotonic() + TOKEN_SECONDS + 1
    assert (await gate.change(token))[0] == 403


async def test_nothing_of_the_api_is_had_without_a_key(gate: Opened) -> None:
    for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": f"Bearer {'x' * 43}"}, {"Cookie": "key=x"}):
        status, message = await gate.error("/services", headers)
        assert status == 401
        assert "swarm-manager dashboard" in message
    assert (await gate.error("/dashboard", {}, "POST"))[0] == 401
    assert (await gate.error("/dashboards", {}))[0] == 401
    assert gate.manager.requests == []


async def test_pages_are_for_everybody(gate: Opened) -> None:
    """They are what a browser asks for before it has a key, and the same for all."""
    for path in ("/dashboard/", "/dashboard/static/js/main.js", "/dashboard/services/web"):
        async with gate.session.get(gate.url + path) as answer:
            assert answer.status == 200
    async with gate.session.get(gate.url, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (307, "/dashboard/")


async def test_a_token_that_is_not_json_is_refused(gate: Opened) -> None:
    for body in (b"", b"{", b'{"token": 1}', b"x" * 100_000):
        async with gate.session.post(f"{gate.url}/gate/key", data=body) as answer:
            assert answer.status == 400


# --- other sites, other names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "evil.example:PORT", "[::1]:PORT", "127.0.0.1:1", ""])
async def test_only_its_own_host_is_answered(gate: Opened, host: str) -> None:
    """A name that an attacker has lead to 127.0.0.1 is in the Host of what the browser sends."""
    key = await gate.key()
    said = host.replace("PORT", str(gate.port))
    for path in ("/services", "/dashboard/", "/"):
        status, message = await gate.error(path, {"Host": said, "Authorization": f"Bearer {key}"})
        assert status == 403
        assert "answers only at the address" in message
    assert gate.manager.requests == []


async def test_its_own_names_are_answered(gate: Opened) -> None:
    key = await gate.key()
    for host in (f"127.0.0.1:{gate.port}", f"localhost:{gate.port}"):
        headers = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
        async with gate.get("/services", key, headers) as answer:
            assert answer.status == 200


@pytest.mark.parametrize(
    "said",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://localhost"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
    ],
)
async def test_a_page_of_another_site_is_refused(gate: Opened, said: dict[str, str]) -> None:
    """Also one that has found out a key."""
    status, message = await gate.error("/services", {**said, "Authorization": f"Bearer {await gate.key()}"})
    assert status == 403
    assert "a page of another site sent this request" in message
    assert gate.manager.requests == []


async def test_a_page_of_another_site_cannot_try_tokens(gate: Opened) -> None:
    token = gate.gate.new_token()
    headers = {"Origin": "https://evil.example"}
    async with gate.session.post(f"{gate.url}/gate/key", json={"token": token}, headers=headers) as answer:
        assert answer.status == 403
    assert (await gate.change(token))[0] == 200


async def test_a_link_from_elsewhere_opens_a_page(gate: Opened) -> None:
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    async with gate.session.get(f"{gate.url}/dashboard/services/web", headers=followed) as answer:
        assert answer.status == 200
    for path in ("/dashboard/", "/"):
        assert (await gate.error(path, {**followed, "Sec-Fetch-Dest": "iframe"}))[0] == 403


# --- what goes through ------------------------------------------------------------------------------------------------


async def test_the_api_hears_the_role_and_not_the_key(gate: Opened) -> None:
    headers = {"Swarm-Role": "admin", "Cookie": "a=b", "X-Forwarded-For": "1.2.3.4", "Last-Event-ID": "7"}
    async with gate.get("/services/a%2Fb?filters=%7B%7D", await gate.key(), headers) as answer:
        assert answer.status == 200
    ((method, target, heard, _),) = gate.manager.requests
    assert (method, target) == ("GET", "/services/a%2Fb?filters=%7B%7D")
    assert (heard["Swarm-Role"], heard["Last-Event-ID"]) == ("viewer", "7")
    assert not {"Authorization", "Cookie", "Origin", "X-Forwarded-For", "User-Agent"} & set(heard)


async def test_bodies_and_answers_go_as_they_are(gate: Opened) -> None:
    gate.manager.status, gate.manager.body = 409, gzip.compress(b"no")
    gate.manager.headers = {"Content-Encoding": "gzip", "Content-Security-Policy": "sandbox", "X-A": "b"}
    headers = {"Authorization": f"Bearer {await gate.key()}", "Content-Type": "application/json"}
    async with gate.session.post(f"{gate.url}/services/create", data=b"x" * 300_000, headers=headers) as answer:
        assert (answer.status, await answer.read()) == (409, gate.manager.body)
        assert answer.headers["Content-Encoding"] == "gzip"
        assert (answer.headers["Content-Security-Policy"], answer.headers["X-A"]) == ("sandbox", "b")
    assert gate.manager.requests[0][3] == b"x" * 300_000


async def test_what_a_browser_has_is_not_sent_again(gate: Opened) -> None:
    gate.manager.status, gate.manager.body, gate.manager.headers = 304, b"", {"ETag": '"a"'}
    async with gate.get("/dashboard/static/js/main.js", "", {"If-None-Match": '"a"'}) as answer:
        assert (answer.status, await answer.read(), answer.headers["ETag"]) == (304, b"", '"a"')
    assert gate.manager.requests[0][2]["If-None-Match"] == '"a"'


async def test_a_stream_comes_as_it_is_made(gate: Opened) -> None:
    async with gate.get("/stream", await gate.key()) as answer:
        assert await answer.content.readany() == b"first"
        gate.manager.flows.set()
        assert await answer.content.read() == b"second"


async def test_a_web_socket_goes_both_ways(gate: Opened) -> None:
    url, key = f"{gate.url}/exec/1/ws", await gate.key()
    async with gate.session.ws_connect(url, protocols=(PROTOCOL, f"key.{key}")) as socket:
        assert socket.protocol == PROTOCOL
        await socket.send_str("text")
        await socket.send_bytes(b"bytes")
        assert [(await socket.receive()).data for _ in range(2)] == ["text", b"bytes"]
        await socket.send_str("end")
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 4000
    with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
        await gate.session.ws_connect(url, protocols=(PROTOCOL, "key.wrong"))
    with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
        await gate.session.ws_connect(url, protocols=(PROTOCOL, f"key.{key}"), origin="https://evil.example")


async def test_a_manager_that_is_gone_is_said_in_words() -> None:
    endpoint = Endpoint("unix:///nowhere/docker.sock")
    async with open_gate(endpoint, "viewer", 0) as (gate, port), aiohttp.ClientSession() as session:
        opened = Opened(gate, port, session, Manager())
        status, message = await opened.error("/services", {"Authorization": f"Bearer {await opened.key()}"})
    assert status == 502
    assert "Cannot connect to the manager at unix:///nowhere/docker.sock" in message


async def test_a_port_in_use_is_said_in_words(gate: Opened) -> None:
    with pytest.raises(Unavailable, match=f"cannot listen on 127.0.0.1:{gate.port}: .*--port"):
        async with open_gate(Endpoint("unix:///nowhere"), "viewer", gate.port):
            pass


# --- before a real API ------------------------------------------------------------------------------------------------


async def test_an_administrators_gate_for_viewers_changes_nothing() -> None:
    async with ApiCluster(idle=True) as cluster:
        socket = f"unix://{cluster.folder}/docker.sock"
        async with (
            serve(cluster.api, [socket]),
            open_gate(Endpoint(socket), "viewer", 0) as (gate, port),
            aiohttp.ClientSession() as session,
        ):
            opened = Opened(gate, port, session, Manager())
            key = await opened.key()
            async with opened.get("/swarm/caller", key) as answer:
                assert (await answer.json())["Role"] == "viewer"
            status, message = await opened.error("/networks/prune", {"Authorization": f"Bearer {key}"}, "POST")
        assert status == 403
        assert "has the role viewer" in message
        assert (cluster.audited[-1].role, cluster.audited[-1].path) == ("admin", "/networks/prune")


def test_a_token_is_good_once() -> None:
    keys = Keys()
    token = keys.new_token(100.0)
    key = keys.exchange(token, 101.0)
    assert key is not None
    assert keys.accept(key)
    assert keys.exchange(token, 101.0) is None


def test_a_late_token_is_worth_nothing() -> None:
    keys = Keys()
    assert keys.exchange(keys.new_token(100.0), 100.0 + TOKEN_SECONDS) is not None
    token = keys.new_token(100.0)
    assert keys.exchange(token, 100.1 + TOKEN_SECONDS) is None
    assert keys.exchange(token, 100.0) is None


def test_a_new_token_replaces_the_one_before() -> None:
    keys = Keys()
    old, new = keys.new_token(0.0), keys.new_token(0.0)
    assert keys.exchange(old, 1.0) is None
    assert keys.exchange(new, 1.0) is not None


def test_a_wrong_token_costs_the_right_one_nothing() -> None:
    keys = Keys()
    token = keys.new_token(0.0)
    for wrong in ("", token[:-1], token + "x", "ä\ud800"):
        assert keys.exchange(wrong, 1.0) is None
        assert not keys.accept(wrong)
    assert keys.exchange(token, 1.0) is not None


def test_nothing_is_accepted_before_a_token_was_made() -> None:
    keys = Keys()
    assert keys.exchange("", 0.0) is None
    assert not keys.accept("")


def test_tokens_and_keys_have_256_bits() -> None:
    keys = Keys()
    token = keys.new_token(0.0)
    key = keys.exchange(token, 0.0)
    assert key is not None
    assert len(token) == len(key) == 43
    assert token != key
