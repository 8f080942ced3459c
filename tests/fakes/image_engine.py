"""Docker engines with images that do not exist: what is done with names, as an engine of its own store does it."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp
import msgspec
from aiohttp import web

from common.errors import NotFound, Unavailable
from common.text.image_names import begins_with, full_name, repository
from manager.store.transaction import Transaction
from tests.fakes.api_cluster import MANAGER, WORKER1, WORKER2, ApiCluster, make_node


@dataclass
class Stored:
    """An image: its names and digests, when it was made, and whether a container uses it."""

    id: str
    tags: list[str] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    created: int = 1
    used: bool = False
    labels: dict[str, str] = field(default_factory=dict)
    volumes: tuple[str, ...] = ()

    def entry(self) -> dict[str, Any]:
        return {
            "Id": self.id,
            "RepoTags": self.tags,
            "RepoDigests": self.digests,
            "Created": self.created,
            "Size": 7,
            "SharedSize": 2,
            "Containers": -1,
            "Labels": self.labels,
        }


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


class ImageEngine:
    """One node's engine. `registry` is what can be pulled: ids by name; `builds` the id that a build or commit makes.

    `boxes` are the names of its containers.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.images: dict[str, Stored] = {}
        self.registry: dict[str, str] = {}
        self.builds = ""
        self.boxes: set[str] = set()
        self.asked: list[Asked] = []
        self._runner: web.AppRunner | None = None

    def put(self, image_id: str, *tags: str, **more: Any) -> Stored:
        """Have an image; its names are taken from those that had them."""
        image = self.images.setdefault(image_id, Stored(image_id, **more))
        for tag in tags:
            self._tag(image, tag)
        return image

    def find(self, reference: str) -> Stored | None:
        name = full_name(reference)
        by_name = next((each for each in self.images.values() if name in [*each.tags, *each.digests]), None)
        by_id = next((each for each in self.images.values() if begins_with(each.id, reference)), None)
        return by_name or by_id

    def paths(self, method: str) -> list[str]:
        return [each.path for each in self.asked if each.method == method]

    async def start(self) -> None:
        app = web.Application(middlewares=[self._note])
        version = "/{version:v1[.][0-9]+}"
        name = version + "/images/{name:.+}"
        for method, path, handler in (
            ("GET", version + "/images/json", self._list),
            ("GET", name + "/json", self._inspect),
            ("GET", name + "/history", self._history),
            ("GET", name + "/get", self._save),
            ("GET", version + "/images/get", self._save),
            ("POST", version + "/images/load", self._load),
            ("POST", version + "/images/create", self._create),
            ("POST", name + "/tag", self._retag),
            ("POST", name + "/push", self._push),
            ("DELETE", name, self._delete),
            ("POST", version + "/build", self._build),
            ("POST", version + "/commit", self._commit),
            ("GET", version + "/containers/json", self._containers),
            ("GET", version + "/containers/{id}/json", self._container),
            ("POST", version + "/containers/create", self._make),
            ("GET", version + "/system/df", self._usage),
            ("GET", version + "/distribution/{name:.+}/json", self._distribution),
            ("POST", version + "/auth", self._auth),
        ):
            app.router.add_route(method, path, handler)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self.path)).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @web.middleware
    async def _note(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        path = "/" + request.path.split("/", 2)[2]
        headers = {key.lower(): value for key, value in request.headers.items()}
        self.asked.append(Asked(request.method, path, dict(request.query), headers, await request.read()))
        return await handler(request)

    def _tag(self, image: Stored, tag: str) -> None:
        for each in self.images.values():
            each.tags = [name for name in each.tags if name != full_name(tag)]
        image.tags.append(full_name(tag))

    def _named(self, request: web.Request) -> Stored:
        image = self.find(request.match_info["name"])
        if image is None:
            body = json.dumps({"message": f"No such image: {request.match_info['name']}"})
            raise web.HTTPNotFound(text=body, content_type="application/json")
        return image

    async def _list(self, request: web.Request) -> web.Response:
        dangling = "true" in json.loads(request.query.get("filters", "{}")).get("dangling", [])
        return web.json_response([each.entry() for each in self.images.values() if not (dangling and each.tags)])

    async def _inspect(self, request: web.Request) -> web.Response:
        image = self._named(request)
        more = {
            "Created": "2026-01-31T12:00:00Z",
            "Os": "linux",
            "Architecture": "amd64",
            "Config": {"Labels": image.labels, "Volumes": {path: {} for path in image.volumes} or None},
        }
        return web.json_response({**image.entry(), **more})

    async def _history(self, request: web.Request) -> web.Response:
        return web.json_response([{"Id": self._named(request).id}])

    async def _save(self, request: web.Request) -> web.Response:
        names = [request.match_info["name"]] if "name" in request.match_info else request.query.getall("names")
        return web.Response(text=f"archive of {' '.join(names)}")

    async def _load(self, request: web.Request) -> web.Response:
        """Load what the body names: lines of `ID NAME`."""
        said = []
        for line in (await request.text()).splitlines():
            image_id, _, name = line.partition(" ")
            self.put(image_id, *([name] if name else []))
            said.append({"stream": f"Loaded image: {name}\n" if name else f"Loaded image ID: {image_id}\n"})
        return self._lines(*said)

    async def _create(self, request: web.Request) -> web.Response:
        if request.query.get("fromSrc"):
            image_id = (await request.text()).strip()
            self.put(image_id, *([full_name(f"{request.query['repo']}:{request.query.get('tag') or 'latest'}")]))
            return self._lines({"status": image_id})
        name, tag = request.query["fromImage"], request.query.get("tag", "")
        name = f"{name}@{tag}" if ":" in tag else f"{name}:{tag}" if tag else name
        if full_name(name) not in self.registry:
            return self._lines({"errorDetail": {"message": f"no {name}"}, "error": f"no {name}"})
        image = self.put(self.registry[full_name(name)], *([] if "@" in name else [name]))
        image.digests.append(f"{repository(name)}@sha256:{'d' * 64}")
        return self._lines({"status": f"Pulling from {repository(name)}", "id": tag}, {"status": "Downloaded"})

    async def _retag(self, request: web.Request) -> web.Response:
        image = self._named(request)
        self._tag(image, f"{request.query['repo']}:{request.query.get('tag') or 'latest'}")
        return web.Response(status=201)

    async def _push(self, request: web.Request) -> web.Response:
        name, tag = request.match_info["name"], request.query.get("tag", "")
        for image in [
            each for each in self.images.values() if any(repository(name) == repository(t) for t in each.tags)
        ]:
            if not tag or full_name(f"{name}:{tag}") in image.tags:
                self.registry[full_name(f"{name}:{tag or 'latest'}")] = image.id
                image.digests.append(f"{repository(name)}@sha256:{'d' * 64}")
        return self._lines({"status": "Pushed"})

    async def _delete(self, request: web.Request) -> web.Response:
        reference, image = request.match_info["name"], self._named(request)
        named = full_name(reference) in image.tags
        force = request.query.get("force") == "1"
        if image.used and not force and len(image.tags) < 2:
            return web.json_response({"message": "conflict: a container is using it"}, status=409)
        if not named and len(image.tags) > 1 and not force:
            return web.json_response({"message": "conflict: referenced in multiple repositories"}, status=409)
        gone = [full_name(reference)] if named else list(image.tags)
        image.tags = [tag for tag in image.tags if tag not in gone]
        removed = [{"Untagged": tag} for tag in gone]
        if not image.tags:
            del self.images[image.id]
            removed.append({"Deleted": image.id})
        return web.json_response(removed)

    async def _build(self, request: web.Request) -> web.Response:
        if not self.builds:
            return self._lines({"stream": "Step 1"}, {"errorDetail": {"message": "oh dear"}, "error": "oh dear"})
        self.put(self.builds, *request.query.getall("t", []))
        return self._lines({"stream": "Step 1"}, {"aux": {"ID": self.builds}}, {"stream": "Successfully built 1234\n"})

    async def _commit(self, request: web.Request) -> web.Response:
        query = request.query
        self.put(self.builds, *([f"{query['repo']}:{query.get('tag') or 'latest'}"] if query.get("repo") else []))
        return web.json_response({"Id": self.builds}, status=201)

    async def _containers(self, _: web.Request) -> web.Response:
        return web.json_response([])

    async def _container(self, request: web.Request) -> web.Response:
        found = request.match_info["id"] in self.boxes
        config = {"Id": "b" * 64, "Name": "/box", "Config": {"Labels": {}}}
        return web.json_response(config if found else {"message": "No such container"}, status=200 if found else 404)

    async def _make(self, request: web.Request) -> web.Response:
        if self.find((await request.json())["Image"]) is None:
            return web.json_response({"message": "No such image"}, status=404)
        return web.json_response({"Id": f"{len(self.asked):064x}", "Warnings": []}, status=201)

    async def _usage(self, _: web.Request) -> web.Response:
        return web.json_response({"LayersSize": 7, "Images": [each.entry() for each in self.images.values()]})

    async def _distribution(self, request: web.Request) -> web.Response:
        if request.match_info["name"].startswith("silent"):
            await asyncio.Event().wait()
        if full_name(request.match_info["name"]) not in self.registry:
            return web.json_response({"message": "no route to host"}, status=500)
        return web.json_response({"Descriptor": {"digest": f"sha256:{'d' * 64}"}, "Platforms": []})

    async def _auth(self, _: web.Request) -> web.Response:
        return web.json_response({"Status": "Login Succeeded"})

    @staticmethod
    def _lines(*messages: dict[str, Any]) -> web.Response:
        return web.Response(
            text="".join(json.dumps(each) + "\r\n" for each in messages), content_type="application/json"
        )


class ImageEngines:
    """The engines of two workers and, where `own` says so, of the manager's own host; the API's way to them."""

    def __init__(self, cluster: ApiCluster, *, own: bool = True) -> None:
        self._cluster = cluster
        names = {WORKER1: "one", WORKER2: "two"} | ({MANAGER: "own"} if own else {})
        self.by_node = {node_id: ImageEngine(cluster.folder / f"{name}.sock") for node_id, name in names.items()}
        self.one, self.two = self.by_node[WORKER1], self.by_node[WORKER2]
        self.brought: list[tuple[str, str]] = []
        # Nodes that claim to hold an image, by its id, though they do not.
        self.liars: dict[str, str] = {}

    @property
    def own(self) -> ImageEngine:
        return self.by_node[MANAGER]

    async def __aenter__(self) -> Self:
        self._cluster.api.context = msgspec.structs.replace(self._cluster.api.context, engines=self)
        for engine in self.by_node.values():
            await engine.start()
        if MANAGER in self.by_node:
            await self._cluster.store.update(self._join)
        return self

    @staticmethod
    def _join(tx: Transaction) -> None:
        tx.put(make_node(MANAGER, "m1", "10.1.0.1", manager=True))

    async def __aexit__(self, *_: object) -> None:
        for engine in self.by_node.values():
            await engine.stop()

    def session(self, node_id: str) -> aiohttp.ClientSession:
        if node_id not in self.by_node:
            raise Unavailable(f"node {node_id} is not connected")
        return aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self.by_node[node_id].path)))

    async def connect(self, node_id: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(str(self.by_node[node_id].path))

    def connected(self) -> frozenset[str]:
        return frozenset(self.by_node)

    async def image_holders(self, image_id: str) -> dict[str, str]:
        held = {
            node_id: each
            for node_id, engine in self.by_node.items()
            for each in engine.images
            if begins_with(each, image_id)
        }
        return held | {node_id: each for node_id, each in self.liars.items() if begins_with(each, image_id)}

    async def bring_image(self, node_id: str, image_id: str) -> str:
        self.brought.append((node_id, image_id))
        if not any(image_id in engine.images for engine in self.by_node.values()):
            raise NotFound(f"image {image_id} cannot be fetched")
        self.by_node[node_id].put(image_id)
        return image_id
