"""Dashboard: what a browser takes to show 1,000 nodes and 100,000 tasks, and to follow what changes there.

The API is in this process, on a store in memory; Chromium (Debian's) opens the overview by the gate. "Drawn" is when
the first tile has its tasks, "shown" how long a node's death takes from the store to the page. Chromium, the API and
its store share the machine: a task of the page is said in processor time, too, which others do not lengthen.
"""

from __future__ import annotations

import argparse
import asyncio
import json
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
from playwright.async_api import Browser, CDPSession, Page, Response, async_playwright

from common.clock import SystemClock
from common.model.node import NodeStatus
from manager.api.http.server import serve
from manager.cli.dashboard.gate import open_gate
from manager.cli.endpoint import Endpoint
from manager.store.backends.memory import MemoryBackend
from manager.store.store import Store
from tests.bench.overview import NODES, SERVICES, TASKS, change, fill, new_api
from tests.bench.table import print_table

DEATHS = 20
_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
_POLL_SECONDS = 0.02
_TASK = "ThreadControllerImpl::RunTask"
_CODE = "code and styles"
_MARK = "this is the page"
_TRACED = ["toplevel", "blink.user_timing"]


async def until(page: Page, script: str) -> None:
    """Wait until the page finds something, asked in a way that costs it next to nothing."""
    while not await page.evaluate(script):
        await asyncio.sleep(_POLL_SECONDS)


async def longest_task(browser: Browser, page: Page) -> tuple[float, float]:
    """End the trace; return the page's longest task in seconds of processor time, and the longest by the clock.

    The browser has pages of its own, in other processes. A mark tells which is ours.
    """
    await page.evaluate(f"performance.mark('{_MARK}') && undefined")
    events = json.loads(await browser.stop_tracing())["traceEvents"]
    ours = next((each["pid"], each["tid"]) for each in events if each["name"] == _MARK)
    tasks = [each for each in events if each["name"] == _TASK and (each["pid"], each["tid"]) == ours and "dur" in each]
    return max(each.get("tdur", 0) for each in tasks) / 1e6, max(each["dur"] for each in tasks) / 1e6


async def shown(page: Page, store: Store, number: int) -> float:
    """Kill a node; return the seconds until the page has it."""
    node = sorted(store.view.nodes, key=lambda each: each.name)[number]
    began = time.perf_counter()
    seen = asyncio.ensure_future(until(page, f"document.querySelector(\"[data-name='{node.name}'] .badge-bad\")"))
    down = msgspec.structs.replace(node, status=NodeStatus(state="down", message="heartbeat failure"))
    await store.update(lambda tx: tx.put(down))
    await seen
    return time.perf_counter() - began


async def browse(browser: Browser, url: str, store: Store, seconds: float) -> list[tuple[str, object]]:
    page = await browser.new_page(viewport={"width": 1280, "height": 900})
    session = await page.context.new_cdp_session(page)
    await session.send("Performance.enable", {"timeDomain": "threadTicks"})
    sizes: dict[str, int] = {}

    async def weigh(response: Response) -> None:
        if "/feed" not in response.url:
            sized = await response.request.sizes()
            kind = _CODE if "/static/" in response.url else "answers"
            sizes[kind] = sizes.get(kind, 0) + sized["responseBodySize"]

    page.on("response", weigh)
    await browser.start_tracing(page=page, categories=_TRACED)
    began = time.perf_counter()
    await page.goto(url)
    await until(page, "document.querySelector('[data-sentence]')")
    said = time.perf_counter() - began
    first = sizes.get(_CODE, 0)
    await until(page, "document.querySelector('.tile canvas:not([hidden])')")
    drawn = time.perf_counter() - began
    await until(page, f"document.querySelectorAll('.tile').length >= {len(store.view.nodes)}")
    paint = await page.evaluate(_PAINT)
    deaths = [await shown(page, store, number) for number in range(DEATHS)]
    starting = await longest_task(browser, page)
    await browser.start_tracing(page=page, categories=_TRACED)
    before = await computed(session)
    changed = await change(store, seconds, random.Random(7))
    busy = await computed(session) - before
    following = await longest_task(browser, page)
    heap: Any = await page.evaluate("performance.memory.usedJSHeapSize")
    return [
        ("first paint, ms", paint),
        ("sentence, ms", said * 1000),
        (f"{_CODE} until then, kB", first / 1000),
        ("drawn, ms", drawn * 1000),
        *((f"{kind}, kB", size / 1000) for kind, size in sorted(sizes.items())),
        ("node's death shown, ms (median)", statistics.median(deaths) * 1000),
        ("node's death shown, ms (worst)", max(deaths) * 1000),
        ("longest task of the page, ms of processor time", starting[0] * 1000),
        ("the same by the clock, ms", starting[1] * 1000),
        (f"while {changed / seconds:.0f} tasks a second change, ms of processor time", following[0] * 1000),
        ("the same by the clock, ms", following[1] * 1000),
        ("the page's share of a core meanwhile, %", 100 * busy / seconds),
        ("heap, MB", heap / 1e6),
    ]


async def computed(session: CDPSession) -> float:
    """Return how long the page has computed (seconds of processor time)."""
    metrics = (await session.send("Performance.getMetrics"))["metrics"]
    return next(float(each["value"]) for each in metrics if each["name"] == "TaskDuration")


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
                url = f"http://127.0.0.1:{port}/dashboard/?zoom=boxes#{gate.new_token()}"
                rows = await browse(browser, url, store, options.seconds)
                await browser.close()
    title = f"{options.nodes:,} nodes, {options.services} services, {options.tasks:,} tasks, one tab"
    print_table(title, ("", "measured"), rows)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests/bench/run dashboard")
    parser.add_argument("--nodes", type=int, default=NODES)
    parser.add_argument("--services", type=int, default=SERVICES)
    parser.add_argument("--tasks", type=int, default=TASKS)
    parser.add_argument("--seconds", type=float, default=10.0)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(measure(parser.parse_args(argv)))
    return 0
