"""The worker's end of the protocol: dial any known manager, have a session, and dial again when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Sequence

from common.aio.steady import Backoff
from common.clock import Clock
from common.errors import SwarmError
from common.wire.handshake import LedElsewhere
from common.wire.manager_messages import WireEpoch
from common.wire.membership_messages import Goodbye
from common.wire.messages import Leave
from worker.link.conversation import Conversation, ConversationParts
from worker.link.race import NoWelcome, Welcomed, first_welcome

RETRY_FIRST = 0.25
RETRY_LIMIT = 5.0
# A removed node asks seldom whether it may come back.
REMOVED_RETRY_SECONDS = 60.0
# How long a manager has to hear a goodbye. It answers that of a host once the others know, which takes 2 s at most.
GOODBYE_SECONDS = 4.0

_log = logging.getLogger(__name__)


class Session:
    """Keeps the worker connected; `run` until cancelled. `news` is set when a session begins or ends.

    `epoch` is the latest leadership that has welcomed this worker, `told` where managers are by the last that said so.
    """

    def __init__(
        self,
        parts: ConversationParts,
        *,
        managers: Callable[[], Sequence[str]],
        clock: Clock,
        rng: random.Random,
        news: asyncio.Event,
        epoch: WireEpoch = (0, 0),
    ) -> None:
        self.epoch = epoch
        self.told: tuple[str, ...] = ()
        self._said: dict[str, str] = {}
        self._dialler = parts.dialler
        self._agent = parts.agent
        self._managers = managers
        self._clock = clock
        self._rng = rng
        self._news = news
        self._parts = parts
        self._backoff = Backoff(RETRY_FIRST, RETRY_LIMIT, rng)
        self._conversation: Conversation | None = None
        self._address = ""
        self.since = 0.0
        self.refused = ""
        self._parting = asyncio.Event()

    async def run(self) -> None:
        """Connect, serve, and connect again, for ever."""
        while True:
            await self._until_fit()
            if self._parting.is_set():
                await asyncio.Event().wait()  # the end of this process
            await self._attempt()

    async def _until_fit(self) -> None:
        """Wait until this host can run tasks; if it cannot, let one manager know why."""
        while (why := await self._unfit()) and not await self._tell_unfit(why):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._backoff.next()):
                    await self._agent.ready()
        await self._agent.ready()

    async def _unfit(self) -> str:
        """Wait until it is known whether this host can run tasks; return why it cannot, empty if it can."""
        ready, unfit = asyncio.ensure_future(self._agent.ready()), asyncio.ensure_future(self._agent.unfit())
        try:
            await asyncio.wait({ready, unfit}, return_when=asyncio.FIRST_COMPLETED)
            return "" if ready.done() else unfit.result()
        finally:
            ready.cancel()
            unfit.cancel()

    async def _tell_unfit(self, why: str) -> bool:
        """Return whether a manager has heard it."""
        for address in self._shuffled():
            try:
                await self._dialler.unfit(address, why)
            except SwarmError as error:
                _log.warning("%s cannot be told that this host runs no tasks: %s", address, error.message)
            else:
                self._note_refusal(why)
                return True
        return False

    async def part(self, goodbye: Goodbye | Leave) -> bool:
        """Tell the manager of the present session that the agent stops, or the node leaves. No other session follows.

        Return whether it has answered, which is waited for `GOODBYE_SECONDS`.
        """
        conversation = self._conversation
        self._parting.set()
        if conversation is None:
            return False
        try:
            async with asyncio.timeout(GOODBYE_SECONDS):
                return await conversation.part(goodbye)
        except SwarmError as error:
            _log.warning("%s cannot be told that this agent stops: %s", self._address, error.message)
        except TimeoutError:
            _log.warning("%s was told that this agent stops, but did not answer", self._address)
        return False

    @property
    def address(self) -> str:
        """The address of the manager of the present session, empty without one.

        `since` is from when on that is so (Unix seconds), `refused` why there is none, as far as that is known.
        """
        return self._address if self._conversation is not None else ""

    def _shuffled(self) -> list[str]:
        """Return the managers: the one that served last first, the others at random, so that workers spread."""
        addresses = list(self._managers())
        self._rng.shuffle(addresses)
        return sorted(addresses, key=lambda address: address != self._address)

    async def _attempt(self) -> None:
        """Have one session until it ends, if a manager welcomes this worker; then pause."""
        hello = self._agent.hello()
        try:
            found = await first_welcome(
                self._shuffled(), lambda address: self._dialler.session(address, hello), self.epoch
            )
        except NoWelcome as none:
            await self._pause_unwelcome(none)
            return
        self._said = {}
        self._address = found.address
        self.epoch = found.welcome.epoch
        self._learn(found.welcome.managers)
        _log.info("session with %s", found.address)
        await self._keep(found)
        await asyncio.sleep(self._backoff.next())

    async def _pause_unwelcome(self, none: NoWelcome) -> None:
        for address, error in none.errors.items():
            if self._said.get(address) != error.message:
                _log.warning("no session with %s: %s", address, error.message)
            if isinstance(error, LedElsewhere):
                self._learn(error.told.managers)
        self._said = {address: error.message for address, error in none.errors.items()}
        removal = none.removal
        self._note_refusal(removal.message if removal is not None else next(iter(none.errors.values())).message)
        if removal is not None:
            await self._agent.removed(removal.message)
            await asyncio.sleep(REMOVED_RETRY_SECONDS)
        elif none.between_leaders:  # there is one within seconds
            await asyncio.sleep(self._rng.uniform(RETRY_FIRST, 2 * RETRY_FIRST))
        else:
            await asyncio.sleep(self._backoff.next())

    async def _keep(self, found: Welcomed) -> None:
        conversation = Conversation(self._parts, found, self._learn)
        try:
            self._set_conversation(conversation)
            self._backoff.reset()
            await conversation.run()
        finally:
            self._set_conversation(None)
            await conversation.close()

    def _set_conversation(self, conversation: Conversation | None) -> None:
        self._conversation = conversation
        self.since = self._clock.now()
        self.refused = ""
        self._news.set()

    def _learn(self, managers: tuple[str, ...]) -> None:
        """Hear where managers are."""
        if managers and managers != self.told:
            self.told = managers
            self._news.set()

    def _note_refusal(self, why: str) -> None:
        if why != self.refused:
            self.refused = why
            self._news.set()
