"""Running the host's tools, and what systemd answers when it is asked about the host."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass

from common.errors import Unavailable
from common.process.daemon import SYSTEMD_MARK

PATIENCE_SECONDS = 30.0
SYSTEMD_SECONDS = 2.0
_BOX = ("┌", "│", "└")
_ERROR = re.compile(r"\berror\b", re.IGNORECASE)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Output:
    """How a tool ended: its exit code, its standard output, and its standard error without white space around it."""

    code: int
    text: str
    errors: str


async def run(
    *argv: str, stdin: str = "", started: Callable[[int], None] | None = None, own_session: bool = False
) -> Output:
    """Run a tool to its end; `started` is told its process id before it can have done anything.

    `own_session`: what it leaves running is not to get the signals of this program's terminal.

    Raises:
        Unavailable: it cannot be run, or takes longer than half a minute.

    """
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=own_session
        )
    except OSError as error:
        raise Unavailable(f"cannot run {argv[0]}: {error.strerror}") from error
    if started is not None:
        started(process.pid)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            out, err = await process.communicate(stdin.encode())
    except TimeoutError as error:
        raise Unavailable(f"{argv[0]} did not end within {PATIENCE_SECONDS:.0f} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Output(process.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace").strip())


async def must(
    *argv: str, stdin: str = "", started: Callable[[int], None] | None = None, own_session: bool = False
) -> str:
    """Run a tool and return what it printed.

    Raises:
        Unavailable: it fails; the message has what it said.

    """
    output = await run(*argv, stdin=stdin, started=started, own_session=own_session)
    if output.code:
        raise Unavailable(f"{argv[0]} failed: {_complaint(output) or f'exit status {output.code}'}")
    return output.text


def _complaint(output: Output) -> str:
    """Return the line in which a tool says what is wrong: one that says `error`, else its first.

    wireguard-go prints a banner to standard error, and what is wrong to standard output.
    """
    for text in (output.errors, output.text):
        lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(_BOX)]
        if lines:
            return next((line for line in lines if _ERROR.search(line)), lines[0])
    return ""


async def host_is_shutting_down() -> bool:
    """Return whether systemd is shutting this host down, or rebooting it; False without systemd, or its answer."""
    if not SYSTEMD_MARK.is_dir():
        return False
    try:
        async with asyncio.timeout(SYSTEMD_SECONDS):
            answer = await run("systemctl", "is-system-running")
    except (Unavailable, TimeoutError) as error:
        _log.warning("systemd does not say whether this host is shutting down; assuming that it is not: %s", error)
        return False
    return answer.text.strip() == "stopping"
