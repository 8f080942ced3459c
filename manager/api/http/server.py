"""The HTTP shell around the API: sockets, limits, headers. No decisions."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol, TypeAlias

import msgspec
from aiohttp import web
from multidict import CIMultiDictProxy

from common.errors import InvalidArgument, SwarmError, Unavailable
from manager.api.access.roles import NOBODY, Caller
from manager.api.call import Answer, BodyHandling, Call, Relay, Reply, Stream
from manager.api.context import Context
from manager.api.errors import EngineError, invalid
from manager.api.http.answer_memory import Lease
from manager.api.http.compression import compress_answer, compress_stream
from manager.api.http.connection import Connection, LimitedServer, Limits, end_revoked
from manager.api.http.exchange import HttpExchange
from manager.api.http.tls import TlsListener
from manager.api.router import MAX_API_VERSION

_LOG = logging.getLogger(__name__)

_SOCKET_MODE = 0o660
_BACKLOG = 512
_GRACE = 2.0
_MAX_SOCKET_PATH = 107
# An answer that a browser shows by itself, an engine's among them, does nothing there and is in nobody's frame.
_IN_A_BROWSER = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
}


# Finds out by a request who sent it, and when that ends (Unix seconds, 0: never).
Identify: TypeAlias = Callable[[Call], tuple[Call, float]]


class ServedApi(Protocol):
    """What the shell needs of an API: see `manager.api.app.Api`."""

    @property
    def context(self) -> Context: ...
    def end_streams(self) -> None: ...
    def body_handling(self, call: Call) -> BodyHandling: ...
    def lease(self) -> Lease: ...
    async def answer(self, call: Call, lease: Lease | None = None) -> Reply: ...
    def failure(self, call: Call, error: Exception) -> Answer: ...


class Shell:
    """Turns HTTP requests into calls, and replies into HTTP responses."""

    def __init__(self, api: ServedApi, limits: Limits, identify: Identify | None = None) -> None:
        self._api = api
        self._limits = limits
        self._identify = identify
        self._headers = {
            "Api-Version": MAX_API_VERSION,
            "Docker-Experimental": "false",
            "Ostype": api.context.host.os,
            **_IN_A_BROWSER,
            "Server": f"swarm-manager/{api.context.identity.version} ({api.context.host.os})",
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        with self._api.lease() as lease:
            return await self._handle(request, lease)

    async def _handle(self, request: web.BaseRequest, lease: Lease) -> web.StreamResponse:
        if isinstance(request.protocol, Connection):
            request.protocol.head_complete()
        protocol = request.protocol
        call = Call(
            caller=protocol.caller if isinstance(protocol, Connection) else NOBODY,
            target=request.raw_path,
            forwarded=isinstance(protocol, Connection) and protocol.forwarded,
            method=request.method,
            path=request.path,
            query={name: request.query[name] for name in request.query},
            headers={name.lower(): value for name, value in request.headers.items()},
            raw_query=request.rel_url.raw_query_string,
            repeated=_repeated_headers(request.headers),
        )
        try:
            if self._identify is not None:
                call = self._identified(call, protocol, self._identify)
            reply = await self._api.answer(await self._with_body(call, request), lease)
        except EngineError as error:
            reply = self._api.failure(call, error)
        if isinstance(reply, Relay):
            return await self._relay(request, call, reply)
        accepted = call.headers.get("accept-encoding", "")
        if isinstance(reply, Answer):
            return await self._send(request, self._response(await compress_answer(reply, accepted)))
        return await self._stream(request, compress_stream(reply, accepted))

    def _identified(self, call: Call, protocol: object, identify: Identify) -> Call:
        """Return the call with who sent it, where its connection does not say so.

        Raises:
            EngineError: it is not to be answered.

        """
        call, ends = identify(call)
        if isinstance(protocol, Connection):
            protocol.set_caller(call.caller, ends)
        return call

    async def _relay(self, request: web.BaseRequest, call: Call, relay: Relay) -> web.StreamResponse:
        """Let another server answer; it is this one's to say so when that fails before it began."""
        exchange = HttpExchange(request, self._headers)
        try:
            await relay.run(exchange)
        except ConnectionError:
            _LOG.debug("client of %s went away", request.path)
            _abort(request)
            return exchange.response if exchange.started else web.Response(status=503)
        except Exception as error:  # noqa: BLE001  # nothing unexpected may reach the client as it is
            failure = self._api.failure(call, error)
            if exchange.started:
                _LOG.info("the answer to %s %.200s was cut off: %s", call.method, call.path, error)
                _cut(request)
                return exchange.response
            return await self._send(request, self._response(failure))
        return exchange.response

    async def _with_body(self, call: Call, request: web.BaseRequest) -> Call:
        """Read the request's body, where it is to be read before it is answered.

        Raises:
            EngineError: 413 or 408.

        """
        use = self._api.body_handling(call)
        if use is BodyHandling.FORWARDED:
            return msgspec.structs.replace(call, unread=True)
        if use is BodyHandling.UNREAD or not request.can_read_body:
            return call
        limit = self._limits.large_body_bytes if use is BodyHandling.READ_LARGE else self._limits.body_bytes
        return call.with_body(await self._read(request, limit))

    async def _read(self, request: web.BaseRequest, limit: int) -> bytes:
        """Read a body of at most so many bytes, in time.

        Raises:
            EngineError: 413 or 408.

        """
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                async for chunk in request.content.iter_any():
                    size += len(chunk)
                    if size > limit:
                        raise EngineError(413, f"the body is larger than {limit} bytes")
                    chunks.append(chunk)
        except TimeoutError:
            text = f"the body did not arrive within {self._limits.body_seconds:g} s"
            raise EngineError(408, text) from None
        except web.RequestPayloadError as error:
            raise invalid(f"the body cannot be read: {error}") from None
        return b"".join(chunks)

    def _response(self, answer: Answer) -> web.Response:
        headers = {**self._headers, **answer.headers}
        if answer.value is None:
            return web.Response(status=answer.status, headers=headers)
        body = answer.value if isinstance(answer.value, bytes) else msgspec.json.encode(answer.value) + b"\n"
        headers["Content-Type"] = answer.content_type
        return web.Response(status=answer.status, headers=headers, body=body)

    async def _send(self, request: web.BaseRequest, response: web.Response) -> web.Response:
        """Send a whole answer; a client that does not read it in time is cut off."""
        try:
            async with asyncio.timeout(self._limits.write_seconds):
                await response.prepare(request)
                await response.write_eof()
        except TimeoutError:
            _abort(request)
        return response

    async def _stream(self, request: web.BaseRequest, stream: Stream) -> web.StreamResponse:
        headers = {**self._headers, **stream.headers, "Content-Type": stream.content_type}
        response = web.StreamResponse(status=stream.status, headers=headers)
        await response.prepare(request)
        patience = None if stream.endless else self._limits.write_seconds

        async def send(data: bytes) -> None:
            if data:
                async with asyncio.timeout(patience):
                    await response.write(data)

        try:
            await stream.produce(send)
        except* (ConnectionError, TimeoutError):
            _LOG.debug("client of %s went away or does not read", request.path)
            _abort(request)
        except* SwarmError as errors:
            _LOG.info("stream of %s cut: %s", request.path, "; ".join(_messages(errors)))
            _cut(request)
        except* Exception as errors:  # noqa: BLE001  # too late for an answer: log it, and tear the stream
            self._api.failure(Call(request.method, request.path), errors)
            _abort(request)
        return response


def _repeated_headers(headers: CIMultiDictProxy[str]) -> dict[str, tuple[str, ...]]:
    found = {name.lower(): tuple(headers.getall(name)) for name in headers} if len(set(headers)) < len(headers) else {}
    return {name: values for name, values in found.items() if len(values) > 1}


def _messages(errors: BaseExceptionGroup[SwarmError]) -> Iterator[str]:
    for each in errors.exceptions:
        if isinstance(each, BaseExceptionGroup):
            yield from _messages(each)
        else:
            yield each.message


def _cut(request: web.BaseRequest) -> None:
    """End a connection in the middle of an answer; what was written of it still arrives, if it is read soon."""
    if request.transport is not None:
        request.transport.close()
        asyncio.get_running_loop().call_later(_GRACE, request.transport.abort)


def _abort(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.abort()


@asynccontextmanager
async def serve(
    api: ServedApi,
    hosts: Sequence[str],
    *,
    group: str = "",
    ssl_context: ssl.SSLContext | None = None,
    limits: Limits | None = None,
    identify: Identify | None = None,
) -> AsyncIterator[tuple[str, ...]]:
    """Serve the API on `unix://PATH` and `tcp://ADDRESS:PORT` hosts while the context lasts.

    Sockets are made for owner and group only; `group` names that group. TCP needs an `ssl_context` that demands client
    certificates, or `identify`, which tells by each request who sent it. Yields the hosts as bound: a TCP port of 0 is
    replaced by the chosen one.

    Raises:
        InvalidArgument: a host is not of these forms, or TCP without certificates.
        Unavailable: an address is in use.

    """
    limits = limits or Limits()
    bound: list[tuple[str, socket.socket, ssl.SSLContext | None]] = []
    server = LimitedServer(Shell(api, limits, identify).handle, limits, api.context.clock)
    runner = web.ServerRunner(server, shutdown_timeout=_GRACE)
    await runner.setup()
    try:
        bound.extend(_bind(host, group, ssl_context) for host in hosts)
        async with asyncio.TaskGroup() as work:
            tasks = [work.create_task(end_revoked(api.context.store, server), name="api-revoked")]
            for _, listener, context in bound:
                if context is None:
                    await web.SockSite(runner, listener, backlog=_BACKLOG).start()
                else:
                    listener.listen(_BACKLOG)
                    strangers = TlsListener(listener, context, server, limits, api.context.clock)
                    tasks.append(work.create_task(strangers.run(), name="api-tls"))
            yield tuple(host for host, _, _ in bound)
            for task in tasks:
                task.cancel()
    finally:
        api.end_streams()
        await runner.cleanup()
        for host, listener, _ in bound:
            _release(host, listener)


@asynccontextmanager
async def serve_passed_on(api: ServedApi) -> AsyncIterator[Callable[[Caller], asyncio.Protocol]]:
    """Answer requests that other managers pass on; yields what makes the protocol of a connection with a caller's."""
    limits = Limits()
    server = LimitedServer(Shell(api, limits).handle, limits, api.context.clock)
    try:
        yield server.passing_on
    finally:
        await server.shutdown(_GRACE)


def _bind(
    host: str, group: str, ssl_context: ssl.SSLContext | None
) -> tuple[str, socket.socket, ssl.SSLContext | None]:
    scheme, _, address = host.partition("://")
    if scheme == "unix" and address.startswith("/"):
        return host, _unix_socket(Path(address), group), None
    if scheme == "tcp" and address:
        if ssl_context is None:
            raise InvalidArgument(f"{host}: the API is served over TCP only with client certificates")
        listener = _tcp_socket(host, address)
        name, port = listener.getsockname()[:2]
        return f"tcp://{name}:{port}", listener, ssl_context
    raise InvalidArgument(
        f"{host!r} is not an address to serve the API on: expected unix:///PATH or tcp://ADDRESS:PORT"
    )


def _release(host: str, listener: socket.socket) -> None:
    listener.close()
    if host.startswith("unix://"):
        Path(host.removeprefix("unix://")).unlink(missing_ok=True)


def _unix_socket(path: Path, group: str) -> socket.socket:
    if len(os.fsencode(path)) > _MAX_SOCKET_PATH:
        raise InvalidArgument(f"{path}: the path of a socket has at most {_MAX_SOCKET_PATH} bytes")
    try:
        _remove_stale(path)
    except OSError as error:
        raise Unavailable(f"cannot listen on {path}: {error}") from None
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The file must never be there with wider rights than it keeps.
    before = os.umask(0o777 & ~_SOCKET_MODE)
    try:
        listener.bind(os.fspath(path))
        if group:
            shutil.chown(path, group=group)
    except (OSError, LookupError) as error:
        listener.close()
        raise Unavailable(f"cannot listen on {path}: {error}") from None
    finally:
        os.umask(before)
    return listener


def _remove_stale(path: Path) -> None:
    """Remove the socket of a manager that is gone; one that answers is an error."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise Unavailable(f"cannot listen on {path}: another program answers there already")


def _tcp_socket(host: str, address: str) -> socket.socket:
    name, _, port = address.rpartition(":")
    if not name or not port.isdecimal():
        raise InvalidArgument(f"{host!r}: expected tcp://ADDRESS:PORT")
    name = name.strip("[]")
    family = socket.AF_INET6 if ":" in name else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((name, int(port)))
    except (OSError, OverflowError) as error:
        listener.close()
        raise Unavailable(f"cannot listen on {host}: {getattr(error, 'strerror', None) or error}") from None
    return listener
