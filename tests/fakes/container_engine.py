"""A Docker engine with containers that do not exist: what a manager passes requests on to. Speaks HTTP by itself.

It does what no HTTP library does: answers with a head and then takes the connection for a stream both ways.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

import aiohttp
import msgspec

from common.errors import Unavailable
from tests.fakes.api_cluster import WORKER1, WORKER2, ApiCluster
from tests.fakes.engine_answers import IMAGE_ID
from tests.fakes.written import written

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = b""
    raw_query: str = ""


@dataclass
class ContainerEngine:
    """`containers` are /containers/json's entries by id; `talk` is what happens on a connection that was taken over.

    `answers` gives other paths' answers: "GET /path" → (status, JSON); `silent` never answers, `version` is the path's.
    """

    path: Path
    containers: dict[str, dict[str, Any]] = field(default_factory=dict)
    images: set[str] = field(default_factory=lambda: {"busybox"})
    image_labels: dict[str, str] = field(default_factory=dict)
    volumes: set[str] = field(default_factory=set)
    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    talk: Talk | None = None
    silent: bool = False
    requests: list[Request] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    received: int = 0

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    async def stop(self) -> None:
        self._server.close()

    def add(self, full_id: str, name: str, created: int = 1, **more: Any) -> None:
        entry = {
            "Id": full_id,
            "Names": [f"/{name}"],
            "Created": created,
            "State": "running",
            "Labels": {},
            "Ports": [],
        }
        self.containers[full_id] = {**entry, **more}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await self._read(reader)
            if self.silent:
                await reader.read()
                return
            self.requests.append(request)
            await self._respond(request, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the manager gave it up, as some tests want it to
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Request:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("utf-8", "surrogateescape")
        first, *lines = head.strip().split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        parts = urlsplit(target)
        _, version, path = parts.path.split("/", 2)
        self.versions.append(version)
        return Request(method, "/" + unquote(path), dict(parse_qsl(parts.query)), headers, raw_query=parts.query)

    async def _body(self, request: Request, reader: asyncio.StreamReader) -> None:
        if "chunked" in request.headers.get("transfer-encoding", ""):
            while size := int((await reader.readline()).strip(), 16):
                request.body += await reader.readexactly(size)
                await reader.readline()
            await reader.readline()
        elif size := int(request.headers.get("content-length", "0")):
            request.body = await reader.readexactly(size)

    async def _respond(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._body(request, reader)
        if "upgrade" in request.headers and self.talk is not None:
            kind = "application/vnd.docker.multiplexed-stream"
            head = f"HTTP/1.1 101 UPGRADED\r\nContent-Type: {kind}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
            writer.write(head.encode())
            await self.talk(reader, writer)
            return
        status, value = self._answer(request)
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        writer.write(head.encode() + data)
        await writer.drain()

    def _answer(self, request: Request) -> tuple[int, Any]:
        known = self.answers.get(f"{request.method} {request.path}")
        if known is not None:
            return known
        if request.path == "/containers/json":
            return 200, list(self.containers.values())
        if request.path == "/containers/create":
            full_id = sha256(f"{self.path} {len(self.requests)}".encode()).hexdigest()
            self.add(full_id, request.query.get("name", "made"), Labels=json.loads(request.body)["Labels"])
            return 201, {"Id": full_id, "Warnings": []}
        if request.path == "/volumes":
            return 200, {"Volumes": [{"Name": name} for name in sorted(self.volumes)], "Warnings": None}
        if request.path == "/system/df":
            return 200, {"LayersSize": 0, "Images": [], "Containers": [], "Volumes": [], "BuildCache": []}
        first, _, rest = request.path[1:].partition("/")
        name, _, last = rest.rpartition("/")
        if first == "images" and last == "json":
            found = name in self.images
            image = {"Id": IMAGE_ID, "Config": {"Labels": self.image_labels}}
            return (200, image) if found else (404, {"message": "No such image"})
        if first == "containers":
            return self._container(name or last, last)
        return 404, {"message": "page not found"}

    def _container(self, reference: str, last: str) -> tuple[int, Any]:
        found = [c for c in self.containers.values() if c["Id"] == reference or c["Names"] == [f"/{reference}"]]
        found = found or [c for c in self.containers.values() if c["Id"].startswith(reference)]
        if not found:
            return 404, {"message": f"No such container: {reference}"}
        if len(found) > 1:
            return 400, {"message": f"Multiple IDs found with provided prefix: {reference}"}
        if last == "json":
            config = {"Labels": found[0]["Labels"], "Env": []}
            return 200, {"Id": found[0]["Id"], "Name": found[0]["Names"][0], "Config": config}
        return 204, b""


class Engines:
    """Both nodes' engines of a cluster, and its API's way to them; one that is `cut` off cannot be reached.

    `barriers` is how often somebody waited until all nodes have applied what is decided.
    """

    def __init__(self, cluster: ApiCluster) -> None:
        self.one = ContainerEngine(cluster.folder / "one.sock")
        self.two = ContainerEngine(cluster.folder / "two.sock")
        cluster.api.context = msgspec.structs.replace(cluster.api.context, engines=self)
        self._by_node = {WORKER1: self.one, WORKER2: self.two}
        self.cut: set[str] = set()
        self.barriers = 0

    async def __aenter__(self) -> Self:
        await self.one.start()
        await self.two.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.one.stop()
        await self.two.stop()

    def session(self, node_id: str) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self._path(node_id))))

    async def connect(self, node_id: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(str(self._path(node_id)))

    async def metrics(self, node_id: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if node_id not in self._by_node or node_id in self.cut:
            raise Unavailable(f"node {node_id} is not connected")
        return await written(f"# the page of {node_id}\n".encode())

    async def volumes(self, node_id: str, _target: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        raise Unavailable(f"the worker of node {node_id} copies no volumes")

    async def applied(self) -> None:
        self.barriers += 1

    def connected(self) -> frozenset[str]:
        return frozenset(self._by_node) - self.cut

    async def image_holders(self, image_id: str) -> dict[str, str]:
        return {}

    def _path(self, node_id: str) -> Path:
        if node_id in self.cut:
            raise Unavailable(f"node {node_id} is not connected")
        return self._by_node[node_id].path
