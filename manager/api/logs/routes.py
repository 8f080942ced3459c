"""/services/{id}/logs and /tasks/{id}/logs: the logs of tasks on all nodes, as one stream.

Each task's log is read from its own node's engine. A node that cannot be reached costs a line of explanation, never the
other nodes' logs. A log that is followed goes on when its node, or the engine there, is back.
"""

from __future__ import annotations

import asyncio
import calendar
import contextlib
import re
import time
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

import aiohttp
from yarl import URL

from common.aio.steady import Backoff
from common.clock import rfc3339
from common.errors import ProtocolError
from common.model import Task
from common.model.client import Role
from manager.api.call import Call, Reply, Send, Stream
from manager.api.context import Context
from manager.api.engine.answers import read
from manager.api.engine.presence import is_ready
from manager.api.engine.proxy import AS_IT_COMES, ENGINE, ENGINE_FAILURES
from manager.api.engine.types import ErrorMessage
from manager.api.http.bounded_json import WrongJson
from manager.api.logs.stream import (
    FOLLOWED_AT_ONCE,
    MULTIPLEXED,
    RAW,
    STDERR,
    STDOUT,
    Frame,
    FrameReader,
    LineReader,
    LogRequest,
    log_request,
    with_attributes,
)
from manager.api.lookup import find_service, find_task
from manager.api.router import Route
from manager.store.view import View
from manager.store.watch import Lagged

_CONNECT_PATIENCE = 10.0
_AT_ONCE = 32
_MAX_REASON = 4096
# Seconds until a log that was cut off is asked for again, where its node is there.
_RETRY_FIRST, _RETRY_LIMIT = 0.5, 10.0
_ENDLESS = aiohttp.ClientTimeout(total=None)

# As engines write it before each message that they give with timestamps: always UTC, always nine digits.
_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{9})Z")


class _Tasks:
    """Which tasks' logs are asked for: one task, or all of a service, those to come included."""

    def __init__(self, service_id: str, task_id: str = "") -> None:
        self._service_id = service_id
        self._task_id = task_id

    def started(self, view: View) -> list[Task]:
        """Return those that have, or had, a container."""
        if self._task_id:
            task = view.tasks.get(self._task_id)
            tasks: Iterable[Task] = [task] if task is not None else []
        else:
            tasks = view.tasks.of_service(self._service_id)
        return [task for task in tasks if task.node_id and task.status.container_status is not None]

    def over(self, view: View) -> bool:
        """Whether no more tasks can come."""
        if self._task_id:
            task = view.tasks.get(self._task_id)
            return task is None or task.status.state.terminal
        service = view.services.get(self._service_id)
        return service is None or service.pending_delete


async def service_logs(context: Context, call: Call) -> Reply:
    request = log_request(call)
    service = find_service(context.store.view, call.params["id"])
    container = service.spec.task_template.container_spec
    return _stream(context, call, request, _Tasks(service.id), tty=container is not None and container.tty)


async def task_logs(context: Context, call: Call) -> Reply:
    request = log_request(call)
    task = find_task(context.store.view, call.params["id"])
    container = task.spec.container_spec
    return _stream(
        context, call, request, _Tasks(task.service_id, task.id), tty=container is not None and container.tty
    )


def _stream(context: Context, call: Call, request: LogRequest, tasks: _Tasks, *, tty: bool) -> Stream:
    collector = _Collector(context, call.caller.key, request, tty=tty)
    return Stream(partial(collector.run, tasks), RAW if tty else MULTIPLEXED, endless=True)


class _Collector:
    """Reads several tasks' logs at once into one client's stream; frames are never torn."""

    def __init__(self, context: Context, client: str, request: LogRequest, *, tty: bool) -> None:
        self._context = context
        self._client = client
        self._request = request
        self._tty = tty
        self._seen: set[str] = set()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._lock = asyncio.Lock()

    async def run(self, tasks: _Tasks, send: Send) -> None:
        """Send all logs; when following, until no more tasks can come or the client goes."""
        await send(b"")
        async with asyncio.TaskGroup() as group:
            if self._request.follow:
                await self._follow(tasks, group, send)
            else:
                self._start(tasks, group, self._request, send)

    def _start(self, tasks: _Tasks, group: asyncio.TaskGroup, request: LogRequest, send: Send) -> None:
        for task in tasks.started(self._context.store.view):
            if task.id not in self._seen:
                self._seen.add(task.id)
                job = self._followed(tasks, task, request, send) if request.follow else self._one(task, request, send)
                group.create_task(job, name=f"log-{task.id}")

    async def _followed(self, tasks: _Tasks, task: Task, request: LogRequest, send: Send) -> None:
        with self._context.followed.one_more(self._client) as allowed:
            if not allowed:
                most = f"this client follows {FOLLOWED_AT_ONCE} tasks' logs already"
                await self._note(task, f"warning: the log of this task is not followed: {most}\n", send)
            elif self._tty:
                await self._one(task, request, send)
            else:
                await self._follow_one(tasks, task, request, send)

    async def _follow(self, tasks: _Tasks, group: asyncio.TaskGroup, send: Send) -> None:
        with self._context.store.watch() as subscription:
            self._start(tasks, group, self._request, send)
            # Of a task that comes later every line is new: its first ones must not fall to `tail` or `since`.
            whole = replace(self._request, tail="", since="")
            while not tasks.over(self._context.store.view):
                with contextlib.suppress(Lagged):  # the whole view is looked at anyway
                    await subscription.next()
                self._start(tasks, group, whole, send)

    async def _one(self, task: Task, request: LogRequest, send: Send) -> None:
        """Send one task's log; what goes wrong is told in its place."""
        # A log that is followed lasts: it must not keep others from being read.
        gate = contextlib.nullcontext() if self._request.follow else self._slots
        try:
            async with gate:
                await self._copy(task, request, send)
        except (*ENGINE_FAILURES, ProtocolError) as error:
            await self._note(task, f"warning: the log of this task is not complete: {_why(error)}\n", send)

    async def _follow_one(self, tasks: _Tasks, task: Task, request: LogRequest, send: Send) -> None:
        """Send one task's log for as long as there may be more; an interruption is reported once."""
        mark, told = Bookmark(), ""
        backoff = Backoff(_RETRY_FIRST, _RETRY_LIMIT, self._context.rng)
        while True:
            rest = mark.rest_of(request)
            try:
                await self._copy(task, rest, send, mark)
            except ProtocolError as error:
                await self._note(task, f"warning: the log of this task is not complete: {_why(error)}\n", send)
                return
            except ENGINE_FAILURES as error:
                if mark.rest_of(request) != rest:  # there was something new
                    told = ""
                    backoff.reset()
                if not told:
                    told = f"warning: the log of this task is interrupted: {_why(error)}\n"
                    await self._note(task, told, send)
            else:
                return
            await asyncio.sleep(backoff.next())
            if not await self._back(tasks, task):
                return

    async def _back(self, tasks: _Tasks, task: Task) -> bool:
        """Wait until a task's node is there; return False if the rest of its log is no longer wanted."""
        view = self._context.store.view
        with self._context.store.watch() as subscription:
            while not is_ready(view.nodes.get(task.node_id)):
                if task.id not in view.tasks or tasks.over(view):
                    return False
                with contextlib.suppress(Lagged):
                    await subscription.next()
        return task.id in view.tasks

    async def _copy(self, task: Task, request: LogRequest, send: Send, mark: Bookmark | None = None) -> None:
        """Send what a task's engine gives; with a bookmark, what of it is new."""
        assert task.status.container_status is not None
        container = task.status.container_status.container_id or task.name
        url = f"{ENGINE}/containers/{container}/logs?{request.query()}"
        reader: FrameReader | LineReader = LineReader() if self._tty else FrameReader()
        async with (
            self._context.presence.guard(self._context.store.view, task.node_id),
            self._context.engines.session(task.node_id) as session,
        ):
            async with asyncio.timeout(_CONNECT_PATIENCE):
                response = await session.get(URL(url, encoded=True), timeout=_ENDLESS, **AS_IT_COMES)
            async with response:
                if response.status != 200:
                    raise ProtocolError(await _reason(response))
                async for data in response.content.iter_any():
                    for frame in reader.feed(data):
                        if mark is None:
                            await self._emit(task, frame, send)
                        elif mark.take(frame.payload):
                            await self._emit(task, self._as_asked(frame), send)
                for frame in reader.end():
                    await self._emit(task, frame, send)

    def _as_asked(self, frame: Frame) -> Frame:
        return frame if self._request.timestamps else Frame(frame.stream, without_stamp(frame.payload))

    async def _emit(self, task: Task, frame: Frame, send: Send) -> None:
        payload = frame.payload
        if self._request.details:
            payload = with_attributes(payload, task, timestamps=self._request.timestamps)
        data = payload if self._tty else Frame(frame.stream, payload).encode()
        async with self._lock:
            await send(data)

    async def _note(self, task: Task, text: str, send: Send) -> None:
        stamp = f"{rfc3339(self._context.clock.now())} " if self._request.timestamps else ""
        gap = " " if self._request.details else ""
        stream = STDERR if self._request.stderr else STDOUT
        await self._emit(task, Frame(stream, f"{stamp}{gap}{text}".encode()), send)


def _why(error: Exception) -> str:
    """Say why a log has ended too early, for a person."""
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the engine stopped before the end"
    return str(error) or "the node did not answer in time"


async def _reason(response: aiohttp.ClientResponse) -> str:
    """Return why an engine refused, as short as possible."""
    text = await response.content.read(_MAX_REASON)
    try:
        return read(text, ErrorMessage)["message"]
    except WrongJson:
        return f"the engine answered with status {response.status}"


# --- how far a log was passed on, and what of it is new when it is read again ---


class Bookmark:
    """The place in one task's log up to which its messages, which come with timestamps, were taken.

    Several messages may have one time (the parts of a long line do), so these are counted.
    """

    def __init__(self) -> None:
        self._stamp = b""
        self._taken = 0
        self._known = 0

    def rest_of(self, request: LogRequest) -> LogRequest:
        """Return what to ask of the engine: the log from here on; all of `request` before the first message."""
        self._known = self._taken
        rest = replace(request, timestamps=True)
        found = _STAMP.fullmatch(self._stamp)
        if found is None:
            return rest
        try:
            seconds = calendar.timegm(time.strptime(found[1].decode(), "%Y-%m-%dT%H:%M:%S"))
        except ValueError:  # an engine that gives times that cannot be: all of its log is new
            return rest
        return replace(rest, tail="", since=f"{seconds}.{found[2].decode()}")

    def take(self, payload: bytes) -> bool:
        """Move on by a message; return whether it is new."""
        stamp = payload.partition(b" ")[0]
        if stamp != self._stamp:
            self._stamp, self._taken, self._known = stamp, 1, 0
            return True
        if self._known:
            self._known -= 1
            return False
        self._taken += 1
        return True


def without_stamp(payload: bytes) -> bytes:
    """Return a message without the timestamp before it."""
    return payload.partition(b" ")[2]


ROUTES = (
    Route("GET", "/services/{id}/logs", service_logs, needs=Role.VIEWER),
    Route("GET", "/tasks/{id}/logs", task_logs, needs=Role.VIEWER),
)
