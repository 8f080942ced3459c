"""How much of a host's disk volumes take, measured with what others leave of processor and disk."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

# Until all are measured again.
MEASURE_SECONDS = 60.0
# As many times as long as that took nothing is measured.
REST = 20
UNKNOWN = -1
_WORTH_BYTES = 1 << 20
_WORTH_SHARE = 0.02
_COMMAND = ("nice", "-n", "19", "ionice", "-c", "3", "du", "--summarize", "--one-file-system", "--block-size=1", "--")


async def allocated(folder: Path) -> int:
    """Return the bytes of disk that a folder takes, `UNKNOWN` where nobody can tell."""
    try:
        process = await asyncio.create_subprocess_exec(
            *_COMMAND,
            str(folder),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return UNKNOWN
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    size = said.partition(b"\t")[0]  # of files that went meanwhile it complains, and counts the others
    return int(size) if size.isdigit() else UNKNOWN


def is_news(size: int, before: int) -> bool:
    """Whether a size differs from the one before by so much that it is worth a write of the manager's store."""
    if UNKNOWN in (size, before):
        return size != before
    return abs(size - before) > max(_WORTH_BYTES, before * _WORTH_SHARE)
