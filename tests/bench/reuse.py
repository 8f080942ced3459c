"""Address reuse: services that come and go quickly, asked all the time; how often another one answers (never).

A soak on three real engines. Each round makes a service with a published port and a virtual address, waits until all
nodes answer for it, and removes it. Its ports and its address are asked on for 8 s after its end.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence

from tests.bench.table import print_table
from tests.e2e.cluster import Cluster
from tests.e2e.reuse import Found, churn

ROUNDS, AT_ONCE = 1000, 8


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="reuse", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--at-once", type=int, default=AT_ONCE)
    options = parser.parse_args(argv)
    start = time.monotonic()
    found = asyncio.run(_run(options.rounds, options.at_once))
    _show(found, time.monotonic() - start)
    return 1 if found.wrong else 0


async def _run(rounds: int, at_once: int) -> Found:
    async with Cluster("reuse") as swarm:
        await swarm.swarm("network", "create", "-d", "overlay", "blue")
        quiet = ("service", "create", "-q", "--detach", "--no-resolve-image", "--network", "blue")
        await swarm.swarm(*quiet, "--name", "asker", "--mode", "global", "web:lab")
        await swarm.running("asker", 3)
        return await churn(swarm, "blue", rounds, at_once)


def _show(found: Found, seconds: float) -> None:
    kinds = ("wrong", "right", "late", "refused", "silent")
    again = sum(1 for users in found.addresses.values() if users > 1)
    row = (found.rounds, *(found.counts[kind] for kind in kinds), len(found.addresses), again, seconds)
    headings = ("rounds", *kinds, "addresses", "used again", "seconds")
    notes = (
        "answers: wrong, another service's; right; late, of a service that is being removed; connections refused",
        "silent: no answer within 1 s; addresses: different ones that tasks had, and how many had several users",
        "wanted: none wrong",
        *found.wrong[:10],
    )
    print_table("Address reuse", headings, [row], notes)
