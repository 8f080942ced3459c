"""Clients that change the cluster and look at it all the time, each call by any manager; they record what they hear."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from manager.cli.endpoint import Endpoint
from manager.cli.failures import CannotConnect
from manager.cli.session import first_that_answers
from tests.e2e.history.record import Append, Create, Listing, Operation, Outcome, Read, Remove, Scale

PATIENCE = 20.0
# What a client waits for between two calls, at most.
PAUSE_SECONDS = 0.4
# A list is a label of a service; the next one is begun when it is full, as each state of it is read whole.
LIST_LENGTH = 60
LIST_LABEL = "elements"
IMAGE = "busybox:lab"
# How managers say that they do not know what became of a change.
_UNKNOWN_WORDS = "may or may not"
_MOST_SERVICES = 2


@dataclass(frozen=True)
class Reply:
    """What came back. `status` is 0 when the manager could not be reached at all, and nothing was sent."""

    status: int
    body: Any = None
    stale: bool = False

    @property
    def outcome(self) -> Outcome:
        if self.status in range(200, 300):
            return Outcome.DONE
        return Outcome.UNKNOWN if self.status < 0 or _UNKNOWN_WORDS in str(self.body) else Outcome.REFUSED


_UNREACHED = Reply(0)
# The connection broke, or there was no answer in time: the manager may have done it, or may do so yet.
_LOST = Reply(-1)


class Managers:
    """The API of each host's manager, by the host's name. `sockets` finds the path of one: it changes with a reboot."""

    def __init__(self, sockets: Mapping[str, Callable[[], str]]) -> None:
        self._sockets = sockets
        self.names = tuple(sockets)

    async def answering(self, order: Sequence[str]) -> str:
        """Return the manager that `swarm-manager` asks of several addresses; the first if none answers."""
        sockets = {f"unix://{self._sockets[name]()}": name for name in order}
        try:
            return sockets[(await first_that_answers(Endpoint(",".join(sockets)))).url]
        except CannotConnect:
            return order[0]

    async def call(self, manager: str, method: str, path: str, body: Any = None) -> Reply:
        """Ask once, on a connection of its own."""
        connector = aiohttp.UnixConnector(path=self._sockets[manager](), force_close=True)
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
            try:
                async with http.request(method, f"http://{manager}{path}", json=body) as answer:
                    said = await answer.json() if answer.content_type == "application/json" else await answer.text()
                    return Reply(answer.status, said, answer.headers.get("Warning", "").startswith("299"))
            except (aiohttp.ClientConnectorError, FileNotFoundError):
                return _UNREACHED
            except (aiohttp.ClientError, TimeoutError, OSError):
                return _LOST


class Lists:
    """The names of the lists of a round: all clients append to the last one."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.names: list[str] = []

    def begin(self) -> str:
        self.names.append(f"{self._prefix}-{len(self.names) + 1}")
        return self.names[-1]


def list_spec(name: str, elements: str) -> dict[str, Any]:
    return _spec(name, 0, {LIST_LABEL: elements})


def _spec(name: str, replicas: int, labels: dict[str, str]) -> dict[str, Any]:
    return {
        "Name": name,
        "Labels": labels,
        "TaskTemplate": {
            "ContainerSpec": {"Image": IMAGE, "Command": ["sleep", "100000"], "StopSignal": "KILL"},
            "RestartPolicy": {"Delay": 500_000_000},
        },
        "Mode": {"Replicated": {"Replicas": replicas}},
    }


def elements_of(service: Any) -> tuple[str, ...]:
    return tuple(filter(None, service["Spec"]["Labels"][LIST_LABEL].split(",")))


class Client:
    """One client: it waits for each answer before it asks again, and touches no other client's services.

    `has_all` says that it has all managers' addresses, as `swarm-manager` may; else it asks any one, as docker does,
    and waits for one that hangs.
    """

    def __init__(self, name: str, managers: Managers, lists: Lists, rng: random.Random, *, has_all: bool) -> None:
        self.name = name
        self._has_all = has_all
        self.operations: list[Operation] = []
        self._managers = managers
        self._lists = lists
        self._rng = rng
        self._numbers = 0
        self._own: list[str] = []
        self._actions: dict[Callable[[], Any], int] = {
            self._append: 6,
            self._read: 4,
            self._list: 3,
            self._create: 1,
            self._scale: 2,
            self._remove: 1,
        }

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            (action,) = self._rng.choices(list(self._actions), list(self._actions.values()))
            await action()
            await asyncio.sleep(self._rng.uniform(0, PAUSE_SECONDS))

    async def _call(self, method: str, path: str, body: Any = None) -> tuple[Reply, dict[str, Any]]:
        """Call any manager; return its reply, and what all records of it say."""
        order = self._rng.sample(self._managers.names, len(self._managers.names))
        began = time.monotonic()
        manager = await self._managers.answering(order) if self._has_all else order[0]
        reply = await self._managers.call(manager, method, path, body)
        what = {"client": self.name, "manager": manager, "began": began, "ended": time.monotonic()}
        said = "" if reply.outcome is Outcome.DONE else str(reply.body)
        return reply, {**what, "outcome": reply.outcome, "said": said}

    async def _read(self) -> Any:
        """Return the last list's service as it was read; None when it was not."""
        name = self._lists.names[-1]
        reply, what = await self._call("GET", f"/services/{name}")
        if reply.outcome is not Outcome.DONE:
            return None
        self.operations.append(Read(**what, list=name, elements=elements_of(reply.body), stale=reply.stale))
        return reply.body

    async def _append(self) -> None:
        if (service := await self._read()) is None:
            return
        name, elements = service["Spec"]["Name"], elements_of(service)
        if len(elements) >= LIST_LENGTH:
            if name == self._lists.names[-1]:
                await self._begin_list()
            return
        element = self._number()
        _, what = await self._update(service, Labels={LIST_LABEL: ",".join((*elements, element))})
        self.operations.append(Append(**what, list=name, element=element))

    async def _begin_list(self) -> None:
        """Make the next list, with whoever can; others fail to append to the full one meanwhile."""
        name = self._lists.begin()
        while True:
            reply, _ = await self._call("POST", "/services/create", list_spec(name, ""))
            if reply.outcome is Outcome.DONE or reply.status == 409:
                return
            await asyncio.sleep(PAUSE_SECONDS)

    async def _list(self) -> None:
        reply, what = await self._call("GET", "/services")
        if reply.outcome is Outcome.DONE:
            names = tuple(each["Spec"]["Name"] for each in reply.body)
            self.operations.append(Listing(**what, services=names, stale=reply.stale))

    async def _create(self) -> None:
        if len(self._own) >= _MOST_SERVICES:
            return
        name, replicas = f"s-{self._number()}", self._rng.randint(0, 2)
        reply, what = await self._call("POST", "/services/create", _spec(name, replicas, {}))
        self.operations.append(Create(**what, service=name, replicas=replicas))
        if reply.outcome is not Outcome.REFUSED:
            self._own.append(name)

    async def _scale(self) -> None:
        if not self._own:
            return
        name, replicas = self._rng.choice(self._own), self._rng.randint(0, 3)
        read, _ = await self._call("GET", f"/services/{name}")
        if read.outcome is Outcome.DONE:
            _, what = await self._update(read.body, Mode={"Replicated": {"Replicas": replicas}})
            self.operations.append(Scale(**what, service=name, replicas=replicas))

    async def _remove(self) -> None:
        if not self._own:
            return
        name = self._rng.choice(self._own)
        reply, what = await self._call("DELETE", f"/services/{name}")
        self.operations.append(Remove(**what, service=name))
        if reply.outcome is Outcome.DONE or reply.status == 404:  # that, where nobody knew whether it had been made
            self._own.remove(name)

    async def _update(self, service: Any, **changed: Any) -> tuple[Reply, dict[str, Any]]:
        path = f"/services/{service['ID']}/update?version={service['Version']['Index']}"
        return await self._call("POST", path, {**service["Spec"], **changed})

    def _number(self) -> str:
        self._numbers += 1
        return f"{self.name}-{self._numbers}"
