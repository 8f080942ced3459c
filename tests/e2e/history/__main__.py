"""Faults and clients for as long as you like: `python -m tests.e2e.history --minutes 30 --seed 7`.

Each round is checked when it has ended; the first violation ends the run, and its history is kept as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tests.e2e.history.checker import violations
from tests.e2e.history.life import Life
from tests.e2e.history.summary import summary
from tests.e2e.managers import Managers

ROUND_SECONDS = 120.0


async def run(minutes: float, seed: int, kept: Path, only: Sequence[str]) -> int:
    until = time.monotonic() + minutes * 60
    began = time.monotonic()

    def told(what: str) -> None:
        print(f"{time.monotonic() - began:7.1f}  {what}", flush=True)

    async with Managers("history", 3, small_disks=True) as cluster:
        life = Life(cluster, seed, told)
        await life.begin()
        while time.monotonic() < until:
            history = await life.under_faults(min(ROUND_SECONDS, until - time.monotonic()), only)
            told(summary(history))
            if wrong := violations(history):
                kept.write_bytes(msgspec.json.encode(history))
                print(*wrong, await life.story(), f"the history is in {kept}", sep="\n")
                return 1
            await life.clear()
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.history", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kept", type=Path, default=Path("history.json"), help="where a bad history is written")
    parser.add_argument("--only", nargs="+", default=(), metavar="FAULT", help="such as kill_leader: see nemesis.py")
    options = parser.parse_args()
    return asyncio.run(run(options.minutes, options.seed, options.kept, options.only))


if __name__ == "__main__":
    sys.exit(main())
