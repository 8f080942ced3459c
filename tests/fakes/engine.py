"""A Docker engine in memory and in the loop's own time: an `Engine` (worker.interfaces) for tests and simulation."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from common.errors import SwarmError
from worker.interfaces.engine import (
    LABEL_AGENT,
    LABEL_TASK_ID,
    WATCHED_ACTIONS,
    Container,
    ContainerEvent,
    ContainerUsage,
    EngineConnected,
    EngineDown,
    EngineError,
    EngineEvent,
    EngineLost,
    EngineVolume,
    Image,
    Phase,
)


@dataclass(frozen=True)
class Program:
    """What an image's containers do. Times are seconds after the start.

    exits_after, exit_code: it ends by itself.
    stop_takes: how long it needs for SIGTERM; more than the grace, and it is killed (137).
    healthy_after: it has a health check that is good from then on; sick_after: and bad from then on, saying check_said.
    create_error, start_error: the engine refuses.
    """

    exits_after: float | None = None
    exit_code: int = 0
    stop_takes: float = 0.05
    healthy_after: float | None = None
    sick_after: float | None = None
    check_said: str = ""
    create_error: str = ""
    start_error: str = ""


@dataclass
class _Box:
    name: str
    body: dict[str, Any]
    program: Program
    seen: Container
    starts: int = 0
    timers: list[asyncio.TimerHandle] = field(default_factory=list)


class FakeEngine:
    """`images` are local, `registry` can be pulled (in `pull_seconds`); `latency` is the time of every call."""

    def __init__(
        self,
        images: Mapping[str, Program] | None = None,
        registry: Mapping[str, Program] | None = None,
        *,
        latency: float = 0.001,
        pull_seconds: float = 1.0,
        name: str = "fake",
    ) -> None:
        self.images = dict(images or {})
        self.registry = dict(registry or {})
        self.name = name
        self.up = True
        self.root = ""
        self.calls: Counter[str] = Counter()
        self.pull_auths: list[str] = []
        self.docker_networks: dict[str, dict[str, Any]] = {}
        self.docker_volumes: dict[str, EngineVolume] = {}
        self.busiest = 0
        # Archives that `save` gives, by image id; what was loaded, and what a test does then; images, by name.
        self.archives: dict[str, bytes] = {}
        self.loaded: list[bytes] = []
        self.on_load: Callable[[bytes], str] | None = None
        self.details: dict[str, Image] = {}
        self.used_images: set[str] = set()
        # Containers that were removed without their volumes.
        self.kept_volumes: tuple[str, ...] = ()
        self._latency = latency
        self._pull_seconds = pull_seconds
        self._boxes: dict[str, _Box] = {}
        # What containers have written, by id.
        self.said: dict[str, bytes] = {}
        # What was sent to containers but to stop them: name and signal.
        self.signals: list[tuple[str, str]] = []
        # What containers have used, by id.
        self.used: dict[str, ContainerUsage] = {}
        self._watchers: set[asyncio.Queue[EngineEvent | None]] = set()
        self._risen = asyncio.Event()
        self._numbers = 0
        self._busy = 0

    # --- what tests do to it ------------------------------------------------------------------------------------------

    def box(self, name_part: str) -> Container:
        """Return the one container whose name contains this."""
        (found,) = [box.seen for box in self._boxes.values() if name_part in box.name]
        return found

    @property
    def running(self) -> list[str]:
        return sorted(box.name for box in self._boxes.values() if box.seen.phase is Phase.RUNNING)

    @property
    def names(self) -> list[str]:
        return sorted(box.name for box in self._boxes.values())

    def body(self, name_part: str) -> dict[str, Any]:
        (found,) = [box.body for box in self._boxes.values() if name_part in box.name]
        return found

    def starts(self, name_part: str) -> int:
        (found,) = [box.starts for box in self._boxes.values() if name_part in box.name]
        return found

    def kill(self, name_part: str, signal: int = 9, exit_code: int = 137) -> None:
        """Send a deadly signal from outside, as `docker kill` or `docker stop` do."""
        box = self._boxes[self.box(name_part).id]
        self._tell(box, "kill", signal=signal)
        self._end(box, exit_code)

    def vanish(self, name_part: str) -> None:
        """Remove a container from outside, by force."""
        self._destroy(self._boxes[self.box(name_part).id])

    def fall(self, exit_code: int | None = 137) -> None:
        """Stop the engine, and its containers with this exit code; with None they run on."""
        self.up = False
        for box in self._boxes.values():
            if exit_code is not None and box.seen.phase is Phase.RUNNING:
                self._end(box, exit_code, tell=False)
        for watcher in self._watchers:
            watcher.put_nowait(None)

    def rise(self) -> None:
        """Start the engine again."""
        self.up = True
        self._risen.set()

    # --- Engine -------------------------------------------------------------------------------------------------------

    async def info(self) -> dict[str, Any]:
        await self._call("info")
        return {
            "Name": self.name,
            "DockerRootDir": self.root,
            "NCPU": 2,
            "MemTotal": 4 << 30,
            "OSType": "linux",
            "Architecture": "x86_64",
            "ServerVersion": "26.1.5",
            "Labels": ["rack=7"],
            "Version": {"ApiVersion": "1.45"},
        }

    async def events(
        self, labels: Mapping[str, str], actions: Collection[str] = WATCHED_ACTIONS
    ) -> AsyncGenerator[EngineEvent, None]:
        queue: asyncio.Queue[EngineEvent | None] = asyncio.Queue()
        while True:
            while not self.up:
                self._risen.clear()
                await self._risen.wait()
            self._watchers.add(queue)
            yield EngineConnected()
            while (event := await queue.get()) is not None:
                if event.action in actions:
                    yield event
            self._watchers.discard(queue)
            yield EngineLost("the fake engine has ended")

    async def create(self, name: str, body: dict[str, Any]) -> str:
        await self._call("create")
        program = self.images.get(body["Image"])
        if program is None:
            raise EngineError(404, f"No such image: {body['Image']}")
        if any(box.name == name for box in self._boxes.values()):
            raise EngineError(409, f'Conflict. The container name "/{name}" is already in use')
        if program.create_error:
            raise EngineError(400, program.create_error)
        self._numbers += 1
        # The same each time, and none of any other engine's.
        container_id = hashlib.sha256(f"{name} {self._numbers}".encode()).hexdigest()
        labels = body["Labels"]
        seen = Container(
            id=container_id,
            task_id=labels.get(LABEL_TASK_ID, ""),
            name=name,
            agent=labels.get(LABEL_AGENT, ""),
            reserved_memory=body.get("HostConfig", {}).get("MemoryReservation") or 0,
        )
        self._boxes[container_id] = _Box(name, body, program, seen)
        return container_id

    async def start(self, container_id: str) -> None:
        await self._call("start")
        box = self._boxes.get(container_id)
        if box is None:
            raise EngineError(404, f"No such container: {container_id}")
        if box.program.start_error:
            box.seen = replace(box.seen, exit_code=127, error=box.program.start_error)
            raise EngineError(400, box.program.start_error)
        box.starts += 1
        health = "" if box.program.healthy_after is None else "starting"
        endpoints = box.body.get("NetworkingConfig", {}).get("EndpointsConfig", {})
        addresses = dict.fromkeys(endpoints, f"172.18.0.{self._numbers}")
        pid = 1000 + self._numbers + 10_000 * box.starts
        box.seen = replace(
            box.seen, phase=Phase.RUNNING, health=health, pid=pid, exit_code=0, signal=0, addresses=addresses
        )
        self._tell(box, "start")
        self._later(box, box.program.exits_after, self._end, box, box.program.exit_code)
        self._later(box, box.program.healthy_after, self._health, box, "healthy")
        self._later(box, box.program.sick_after, self._health, box, "unhealthy")

    async def stop(self, container_id: str, grace: float | None) -> None:
        await self._call("stop")
        grace = 10.0 if grace is None else grace
        box = self._boxes.get(container_id)
        if box is None or box.seen.phase is not Phase.RUNNING:
            return
        self._tell(box, "kill", signal=15)
        await asyncio.sleep(min(box.program.stop_takes, grace))
        if box.seen.phase is Phase.RUNNING:
            self._check_up()
            self._end(box, 0 if box.program.stop_takes <= grace else 137)

    async def usage(self, container: str) -> ContainerUsage:
        await self._call("usage")
        return self.used[container]

    async def signal(self, container_id: str, name: str) -> None:
        await self._call("signal")
        box = self._boxes.get(container_id)
        if box is None or box.seen.phase is not Phase.RUNNING:
            raise EngineError(409, f"Container {container_id} is not running")
        self.signals.append((box.name, name))
        self._tell(box, "kill", signal={"SIGTERM": 15, "SIGINT": 2, "SIGQUIT": 3}.get(name, 0))

    async def remove(self, container: str, *, volumes: bool = True) -> None:
        await self._call("remove")
        self.kept_volumes += () if volumes else (container,)
        for box in list(self._boxes.values()):
            if container in (box.seen.id, box.name):
                self._destroy(box)

    async def inspect(self, container: str) -> Container | None:
        await self._call("inspect")
        return next((box.seen for box in self._boxes.values() if container in (box.seen.id, box.name)), None)

    async def last_logs(self, container: str, lines: int) -> bytes:
        await self._call("last_logs")
        return b"\n".join(self.said.get(container, b"").splitlines()[-lines:])

    async def containers(self, labels: Mapping[str, str]) -> tuple[Container, ...]:
        await self._call("containers")
        return tuple(box.seen for box in self._boxes.values() if labels.items() <= box.body["Labels"].items())

    async def image(self, reference: str) -> Image | None:
        await self._call("image")
        if reference in self.details:
            return self.details[reference]
        if reference not in self.images:
            return None
        digests = ("x@sha256:1",) if reference in self.registry else ()
        return Image(id=f"sha256:{reference}", repo_digests=digests)

    async def pull(self, reference: str, auth: str) -> None:
        await self._call("pull")
        self.pull_auths.append(auth)
        await asyncio.sleep(self._pull_seconds)
        self._check_up()
        if reference not in self.registry:
            raise EngineError(404, f"pull access denied for {reference}")
        self.images[reference] = self.registry[reference]

    async def save(self, image_id: str) -> AsyncGenerator[bytes, None]:
        await self._call("save")
        if image_id not in self.archives:
            raise EngineError(404, f"No such image: {image_id}")
        archive = self.archives[image_id]
        for start in range(0, len(archive), 1000):
            yield archive[start : start + 1000]

    async def load(self, archive: AsyncIterable[bytes]) -> str:
        """Take in an archive whole; one whose making fails is a connection that broke, as with aiohttp."""
        await self._call("load")
        try:
            data = b"".join([piece async for piece in archive])
        except SwarmError as error:
            raise EngineDown("the connection to the engine broke") from error
        self.loaded.append(data)
        return self.on_load(data) if self.on_load is not None else ""

    async def remove_image(self, image_id: str) -> bool:
        await self._call("remove_image")
        if image_id in self.used_images:
            return False
        self.details.pop(image_id, None)
        return True

    async def layers(self) -> Collection[tuple[str, ...]]:
        await self._call("layers")
        return [image.layers for image in self.details.values()]

    async def volumes(self) -> tuple[EngineVolume, ...]:
        await self._call("volumes")
        return tuple(self.docker_volumes.values())

    async def volume(self, name: str) -> EngineVolume | None:
        await self._call("volume")
        return self.docker_volumes.get(name)

    async def mounting(self, volume: str) -> tuple[Container, ...]:
        """Return none: the programs of this engine mount no volumes."""
        await self._call("mounting")
        return ()

    async def create_volume(self, name: str) -> EngineVolume:
        await self._call("create_volume")
        return self.docker_volumes.setdefault(name, EngineVolume(name=name))

    async def remove_volume(self, name: str) -> None:
        await self._call("remove_volume")
        self.docker_volumes.pop(name, None)

    async def networks(self, labels: Mapping[str, str]) -> tuple[dict[str, Any], ...]:
        await self._call("networks")
        return tuple(net for net in self.docker_networks.values() if labels.items() <= net["Labels"].items())

    async def create_network(self, body: dict[str, Any]) -> str:
        await self._call("create_network")
        self.docker_networks[body["Name"]] = {**body, "Id": body["Name"]}
        return str(body["Name"])

    async def remove_network(self, network: str) -> None:
        await self._call("remove_network")
        self.docker_networks.pop(network, None)

    async def empty_network(self, network: str) -> None:
        await self._call("empty_network")

    # --- inside -------------------------------------------------------------------------------------------------------

    async def _call(self, name: str) -> None:
        self.calls[name] += 1
        self._check_up()
        self._busy += name in ("create", "start")
        self.busiest = max(self.busiest, self._busy)
        try:
            await asyncio.sleep(self._latency)
        finally:
            self._busy -= name in ("create", "start")
        self._check_up()

    def _check_up(self) -> None:
        if not self.up:
            raise EngineDown("no Docker engine answers")

    def _later(self, box: _Box, delay: float | None, act: Any, *arguments: Any) -> None:
        if delay is not None:
            box.timers.append(asyncio.get_running_loop().call_later(delay, act, *arguments))

    def _end(self, box: _Box, exit_code: int, *, tell: bool = True) -> None:
        for timer in box.timers:
            timer.cancel()
        box.timers.clear()
        box.seen = replace(box.seen, phase=Phase.EXITED, exit_code=exit_code, pid=0)
        if tell:
            self._tell(box, "die", exit_code=exit_code)

    def _destroy(self, box: _Box) -> None:
        if box.seen.phase is Phase.RUNNING:
            self._end(box, 137)
        del self._boxes[box.seen.id]
        self._tell(box, "destroy")

    def _health(self, box: _Box, health: str) -> None:
        said = box.program.check_said if health == "unhealthy" else ""
        box.seen = replace(box.seen, health=health, health_said=said)
        self._tell(box, "health_status", health=health)

    def _tell(self, box: _Box, action: str, exit_code: int = 0, signal: int = 0, health: str = "") -> None:
        event = ContainerEvent(
            container_id=box.seen.id,
            task_id=box.seen.task_id,
            action=action,
            exit_code=exit_code,
            signal=signal,
            health=health,
            agent=box.seen.agent,
        )
        for watcher in self._watchers:
            watcher.put_nowait(event)
