"""Docker engines of nodes that do not exist: what the API reads through the agents' connections."""

import asyncio
from pathlib import Path

import aiohttp
from aiohttp import web

from common.errors import Unavailable
from common.text.image_names import begins_with
from tests.fakes.written import written

DIGEST = "sha256:" + "ab" * 32


def frame(stream: int, payload: bytes) -> bytes:
    return bytes((stream, 0, 0, 0)) + len(payload).to_bytes(4, "big") + payload


class FakeEngineApi:
    """One node's engine on a unix socket: logs, a list of `containers`, a registry that knows busybox, disk usage.

    `logs` are a container's messages (stream, text); `raw` what it answers instead, byte for byte. Of a `hanging`
    container nothing comes, and of one that is `cut` the answer has no end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.containers: list[dict[str, object]] = []
        self.logs: dict[str, list[tuple[int, str]]] = {}
        self.raw: dict[str, bytes] = {}
        self.hanging: set[str] = set()
        self.cut: set[str] = set()
        self.requests: list[str] = []
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/containers/{id}/logs", self._logs)
        app.router.add_get("/containers/json", self._list)
        version = "/{version:v1[.][0-9]+}"
        app.router.add_get(version + "/containers/json", self._list)
        app.router.add_get(version + "/distribution/{name:.+}/json", self._distribution)
        app.router.add_get(version + "/system/df", self._usage)
        app.router.add_get(version + "/info", self._info)
        app.router.add_get(version + "/volumes", self._volumes)
        app.router.add_post(version + "/auth", self._auth)
        self._runner = web.AppRunner(app, handler_cancellation=True)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self.path)).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request.path_qs)
        container = request.match_info["id"]
        if container in self.hanging:
            await asyncio.Event().wait()
        if container in self.cut:
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(self.raw[container])
            assert request.transport is not None
            request.transport.close()
            return response
        if container in self.raw:
            return web.Response(body=self.raw[container])
        if container not in self.logs:
            return web.json_response({"message": f"No such container: {container}"}, status=404)
        lines = self.logs[container]
        if request.query.get("tail"):
            lines = lines[-int(request.query["tail"]) :]
        stamp = "2026-01-31T12:00:00.123456789Z " if "timestamps" in request.query else ""
        gap = " " if "details" in request.query else ""
        chosen = [stream for stream, name in ((1, "stdout"), (2, "stderr")) if name in request.query]
        body = b"".join(frame(stream, f"{stamp}{gap}{text}".encode()) for stream, text in lines if stream in chosen)
        return web.Response(body=body, content_type="application/vnd.docker.multiplexed-stream")

    async def _distribution(self, request: web.Request) -> web.Response:
        if request.match_info["name"].startswith("silent"):
            await asyncio.Event().wait()
        if not request.match_info["name"].startswith("busybox"):
            return web.json_response({"message": "Get https://registry/v2/: no route to host"}, status=500)
        descriptor = {"mediaType": "application/vnd.oci.image.index.v1+json", "digest": DIGEST, "size": 100}
        platforms = [{"architecture": "amd64", "os": "linux"}]
        return web.json_response({"Descriptor": descriptor, "Platforms": platforms})

    async def _list(self, _: web.Request) -> web.Response:
        return web.json_response(self.containers)

    async def _usage(self, request: web.Request) -> web.Response:
        self.requests.append(request.path_qs)
        image = {"Id": "sha256:1", "Size": 100, "SharedSize": 0, "Containers": 0, "Created": 1, "RepoTags": ["a:1"]}
        return web.json_response(
            {"LayersSize": 100, "Images": [image], "Containers": [], "Volumes": [], "BuildCache": []}
        )

    async def _info(self, _: web.Request) -> web.Response:
        numbers = {"Containers": 3, "ContainersRunning": 2, "ContainersPaused": 0, "ContainersStopped": 1, "Images": 5}
        kinds = {"Driver": "overlay2", "CgroupDriver": "systemd", "CgroupVersion": "2", "DefaultRuntime": "runc"}
        own = {"Name": "its own", "Labels": ["its=own"], "DockerRootDir": "/var/lib/docker"}
        return web.json_response({**numbers, **kinds, **own, "SecurityOptions": ["name=seccomp,profile=builtin"]})

    async def _volumes(self, _: web.Request) -> web.Response:
        return web.json_response({"Volumes": [], "Warnings": None})

    async def _auth(self, request: web.Request) -> web.Response:
        if b'"password":"right"' not in (await request.read()).replace(b" ", b""):
            return web.json_response({"message": "unauthorized: incorrect username or password"}, status=401)
        return web.json_response({"Status": "Login Succeeded", "IdentityToken": ""})


class FakeEngines:
    """The manager's way to the engines; a node that is not in `engines` is not connected."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.engines: dict[str, FakeEngineApi] = {}
        # What nodes send as their pages of metrics.
        self.pages: dict[str, bytes] = {}
        # Which nodes say that they hold an image, by its id.
        self.holders: dict[str, set[str]] = {}
        self.brought: list[tuple[str, str]] = []

    async def add(self, node_id: str) -> FakeEngineApi:
        engine = FakeEngineApi(self._folder / f"{node_id}.sock")
        await engine.start()
        self.engines[node_id] = engine
        return engine

    async def stop(self) -> None:
        for engine in self.engines.values():
            await engine.stop()
        self.engines.clear()

    def session(self, node_id: str) -> aiohttp.ClientSession:
        engine = self.engines.get(node_id)
        if engine is None:
            raise Unavailable(f"node {node_id} is not connected")
        return aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(engine.path)))

    def connected(self) -> frozenset[str]:
        return frozenset(self.engines)

    async def image_holders(self, image_id: str) -> dict[str, str]:
        found = ((held, nodes) for held, nodes in self.holders.items() if begins_with(held, image_id))
        return {node_id: held for held, nodes in found for node_id in nodes}

    async def bring_image(self, node_id: str, image_id: str) -> str:
        self.brought.append((node_id, image_id))
        return image_id

    async def applied(self) -> None:
        """Nothing is decided here that nodes would have to apply."""

    async def metrics(self, node_id: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if node_id not in self.engines:
            raise Unavailable(f"node {node_id} is not connected")
        return await written(self.pages.get(node_id, f"# the page of {node_id}\n".encode()))

    async def volumes(self, node_id: str, _target: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        raise Unavailable(f"the worker of node {node_id} copies no volumes")

    async def connect(self, node_id: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        engine = self.engines.get(node_id)
        if engine is None:
            raise Unavailable(f"node {node_id} is not connected")
        return await asyncio.open_unix_connection(str(engine.path))
