"""Throughput over cables of a real network's speed, where a cable is what limits, and not two cores for all hosts."""

from __future__ import annotations

import random
import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias

from tests.bench.table import print_table
from tests.lab import Host

RATES = ("1gbit", "10gbit")
# Asked for so many seconds, a way answers with Gbit/s.
Measure: TypeAlias = Callable[[int], Awaitable[float]]


async def show_cables(hosts: Sequence[Host], ways: Mapping[str, Measure], rounds: int, seconds: int) -> None:
    """Limit the cables of all hosts to one rate after the other, measure each way, and print the ratios to the first.

    The cables stay limited.
    """
    rows: list[list[str | float]] = [[name] for name in ways]
    for rate in RATES:
        for host in hosts:
            await host.limit(rate)
        found: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(rounds):
            for name in random.Random(number).sample(list(ways), len(ways)):
                found[name].append(await ways[name](seconds))
        base, *_ = found.values()
        for row, values in zip(rows, found.values(), strict=True):
            ratios = [value / of for value, of in zip(values, base, strict=True)]
            row.extend((statistics.median(values), statistics.median(ratios)))
    headings = ("path", *(heading for rate in RATES for heading in (f"Gbit/s at {rate}", "ratio")))
    notes = (
        f"median of {rounds} rounds; ratio: to {next(iter(ways))} in the same round",
        "wanted: mesh with a local backend ≥ 1.0; remote ≥ 0.9",
    )
    print_table("Throughput over cables of these rates", headings, rows, notes)
