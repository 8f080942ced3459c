"""The names and results in an engine's progress messages (build, pull, import, load): one JSON object a line."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from common.text.image_names import is_id

# Longer lines, such as BuildKit's traces, tell nothing that is listened for.
MAX_LINE = 64 * 1024
# How many names of one call are kept.
MAX_NAMES = 1000
_ERROR = b'{"error'
_BUILT = "Successfully built "
_LOADED = re.compile(r"Loaded image: (\S+)")
_PULLING = "Pulling from "
_TAG = re.compile(r"\w[\w.-]{0,127}")


class Progress:
    """What an engine's messages have told so far.

    `failed`: one of them was an error. `built`: an image was built. `loaded`: the names of images that were loaded.
    `pulled`: the tags that were pulled.
    """

    def __init__(self) -> None:
        self.failed = False
        self.built = False
        self.loaded: list[str] = []
        self.pulled: list[str] = []
        self._line = bytearray()
        self._skipping = False

    def hear(self, data: bytes) -> None:
        """Take the next bytes of the answer."""
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._add(line)
            self._end_line()
        self._add(rest)

    def end(self) -> None:
        """Take what came last for a whole line."""
        self._end_line()

    def _add(self, data: bytes) -> None:
        if len(self._line) + len(data) > MAX_LINE:
            self.failed = self.failed or (self._line + data[: len(_ERROR)]).startswith(_ERROR)
            self._skipping = True
            self._line.clear()
        if not self._skipping:
            self._line += data

    def _end_line(self) -> None:
        line = bytes(self._line)
        self._line.clear()
        self._skipping = False
        if line.strip():
            try:
                message = msgspec.json.decode(line, type=dict[str, Any])
            except (msgspec.DecodeError, RecursionError):
                return  # none of the messages that are listened for
            self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        if "error" in message or "errorDetail" in message:
            self.failed = True
        said = str(message.get("stream") or "").strip()
        aux = message.get("aux")
        if said.startswith(_BUILT) or is_id(said) or (isinstance(aux, dict) and is_id(str(aux.get("ID")))):
            self.built = True
        if (loaded := _LOADED.fullmatch(said)) and len(self.loaded) < MAX_NAMES:
            self.loaded.append(loaded[1])
        tag = str(message.get("id"))
        if str(message.get("status")).startswith(_PULLING) and _TAG.fullmatch(tag) and len(self.pulled) < MAX_NAMES:
            self.pulled.append(tag)


class ProgressListener:
    """Listens to an engine's answer on its way to the client.

    When all went well, `finish` is awaited before the client hears of the end.
    """

    def __init__(self, finish: Callable[[Progress], Awaitable[object]]) -> None:
        self._progress = Progress()
        self._finish = finish

    def hear(self, data: bytes) -> None:
        self._progress.hear(data)

    async def ended(self) -> None:
        self._progress.end()
        if not self._progress.failed:
            await self._finish(self._progress)
