"""Ensuring that a task's image is here before its container is created, with few questions to registries."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from common.clock import Clock
from common.errors import NotFound
from common.text.image_names import pinned_digest
from worker.interfaces.engine import Engine, EngineError, Image

# How long one answer, that an image is there and current, holds for other tasks.
FRESH_SECONDS = 60.0

Tell: TypeAlias = Callable[[str], None]

_log = logging.getLogger(__name__)


class Fetcher(Protocol):
    """Fetches images from other workers; `received` is how many bytes of them have come."""

    received: int

    async def fetch(self, image_id: str, tell: Tell) -> str:
        """Fetch an image and return its id here, which is empty when no worker has it; `tell` hears how far it is.

        Raises:
            NotFound: workers have it, and none of them can give it.

        """


@dataclass(slots=True)
class _Flight:
    """One image that is being brought here, for all who wait for it: they hear the same news, late ones the last."""

    task: asyncio.Task[str] | None = None
    listeners: list[Tell] = field(default_factory=list)
    news: str = ""

    def tell(self, news: str) -> None:
        self.news = news
        for listener in self.listeners:
            listener(news)


class Images:
    """Brings images here. Concurrent requests for one image with the same credentials share one flight.

    Credentials are kept in memory only. An image that no registry knows is named by its id, as `name@sha256:ID` or
    alone, and fetched from other workers.
    """

    def __init__(self, engine: Engine, clock: Clock, fetcher: Fetcher | None = None) -> None:
        self._engine = engine
        self._clock = clock
        self._fetcher = fetcher
        self._auths: dict[str, str] = {}
        self._flights: dict[tuple[str, str], _Flight] = {}
        self._fresh: dict[str, tuple[float, str]] = {}

    def set_auth(self, service_id: str, auth: str) -> None:
        """Remember a service's registry credentials (JSON as in X-Registry-Auth, decoded); empty forgets them."""
        if auth:
            self._auths[service_id] = auth
        else:
            self._auths.pop(service_id, None)

    def keep_auths(self, services: frozenset[str]) -> None:
        """Forget the credentials of all other services."""
        self._auths = {service: auth for service, auth in self._auths.items() if service in services}

    def forget(self, reference: str) -> None:
        """Drop an earlier answer: the engine says that the image is not there."""
        self._fresh.pop(reference, None)

    async def ensure(self, reference: str, service_id: str, tell: Tell = lambda _: None) -> str:
        """Return, when the image is on this host, what its engine knows it as. `tell` hears what is being done.

        Raises:
            NotFound: it is not, and can neither be fetched nor pulled.
            EngineDown: the engine does not answer.

        """
        until, name = self._fresh.get(reference, (0.0, ""))
        if until > self._clock.now():
            return name
        auth = self._auths.get(service_id, "")
        flight = self._flights.get((reference, auth))
        if flight is None:
            flight = self._flights[reference, auth] = _Flight()
            flight.task = self._begin(reference, self._bring(reference, auth, flight.tell))
        elif flight.news:
            tell(flight.news)
        assert flight.task is not None
        flight.listeners.append(tell)
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.listeners.remove(tell)
            if not flight.listeners:
                await self._end((reference, auth), flight)

    @staticmethod
    def _begin(reference: str, work: Coroutine[Any, Any, str]) -> asyncio.Task[str]:
        return asyncio.get_running_loop().create_task(work, name=f"image {reference}")

    async def _end(self, what: tuple[str, str], flight: _Flight) -> None:
        """End a flight that nobody waits for any more; its result has been taken by those who did."""
        if self._flights.get(what) is flight:
            del self._flights[what]
        assert flight.task is not None
        flight.task.cancel()
        await asyncio.gather(flight.task, return_exceptions=True)

    async def _bring(self, reference: str, auth: str, tell: Tell) -> str:
        image_id = pinned_digest(reference)
        name = await self._bring_pinned(reference, image_id, tell) if image_id else ""
        if not name:
            await self._bring_named(reference, auth, tell)
            name = reference
        now = self._clock.now()
        self._fresh = {ref: known for ref, known in self._fresh.items() if known[0] > now}
        self._fresh[reference] = (now + FRESH_SECONDS, name)
        return name

    async def _bring_pinned(self, reference: str, image_id: str, tell: Tell) -> str:
        """Bring an image by its id; return what the engine knows it as, empty where the digest is a registry's."""
        if await self._engine.image(reference) is not None:
            return reference
        if await self._engine.image(image_id) is not None:
            return image_id
        return await self._fetcher.fetch(image_id, tell) if self._fetcher is not None else ""

    async def _bring_named(self, reference: str, auth: str, tell: Tell) -> None:
        image = await self._engine.image(reference)
        if image is not None and is_current(reference, image):
            return
        tell(f"pulling image {reference}")
        try:
            await self._engine.pull(reference, auth)
        except EngineError as error:
            if image is None:
                raise NotFound(_missing(reference, error.message)) from error
            _log.warning("cannot refresh %s, using the image that is here: %s", reference, error.message)


def _missing(reference: str, why: str) -> str:
    nowhere = "no connected node has it, and " if pinned_digest(reference) else ""
    return f"No such image: {reference}; {nowhere}pulling it failed: {why}"


def is_current(reference: str, image: Image) -> bool:
    """Whether a local image need not be asked for at a registry.

    One with the wanted digest cannot change. One without any digest was built or loaded here and no registry knows it:
    asking would only cost time, or find a stranger's image of that name.
    """
    return "@" in reference or not image.repo_digests
