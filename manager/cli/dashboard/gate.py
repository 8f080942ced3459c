"""The gate itself: HTTP on loopback for one browser, and from there to the API as the user who started it.

A page of another site cannot use it: the browser sends no cookie, so there is nothing to ride on, and what it says of
the page's site is checked. A name that was made to lead here is not one that is answered.

Whoever comes in by the gate shows a token from the terminal, valid once and soon, and gets a key for the page.
"""

from __future__ import annotations

import asyncio
import hmac
import re
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import msgspec
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from common.errors import InvalidArgument, SwarmError, Unavailable
from common.http.cross_site import cross_site_header, opens_page
from manager.cli.client import Client
from manager.cli.compose import ComposeError
from manager.cli.dashboard.stacks import MAX_SENT_BYTES, decode_sent, deploy_sent, plan_sent, problem_views
from manager.cli.endpoint import Endpoint
from manager.cli.failures import ApiError, cannot_connect
from manager.cli.streaming import connector_to

PAGES = "/dashboard"
PROTOCOL = "swarm.dashboard"
_STACK = re.compile(r"/gate/stacks/(?P<name>[^/]+)/(?P<verb>plan|deploy)")
_KEY_PROTOCOL = "key."
_CONNECT_SECONDS = 10.0
_END_SECONDS = 1.0
_MAX_TOKEN_BYTES = 4096
_MAX_MESSAGE = 1024 * 1024
# What of a request is the API's business, and what of its answer is the page's.
_ASKED = ("Accept", "Accept-Encoding", "Content-Type", "If-None-Match", "Last-Event-ID", "X-Registry-Auth")
_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "upgrade", "content-length", "date"})


class Exchange(msgspec.Struct, frozen=True):
    """What a page sends for its key."""

    token: str


class Gate:
    """Answers one browser. `role` is what its requests may do at most, `port` the one that it listens on."""

    def __init__(self, endpoint: Endpoint, role: str, port: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.keys = Keys()
        self._endpoint = endpoint
        self._role = role
        self.clock = clock
        self._hosts = frozenset({f"127.0.0.1:{port}", f"localhost:{port}"})
        # How long an answer may take is nobody's to say: logs and the feed have no end.
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
        self._session = aiohttp.ClientSession(
            connector=connector_to(endpoint, limit=0), timeout=timeout, auto_decompress=False
        )

    async def close(self) -> None:
        await self._session.close()

    def new_token(self) -> str:
        return self.keys.new_token(self.clock())

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        refusal = self._refusal(request)
        if refusal:
            return _problem(403, refusal)
        if request.path == "/":
            return web.Response(status=307, headers={"Location": f"{PAGES}/", "Cache-Control": "no-store"})
        if request.path == "/gate/key" and request.method == "POST":
            return await self._give_key(request)
        if not (_is_a_page(request) or self.keys.accept(_key_of(request))):
            return _problem(401, "this page has no key: open the address that 'swarm-manager dashboard' prints")
        return await self._answer(request)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer who may: by the API, or here where it is this client's to do."""
        if request.method == "POST" and (stack := _STACK.fullmatch(request.path)):
            return await self._work_on_stack(request, stack["name"], stack["verb"])
        is_socket = request.headers.get("Upgrade", "").lower() == "websocket"
        try:
            return await (self._splice if is_socket else self._forward)(request)
        except aiohttp.ClientError as error:
            cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
            return _problem(502, cannot_connect(self._endpoint.url, cause).message)

    def _refusal(self, request: web.BaseRequest) -> str:
        """Return why a request is not for this gate, nothing if it is."""
        if request.headers.getall("Host", []) not in [[host] for host in self._hosts]:
            return "the dashboard answers only at the address that 'swarm-manager dashboard' prints"
        if _opens_a_page(request):
            return ""
        sites, origins = (request.headers.getall(name, []) for name in ("Sec-Fetch-Site", "Origin"))
        header = cross_site_header(sites, origins, request.headers["Host"], ("http",))
        return f"a page of another site sent this request ({header})" if header else ""

    async def _give_key(self, request: web.BaseRequest) -> web.Response:
        body = await request.content.read(_MAX_TOKEN_BYTES)
        try:
            token = msgspec.json.decode(body, type=Exchange).token
        except msgspec.DecodeError:
            return _problem(400, 'expected {"token": "…"}')
        key = self.keys.exchange(token, self.clock())
        if key is None:
            return _problem(403, "this address was used already, or is too old: run 'swarm-manager dashboard' again")
        return web.json_response({"key": key}, headers={"Cache-Control": "no-store"})

    async def _work_on_stack(self, request: web.BaseRequest, name: str, verb: str) -> web.Response:
        """Plan a stack or deploy it: what the API has no reader for, and this client has one."""
        work = plan_sent if verb == "plan" else deploy_sent
        try:
            sent = decode_sent(await _read_body(request, MAX_SENT_BYTES))
            async with Client(self._endpoint, headers={"Swarm-Role": self._role}) as client:
                return web.json_response(await work(client, name, sent), headers={"Cache-Control": "no-store"})
        except ComposeError as error:
            return _problem(error.status, error.message, problems=problem_views(error))
        except SwarmError as error:
            cause = error if isinstance(error, ApiError) else error.__cause__
            return _problem(cause.http_status if isinstance(cause, ApiError) else error.status, error.message)

    def _headers(self, request: web.BaseRequest) -> CIMultiDict[str]:
        headers = CIMultiDict({name: request.headers[name] for name in _ASKED if name in request.headers})
        headers["Swarm-Role"] = self._role
        return headers

    def _url(self, request: web.BaseRequest) -> URL:
        return URL(self._endpoint.base + request.raw_path, encoded=True)

    async def _forward(self, request: web.BaseRequest) -> web.StreamResponse:
        body = request.content if request.can_read_body else None
        async with self._session.request(
            request.method,
            self._url(request),
            headers=self._headers(request),
            skip_auto_headers=("User-Agent", "Accept-Encoding", "Content-Type"),
            data=body,
            allow_redirects=False,
        ) as answer:
            response = web.StreamResponse(status=answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in _HOP:
                    response.headers.add(name, value)
            await response.prepare(request)
            try:
                async for data in answer.content.iter_any():
                    await response.write(data)
            except (aiohttp.ClientError, ConnectionError):
                # Too late for words: the end of the connection says that the answer is not whole.
                if request.transport is not None:
                    request.transport.abort()
            return response

    async def _splice(self, request: web.BaseRequest) -> web.StreamResponse:
        """Pass the messages of a WebSocket on, both ways; each end waits while the other reads slower."""
        async with self._session.ws_connect(
            self._url(request), headers=self._headers(request), max_msg_size=_MAX_MESSAGE
        ) as there:
            here = web.WebSocketResponse(protocols=(PROTOCOL,), max_msg_size=_MAX_MESSAGE)
            await here.prepare(request)
            ways = {asyncio.create_task(_pump(here, there)), asyncio.create_task(_pump(there, here))}
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
            await here.close(code=there.close_code or aiohttp.WSCloseCode.OK)
            return here


async def _pump(
    source: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
    target: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
) -> None:
    async for message in source:
        if message.type is aiohttp.WSMsgType.TEXT:
            await target.send_str(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            await target.send_bytes(message.data)


async def _read_body(request: web.BaseRequest, limit: int) -> bytes:
    """Read a whole body.

    Raises:
        InvalidArgument: it is larger than the limit.

    """
    body = bytearray()
    async for data in request.content.iter_any():
        body += data
        if len(body) > limit:
            raise InvalidArgument(f"the files have more than {limit >> 20} MiB: run 'swarm-manager stack deploy'")
    return bytes(body)


def _is_a_page(request: web.BaseRequest) -> bool:
    """Whether it asks for a page or its code, which are the same for everybody and have no data."""
    return request.method == "GET" and (request.path == PAGES or request.path.startswith(f"{PAGES}/"))


def _opens_a_page(request: web.BaseRequest) -> bool:
    """Whether somebody follows a link to a page, from wherever."""
    names = ("Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest", "Origin")
    is_page = _is_a_page(request) or (request.method, request.path) == ("GET", "/")
    return is_page and opens_page(*(request.headers.getall(name, []) for name in names))


def _key_of(request: web.BaseRequest) -> str:
    """Return the key that a request shows: a page can give a WebSocket no header but its protocols."""
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return key
    protocols = request.headers.get("Sec-WebSocket-Protocol", "").replace(",", " ").split()
    return next((each.removeprefix(_KEY_PROTOCOL) for each in protocols if each.startswith(_KEY_PROTOCOL)), "")


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        raise Unavailable(f"cannot listen on 127.0.0.1:{port}: {error.strerror}: choose another --port") from None
    return listener


def _problem(status: int, message: str, **more: object) -> web.Response:
    return web.json_response({"message": message, **more}, status=status, headers={"Cache-Control": "no-store"})


@asynccontextmanager
async def open_gate(endpoint: Endpoint, role: str, port: int) -> AsyncIterator[tuple[Gate, int]]:
    """Answer a browser at a port of 127.0.0.1 (0: a free one) while the context lasts; yield the gate and its port.

    Raises:
        Unavailable: the port is in use.

    """
    listener = _listen(port)
    port = listener.getsockname()[1]
    gate = Gate(endpoint, role, port)
    runner = web.ServerRunner(web.Server(gate.handle, handler_cancellation=True), shutdown_timeout=_END_SECONDS)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        yield gate, port
    finally:
        await runner.cleanup()
        await gate.close()


TOKEN_SECONDS = 60.0
_BYTES = 32


class Keys:
    """The token that was shown last, and the keys that were given for tokens. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._token = ""
        self._until = 0.0
        self._keys: set[str] = set()

    def new_token(self, now: float) -> str:
        """Make a token; the previous one is no longer valid."""
        self._token, self._until = secrets.token_urlsafe(_BYTES), now + TOKEN_SECONDS
        return self._token

    def exchange(self, token: str, now: float) -> str | None:
        """Return a key for the token; None when it is not the one that was shown, was used, or is late."""
        if not self._token or not _same(token, self._token):
            return None
        self._token = ""
        if now > self._until:
            return None
        key = secrets.token_urlsafe(_BYTES)
        self._keys.add(key)
        return key

    def accept(self, key: str) -> bool:
        return any([_same(key, each) for each in self._keys])  # noqa: C419 - all of them, in the same time


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(errors="replace"), other.encode())
