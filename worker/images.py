"""Images for tasks: have them before a container is created, with as few questions to registries as possible."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from common.clock import Clock
from common.errors import NotFound
from worker.ports import Engine, EngineError, Image

# How long one answer, that an image is there and current, holds for other tasks.
FRESH_SECONDS = 60.0

_log = logging.getLogger(__name__)


class Images:
    """Pulls images. Concurrent requests for one image are one pull. Credentials live in memory only."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._auths: dict[str, str] = {}
        self._flights: dict[str, asyncio.Task[None]] = {}
        self._waiters: dict[str, int] = {}
        self._fresh_until: dict[str, float] = {}

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
        """Do not trust an earlier answer: the engine says that the image is not there."""
        self._fresh_until.pop(reference, None)

    async def ensure(self, reference: str, service_id: str) -> None:
        """Return when the image is on this host.

        Raises:
            NotFound: it is not, and cannot be pulled.
            EngineDown: the engine does not answer.

        """
        if self._fresh_until.get(reference, 0.0) > self._clock.now():
            return
        flight = self._flights.get(reference)
        if flight is None:
            flight = self._take_off(reference, self._have(reference, self._auths.get(service_id, "")))
        self._waiters[reference] = self._waiters.get(reference, 0) + 1
        try:
            await asyncio.shield(flight)
        finally:
            self._waiters[reference] -= 1
            if not self._waiters[reference]:
                del self._waiters[reference]
                await self._land(reference, flight)

    def _take_off(self, reference: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        flight = asyncio.get_running_loop().create_task(work, name=f"pull {reference}")
        self._flights[reference] = flight
        return flight

    async def _land(self, reference: str, flight: asyncio.Task[None]) -> None:
        """End a flight that nobody waits for any more; its result has been taken by those who did."""
        if self._flights.get(reference) is flight:
            del self._flights[reference]
        flight.cancel()
        await asyncio.gather(flight, return_exceptions=True)

    async def _have(self, reference: str, auth: str) -> None:
        image = await self._engine.image(reference)
        if image is None or not is_current(reference, image):
            try:
                await self._engine.pull(reference, auth)
            except EngineError as error:
                if image is None:
                    raise NotFound(f"No such image: {reference}; pulling it failed: {error.message}") from error
                _log.warning("cannot refresh %s, using the image that is here: %s", reference, error.message)
        now = self._clock.now()
        self._fresh_until = {ref: until for ref, until in self._fresh_until.items() if until > now}
        self._fresh_until[reference] = now + FRESH_SECONDS


def is_current(reference: str, image: Image) -> bool:
    """Whether a local image need not be asked for at a registry.

    One with the wanted digest cannot change. One without any digest was built or loaded here and no registry knows it:
    asking would only cost time, or find a stranger's image of that name.
    """
    return "@" in reference or not image.repo_digests
