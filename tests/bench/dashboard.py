"""Dashboard: what a browser takes to show 1,000 nodes and 100,000 tasks, and to follow what changes there.

The API is in this process, on a store in memory; Chromium (Debian's) opens the overview by the gate. "Drawn" is when
the first tile has its tasks, "shown" how long a node's death takes from the store to the page. Chromium, the API and
its store share the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import uvloop
from playwright.async_api import Page, Response, async_playwright

from common.clock import SystemClock
from common.model.node import NodeStatus
from manager.api.http.server import serve
from manager.cli.dashboard.gate import open_gate
from manager.cli.endpoint import Endpoint
from manager.store.backends.memory import MemoryBackend
from manager.store.store import Store
from tests.bench.overview import NODES, SERVICES, TASKS, fill, new_api
from tests.bench.table import print_table

DEATHS = 20
_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
_OBSERVE = """
globalThis.held = [];
new PerformanceObserver((list) => held.push(...list.getEntries().map((entry) => entry.duration)))
  .observe({type: 'longtask', buffered: true});
"""


async def shown(page: Page, store: Store, number: int) -> float:
    """Kill a node; return the seconds until the page has it."""
    node = sorted(store.view.nodes, key=lambda each: each.name)[number]
    began = time.perf_counter()
    seen = asyncio.ensure_future(page.locator(f"[data-name='{node.name}'] .badge-bad").wait_for(timeout=20_000))
    down = msgspec.structs.replace(node, status=NodeStatus(state="down", message="heartbeat failure"))
    await store.update(lambda tx: tx.put(down))
    await seen
    return time.perf_counter() - began


async def browse(page: Page, url: str, store: Store) -> list[tuple[str, object]]:
    sizes: dict[str, int] = {}

    async def weigh(response: Response) -> None:
        if "/feed" not in response.url:
            sized = await response.request.sizes()
            kind = "code and styles" if "/static/" in response.url else "answers"
            sizes[kind] = sizes.get(kind, 0) + sized["responseBodySize"]

    page.on("response", weigh)
    await page.add_init_script(_OBSERVE)
    began = time.perf_counter()
    await page.goto(url)
    await page.locator("[data-sentence]").wait_for(timeout=60_000)
    said = time.perf_counter() - began
    await page.locator(".tile canvas:not([hidden])").first.wait_for(timeout=60_000)
    drawn = time.perf_counter() - began
    paint = await page.evaluate(_PAINT)
    tiles = await page.locator(".tile").count()
    deaths = [await shown(page, store, number) for number in range(DEATHS)]
    heap: Any = await page.evaluate("performance.memory.usedJSHeapSize")
    held: Any = await page.evaluate("Math.max(0, ...held)")
    return [
        ("first paint, ms", paint),
        ("sentence, ms", said * 1000),
        ("drawn, ms", drawn * 1000),
        ("tiles", tiles),
        *((f"{kind}, kB", size / 1000) for kind, size in sorted(sizes.items())),
        ("node's death shown, ms (median)", statistics.median(deaths) * 1000),
        ("node's death shown, ms (worst)", max(deaths) * 1000),
        ("longest task of the page, ms", held),
        ("heap, MB", heap / 1e6),
    ]


async def measure(options: argparse.Namespace) -> None:
    clock, rng = SystemClock(), random.Random(3)
    async with Store(MemoryBackend(), clock) as store:
        await store.update(lambda tx: fill(tx, options.nodes, options.services, options.tasks, rng))
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            socket = f"unix://{folder}/api.sock"
            async with (
                new_api(store, clock, rng) as api,
                serve(api, [socket]),
                open_gate(Endpoint(socket), "viewer", 0) as (gate, port),
                async_playwright() as playwright,
            ):
                arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
                browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
                page = await browser.new_page(viewport={"width": 1280, "height": 900})
                rows = await browse(page, f"http://127.0.0.1:{port}/dashboard/?zoom=boxes#{gate.new_token()}", store)
                await browser.close()
    title = f"{options.nodes:,} nodes, {options.services} services, {options.tasks:,} tasks, one tab"
    print_table(title, ("", "measured"), rows)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests/bench/run dashboard")
    parser.add_argument("--nodes", type=int, default=NODES)
    parser.add_argument("--services", type=int, default=SERVICES)
    parser.add_argument("--tasks", type=int, default=TASKS)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(measure(parser.parse_args(argv)))
    return 0
