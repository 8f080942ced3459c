"""What a client asks of logs, and the request to an engine that it becomes. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlencode

from manager.api.call import UNIX_TIME, Call
from manager.api.errors import invalid

_TAIL = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class LogRequest:
    """`tail` and `since` as the engine takes them: empty for all."""

    stdout: bool
    stderr: bool
    follow: bool
    timestamps: bool
    details: bool
    tail: str
    since: str

    def query(self) -> str:
        """Return the query of `GET /containers/{id}/logs` for one task's container."""
        flags = {
            "stdout": self.stdout,
            "stderr": self.stderr,
            "follow": self.follow,
            "timestamps": self.timestamps,
            "details": self.details,
        }
        values = {"tail": self.tail, "since": self.since}
        return urlencode({name: "1" for name, on in flags.items() if on} | {name: v for name, v in values.items() if v})


def log_request(call: Call) -> LogRequest:
    """Read the queries of a log request.

    Raises:
        EngineError: 400; no stream is chosen, or a value is not what it should be.

    """
    request = LogRequest(
        stdout=call.flag("stdout"),
        stderr=call.flag("stderr"),
        follow=call.flag("follow"),
        timestamps=call.flag("timestamps"),
        details=call.flag("details"),
        tail=_tail(call.query.get("tail", "")),
        since=_since(call),
    )
    if not (request.stdout or request.stderr):
        raise invalid("Bad parameters: you must choose at least one stream")
    return request


def _tail(text: str) -> str:
    if text in {"", "all"}:
        return ""
    if _TAIL.fullmatch(text) is None:
        raise invalid('tail value must be a positive integer or "all"')
    return text


def _since(call: Call) -> str:
    instant = call.instant("since")
    if instant is None:
        return ""
    given = call.query["since"]
    return given if UNIX_TIME.fullmatch(given) else f"{instant:.9f}"
