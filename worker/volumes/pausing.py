"""Pauses the containers that write to a volume, for a moment: a program of its own, which outlives the agent.

    python -m worker.volumes.pausing pause ENGINE VOLUME SECONDS RECORD
    python -m worker.volumes.pausing thaw ENGINE RECORD

`pause` writes `{"paused": NUMBER}` when all of them stand still, and lets them go on when its input ends, or after
SECONDS, or when it is told to end: whatever becomes of the agent. Then it writes `{"seconds": S, "late": BOOLEAN}`,
0 seconds where there was none to pause.
RECORD names them until then, for `thaw` after a host's agent and this program were killed together.
ENGINE is a Docker host, `unix:///path` or `tcp://host:port`. Exit status 1: a line on standard error says why.
"""

from __future__ import annotations

import http.client
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import quote, urlsplit

_CALL_SECONDS = 10.0
_THAW_TRIES = 20
_THAW_PAUSE_SECONDS = 0.25
_GONE = (404, 409)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _Ended(Exception):
    """A signal: let them go on, and end."""


class PausingEngine:
    """The calls of an engine that this program makes."""

    def __init__(self, host: str) -> None:
        self._host = host

    def writers(self, volume: str) -> list[str]:
        """Return the ids of the running containers that mount a volume for writing. Raises OSError."""
        filters = quote(json.dumps({"volume": [volume], "status": ["running"]}), safe="")
        status, body = self._call("GET", f"/containers/json?filters={filters}", _CALL_SECONDS)
        if status != 200:
            raise OSError(f"the engine does not list containers: {_message(body)}")
        return [
            str(each["Id"])
            for each in json.loads(body)
            if any(mount.get("Name") == volume and mount.get("RW") for mount in each.get("Mounts") or ())
        ]

    def pause(self, container: str, seconds: float) -> bool:
        """Pause a container; False if it has ended meanwhile. Raises OSError."""
        status, body = self._call("POST", f"/containers/{container}/pause", max(0.1, seconds))
        if status >= 300 and status not in _GONE:
            raise OSError(f"the engine does not pause container {container[:12]}: {_message(body)}")
        return status < 300

    def unpause(self, container: str) -> None:
        """Let a container go on. Raises OSError."""
        status, body = self._call("POST", f"/containers/{container}/unpause", _CALL_SECONDS)
        if status >= 300 and status not in _GONE and b"is not paused" not in body:
            raise OSError(f"the engine does not unpause container {container[:12]}: {_message(body)}")

    def _call(self, method: str, path: str, seconds: float) -> tuple[int, bytes]:
        parts = urlsplit(self._host)
        if parts.scheme == "unix":
            connection: http.client.HTTPConnection = _UnixConnection(parts.path, seconds)
        else:
            connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 2375, timeout=seconds)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except http.client.HTTPException as error:
            raise OSError(f"the engine's answer is cut off: {error!r}") from error
        finally:
            connection.close()


def _message(body: bytes) -> str:
    try:
        said: Any = json.loads(body)
    except ValueError:
        said = None
    return str(said.get("message", "")) if isinstance(said, dict) else body[:200].decode(errors="replace")


def pause(engine: PausingEngine, volume: str, seconds: float, record: Path) -> None:
    """Pause the writers until the input ends or the time is over. Raises OSError."""
    writers = engine.writers(volume)
    _write(record, writers)
    began = time.monotonic()
    tried, late = [], False  # of a call that is broken off nobody knows whether it was carried out
    try:
        for each in writers:
            tried.append(each)
            if not engine.pause(each, began + seconds - time.monotonic()):
                tried.pop()
        _say({"paused": len(tried)})
        ready, _, _ = select.select([sys.stdin], [], [], max(0.0, began + seconds - time.monotonic()))
        late = not ready
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        thaw(engine, tried)
        record.unlink(missing_ok=True)
    _say({"seconds": time.monotonic() - began if tried else 0.0, "late": late})


def thaw(engine: PausingEngine, containers: Sequence[str]) -> None:
    """Let containers go on; what an engine does not do at once is tried again.

    Raises:
        OSError: it does not do it at all.

    """
    left = list(containers)
    for tries in range(_THAW_TRIES):
        for each in tuple(left):
            try:
                engine.unpause(each)
                left.remove(each)
            except OSError:
                if tries == _THAW_TRIES - 1:
                    raise
        if not left:
            return
        time.sleep(_THAW_PAUSE_SECONDS)


def _write(record: Path, containers: Sequence[str]) -> None:
    new = record.with_suffix(".new")
    new.write_text(json.dumps(list(containers)))
    new.replace(record)


def _say(what: dict[str, object]) -> None:
    """Tell the agent; one that is gone need not hear it."""
    try:
        os.write(1, json.dumps(what).encode() + b"\n")
    except BrokenPipeError:
        return


def _end(_signal: int, _frame: FrameType | None) -> None:
    raise _Ended


def main(argv: Sequence[str]) -> int:
    signal.signal(signal.SIGTERM, _end)
    do, host, *more = argv
    engine = PausingEngine(host)
    try:
        if do == "pause":
            volume, seconds, record = more
            pause(engine, volume, float(seconds), Path(record))
        else:
            left = Path(more[0])
            thaw(engine, json.loads(left.read_text()))
            left.unlink()
    except _Ended:
        return 0
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
