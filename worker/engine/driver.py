"""The Docker engine's driver: aiodocker for calls, an event loop of our own.

aiodocker's events start once, never reconnect and fill unbounded queues; it has no timeouts by default. So this sets a
timeout for every call, turns its errors into ours, and reads /events itself.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import random
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Collection,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
from aiodocker import Docker
from aiodocker.exceptions import DockerError

from common.aio.steady import Backoff
from common.errors import InvalidArgument, SwarmError
from common.text import build_progress
from worker.engine import api as engine_api
from worker.engine.liveness import HangDetector, next_unless
from worker.intake.identifiers import engine_name
from worker.interfaces.engine import (
    JSON,
    WATCHED_ACTIONS,
    Container,
    ContainerUsage,
    EngineConnected,
    EngineDown,
    EngineError,
    EngineEvent,
    EngineLost,
    EngineSilent,
    EngineVolume,
    Image,
)

CALL_SECONDS = 60.0
# Creating, starting and removing may wait for volume and network drivers.
SLOW_CALL_SECONDS = 180.0
PULL_STALL_SECONDS = 300.0
# An engine writes a whole image to its disk before it sends or takes over the first byte of it.
TRANSFER_STALL_SECONDS = 900.0
# With more images than these, layers that are here may be sent again.
LAYERS_ASKED = 200
# A line of logs may be of any length.
LONGEST_LOGS = 1 << 16
STOP_MARGIN_SECONDS = 60.0
AIODOCKER_NO_ANSWER = 900
_RETRY_FIRST, _RETRY_LIMIT = 0.1, 2.0

T = TypeVar("T")

_log = logging.getLogger(__name__)


class DockerEngine:
    """An `Engine` (worker.interfaces) at a Docker host, `unix:///path` or `tcp://host:port`. Call `close` at last."""

    def __init__(self, host: str, rng: random.Random) -> None:
        self.host = host
        self._backoff = Backoff(_RETRY_FIRST, _RETRY_LIMIT, rng)
        self._connector = _connector(host)
        timeout = aiohttp.ClientTimeout(total=CALL_SECONDS, sock_connect=10)
        # When it is given a connector, aiodocker sends requests to this url, which cannot be a socket's path.
        url = "unix://localhost" if host.startswith("unix://") else host
        self._docker = Docker(url=url, connector=self._connector, timeout=timeout)
        self._version: tuple[int, int] | None = None
        self._negotiating = asyncio.Lock()
        self._hanging = HangDetector(host, self._ping, self._ask_version)

    async def close(self) -> None:
        await self._docker.close()
        await self._connector.close()

    async def info(self) -> JSON:
        with self._errors():
            await self._negotiate(anew=True)
            info = await self._docker.system.info()
            return {**info, "Version": await self._docker.version()}

    # --- containers ---------------------------------------------------------------------------------------------------

    async def create(self, name: str, body: JSON) -> str:
        with self._errors("create the container", SLOW_CALL_SECONDS), self._hanging.changes.one():
            version = await self._negotiate()
            first, others = (
                (body, []) if version >= engine_api.SEVERAL_NETWORKS_API else engine_api.first_network_only(body)
            )
            container_id = json.loads(await self._post(("containers", "create"), first, name=name))["Id"]
            for network, endpoint in others:
                connected = {"Container": container_id, "EndpointConfig": endpoint}
                await self._post(("networks", network, "connect"), connected)
            return str(container_id)

    async def start(self, container_id: str) -> None:
        with self._errors("start the container", SLOW_CALL_SECONDS), self._hanging.changes.one():
            await self._negotiate()
            await self._post(("containers", container_id, "start"))

    async def stop(self, container_id: str, grace: float | None) -> None:
        whole = None if grace is None else math.ceil(grace)
        seconds = None if whole is None else whole + STOP_MARGIN_SECONDS
        limit = aiohttp.ClientTimeout(total=seconds)
        call = self._docker.containers.container(engine_name(container_id)).stop(t=whole, timeout=limit)
        with self._hanging.changes.one():
            await self._unless_absent(call, "stop the container", seconds)

    async def signal(self, container_id: str, name: str) -> None:
        with self._errors():
            await self._negotiate()
            limit = aiohttp.ClientTimeout(total=CALL_SECONDS)
            await self._docker.containers.container(engine_name(container_id)).kill(signal=name, timeout=limit)

    async def remove(self, container: str, *, volumes: bool = True) -> None:
        limit = aiohttp.ClientTimeout(total=SLOW_CALL_SECONDS)
        call = self._docker.containers.container(engine_name(container)).delete(force=True, v=volumes, timeout=limit)
        with self._hanging.changes.one():
            await self._unless_absent(call, "remove the container", SLOW_CALL_SECONDS)

    async def inspect(self, container: str) -> Container | None:
        call = self._docker.containers.container(engine_name(container)).show()
        answer = await self._unless_absent(call, "show the container", CALL_SECONDS)
        return None if answer is None else engine_api.read_container(answer)

    async def last_logs(self, container: str, lines: int) -> bytes:
        return await self._unless_absent(self._last_logs(container, lines)) or b""

    async def _last_logs(self, container: str, lines: int) -> bytes:
        query = {"stdout": "true", "stderr": "true", "tail": str(lines)}
        async with self._docker.session.get(self._url("containers", container, "logs"), params=query) as response:
            await _raise_for_status(response)
            logs = bytearray()
            async for chunk in response.content.iter_any():
                logs += chunk
                if len(logs) > LONGEST_LOGS:
                    break
            return bytes(logs)

    async def usage(self, container: str) -> ContainerUsage:
        with self._errors():
            await self._negotiate()
            query = {"stream": "false", "one-shot": "true"}
            async with self._docker.session.get(self._url("containers", container, "stats"), params=query) as response:
                await _raise_for_status(response)
                return engine_api.read_usage(await response.json())

    async def containers(self, labels: Mapping[str, str]) -> tuple[Container, ...]:
        return await self._containers(label=engine_api.label_filters(labels))

    async def mounting(self, volume: str) -> tuple[Container, ...]:
        return await self._containers(volume=[volume])

    async def _containers(self, **filters: list[str]) -> tuple[Container, ...]:
        with self._errors():
            await self._negotiate()
            found = await self._docker.containers.list(all="true", filters=json.dumps(filters))
        return tuple(engine_api.read_summary(entry._container) for entry in found)  # noqa: SLF001 - it has no other way

    # --- images -------------------------------------------------------------------------------------------------------

    async def image(self, reference: str) -> Image | None:
        answer = await self._unless_absent(self._docker.images.inspect(engine_name(reference)))
        return None if answer is None else engine_api.read_image(answer)

    async def pull(self, reference: str, auth: str) -> None:
        name, tag = engine_api.split_reference(reference)
        headers = engine_api.registry_header(auth)
        limit = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=PULL_STALL_SECONDS)
        query = {"fromImage": name, "tag": tag}
        with self._errors():
            await self._negotiate()
            url = self._url("images", "create")
            async with self._docker.session.post(url, params=query, headers=headers, timeout=limit) as response:
                await _raise_for_status(response)
                async for line in _json_lines(response):
                    if failure := build_progress.failure(line):
                        raise EngineError(response.status, failure)

    async def save(self, image_id: str) -> AsyncGenerator[bytes, None]:
        limit = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=TRANSFER_STALL_SECONDS)
        with self._errors():
            await self._negotiate()
            async with self._docker.session.get(self._url("images", image_id, "get"), timeout=limit) as response:
                await _raise_for_status(response)
                async for data in response.content.iter_any():
                    yield data

    async def load(self, archive: AsyncIterable[bytes]) -> str:
        loaded = ""
        limit = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=TRANSFER_STALL_SECONDS)
        with self._errors():
            await self._negotiate()
            url = self._url("images", "load")
            headers = {"Content-Type": "application/x-tar"}
            request = self._docker.session.post(
                url, params={"quiet": "1"}, data=archive, headers=headers, timeout=limit
            )
            async with request as response:
                await _raise_for_status(response)
                async for line in _json_lines(response):
                    if failure := build_progress.failure(line):
                        raise EngineError(response.status, failure)
                    loaded = engine_api.parse_loaded_id(line) or loaded
        return loaded

    async def remove_image(self, image_id: str) -> bool:
        image = await self.image(image_id)
        if image is not None and image.names:
            return False
        try:
            await self._unless_absent(self._delete("images", image_id))
        except EngineError as error:
            if error.http_status != HTTPStatus.CONFLICT:
                raise
            return False
        return True

    async def layers(self) -> Collection[tuple[str, ...]]:
        with self._errors():
            await self._negotiate()
            if engine_api.has_containerd_store(await self._docker.system.info()):
                return ()  # it would have the layers in another form than they come in
            listed = await self._docker.images.list()
        found = []
        for entry in listed[:LAYERS_ASKED]:
            image = await self.image(entry["Id"])
            if image is not None:
                found.append(image.layers)
        return found

    # --- volumes ------------------------------------------------------------------------------------------------------

    async def volumes(self) -> tuple[EngineVolume, ...]:
        with self._errors():
            await self._negotiate()
            async with self._docker.session.get(self._url("volumes")) as response:
                await _raise_for_status(response)
                listed = (await response.json()).get("Volumes") or ()
        return tuple(engine_api.read_volume(each) for each in listed)

    async def volume(self, name: str) -> EngineVolume | None:
        answer = await self._unless_absent(self._volume(name))
        return None if answer is None else engine_api.read_volume(answer)

    async def create_volume(self, name: str) -> EngineVolume:
        with self._errors("create the volume", SLOW_CALL_SECONDS):
            await self._negotiate()
            return engine_api.read_volume(json.loads(await self._post(("volumes", "create"), {"Name": name})))

    async def remove_volume(self, name: str) -> None:
        await self._unless_absent(self._delete("volumes", name), "remove the volume", SLOW_CALL_SECONDS)

    async def _volume(self, name: str) -> JSON:
        async with self._docker.session.get(self._url("volumes", name)) as response:
            await _raise_for_status(response)
            found: JSON = await response.json()
            return found

    # --- networks -----------------------------------------------------------------------------------------------------

    async def networks(self, labels: Mapping[str, str]) -> tuple[JSON, ...]:
        with self._errors():
            await self._negotiate()
            return tuple(await self._docker.networks.list(filters={"label": engine_api.label_filters(labels)}))

    async def create_network(self, body: JSON) -> str:
        with self._errors():
            await self._negotiate()
            return str((await self._docker.networks.create(body)).id)

    async def remove_network(self, network: str) -> None:
        await self._unless_absent(self._delete("networks", network))

    async def empty_network(self, network: str) -> None:
        with self._errors():
            await self._negotiate()
            found = await self._docker.networks.get(engine_name(network))
            for container_id in (await found.show()).get("Containers") or {}:
                await found.disconnect({"Container": container_id, "Force": True})

    # --- events -------------------------------------------------------------------------------------------------------

    async def events(
        self, labels: Mapping[str, str], actions: Collection[str] = WATCHED_ACTIONS
    ) -> AsyncGenerator[EngineEvent, None]:
        since = told = ""
        while True:
            try:
                async with self._event_stream(labels, actions, since) as response, self._hanging.watched() as hung:
                    yield EngineConnected()
                    told = ""
                    self._backoff.reset()
                    lines = _json_lines(response)
                    while (line := await next_unless(lines, hung)) is not None:
                        self._hanging.pulse.heard()
                        since = "{}.{:09d}".format(*divmod(int(line["timeNano"]), 10**9))
                        if event := engine_api.read_event(line, actions):
                            yield event
                why = f"the Docker engine at {self.host} closed its event stream: it stops or restarts"
            except SwarmError as error:
                why = error.message
            if why != told:  # an engine may be away for days
                _log.warning("%s; trying again", why)
                told = why
            yield EngineLost(why)
            await asyncio.sleep(self._backoff.next())

    @asynccontextmanager
    async def _event_stream(
        self, labels: Mapping[str, str], actions: Collection[str], since: str
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        filters = {
            "type": ["container"],
            "label": engine_api.label_filters(labels),
            "event": list(actions),
        }
        query = {"filters": json.dumps(filters)} | ({"since": since} if since else {})
        limit = aiohttp.ClientTimeout(total=None, sock_connect=10)
        with self._errors():
            await self._negotiate(anew=True)
            async with self._docker.session.get(self._url("events"), params=query, timeout=limit) as response:
                await _raise_for_status(response)
                yield response

    async def _ping(self) -> None:
        async with self._docker.session.get(f"{self._docker.docker_host}/_ping") as response:
            await response.read()

    async def _ask_version(self) -> None:
        async with self._docker.session.get(f"{self._docker.docker_host}/version") as response:
            await response.read()

    # --- inside -------------------------------------------------------------------------------------------------------

    async def _unless_absent(self, call: Awaitable[T], what: str = "", seconds: float | None = None) -> T | None:
        """Make a call; None when the engine knows no such object. `what`, `seconds` and errors: as for `_errors`."""
        try:
            with self._errors(what, seconds):
                await self._negotiate()
                return await call
        except EngineError as error:
            if error.http_status != HTTPStatus.NOT_FOUND:
                raise
            return None
        finally:
            if isinstance(call, Coroutine):
                call.close()  # one that was not begun, as the engine is away, is not warned of

    async def _post(self, path: Sequence[str], body: JSON | None = None, **query: str) -> bytes:
        """Make a call that may take long, and return the answer: aiodocker has no time limit for a single call."""
        limit = aiohttp.ClientTimeout(total=SLOW_CALL_SECONDS)
        async with self._docker.session.post(self._url(*path), params=query, json=body, timeout=limit) as response:
            await _raise_for_status(response)
            return await response.read()

    async def _delete(self, *path: str) -> None:
        async with self._docker.session.delete(self._url(*path)) as response:
            await _raise_for_status(response)

    async def _negotiate(self, *, anew: bool = False) -> tuple[int, int]:
        """Agree on an API version, each time that the engine comes up, as it may be another one."""
        async with self._negotiating:
            if self._version is None or anew:
                async with self._docker.session.get(f"{self._docker.docker_host}/version") as response:
                    await _raise_for_status(response)
                    self._version = engine_api.negotiate(await response.json())
                self._docker.api_version = "v{}.{}".format(*self._version)
            return self._version

    def _url(self, *path: str) -> str:
        """Return the URL of a request, whose path has exactly the parts in `path`.

        Raises:
            Unusable: a part is not a name that an engine may have for something.

        """
        return "/".join((self._docker.docker_host, self._docker.api_version, *map(engine_name, path)))

    @contextmanager
    def _errors(self, what: str = "", seconds: float | None = None) -> Iterator[None]:
        """Turn aiodocker's and aiohttp's errors into ours; `what` the engine was to do, within so many `seconds`."""
        try:
            yield
            self._hanging.pulse.heard()
        except DockerError as error:
            if error.status == AIODOCKER_NO_ANSWER:
                why = getattr(error.__context__, "strerror", "") or error.message
                raise EngineDown(f"no Docker engine answers at {self.host}: {why}") from error
            self._hanging.pulse.heard()
            raise EngineError(error.status, error.message) from error
        except TimeoutError as error:
            limit = f"within {seconds:g} s" if seconds is not None else "in time"
            raise EngineSilent(f"the Docker engine at {self.host} did not {what or 'answer'} {limit}") from error
        except (aiohttp.ClientError, OSError, json.JSONDecodeError) as why:
            raise EngineDown(f"no Docker engine answers at {self.host}: {getattr(why, 'strerror', '') or why}") from why


def _connector(host: str) -> aiohttp.BaseConnector:
    # No limit: a hundred slow stops must not keep the event stream or a start waiting for a connection.
    if host.startswith("unix://"):
        return aiohttp.UnixConnector(host.removeprefix("unix://"), limit=0)
    if host.startswith("tcp://") and _has_port(host):
        return aiohttp.TCPConnector(limit=0)
    raise InvalidArgument(f"{host!r} is not a Docker host: write unix:///var/run/docker.sock or tcp://127.0.0.1:2375")


def _has_port(host: str) -> bool:
    try:
        return urlsplit(host).port is not None
    except ValueError:  # it is none
        return False


async def _raise_for_status(response: aiohttp.ClientResponse) -> None:
    if response.status >= 400:
        text = await response.text()
        try:
            text = json.loads(text)["message"]
        except (ValueError, KeyError, TypeError):
            text = text.strip() or str(response.reason)
        raise DockerError(response.status, text)


async def _json_lines(response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    """Read one JSON object a line; lines may be of any length."""
    rest = b""
    async for chunk in response.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                yield json.loads(line)
