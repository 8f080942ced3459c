"""Asks services over and over who they are; `tests/e2e/reuse.py` starts it, in the namespace of a host or container.

Standard input has a line for each change: `ask NAME URL…`, `stale NAME` (it is being removed: ask seldom, and count
what still answers apart), `drop NAME`. Standard output gets `answered NAME` when every URL of a name has answered
rightly once, and at the end of the input the counts, as JSON. Only the standard library: it runs with any Python.
"""

import asyncio
import json
import sys
from collections import Counter
from urllib.parse import urlsplit

LIVE_SECONDS, STALE_SECONDS = 0.05, 0.4
PATIENCE_SECONDS = 1.0


class Asker:
    """`counts`: right, late (from a service that is being removed), wrong, refused and silent."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._open: dict[str, set[str]] = {}
        self._stale: set[str] = set()
        self._asking: dict[str, list[asyncio.Task[None]]] = {}

    def ask(self, name: str, urls: list[str]) -> None:
        self._open[name] = set(urls)
        self._asking[name] = [asyncio.create_task(self._ask(name, url)) for url in urls]

    def stale(self, name: str) -> None:
        self._stale.add(name)

    def drop(self, name: str) -> None:
        for job in self._asking.pop(name, ()):
            job.cancel()

    async def _ask(self, name: str, url: str) -> None:
        while True:
            answer = await host_at(url)
            stale = name in self._stale
            if answer == name:
                self.counts["late" if stale else "right"] += 1
                self._answered(name, url)
            elif answer in ("refused", "silent"):
                self.counts[answer] += 1
            else:
                self.counts["wrong"] += 1
                self.wrong.append(f"{answer} answered for {name} at {url}")
            await asyncio.sleep(STALE_SECONDS if stale else LIVE_SECONDS)

    def _answered(self, name: str, url: str) -> None:
        waiting = self._open.get(name, set())
        if url in waiting:
            waiting.discard(url)
            if not waiting:
                print(f"answered {name}", flush=True)


async def host_at(url: str) -> str:
    """Return the hostname that answers at a URL, or `refused` or `silent`."""
    parts = urlsplit(url)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
            try:
                writer.write(f"GET / HTTP/1.1\r\nHost: {parts.hostname}\r\nConnection: close\r\n\r\n".encode())
                _, _, body = (await reader.read()).partition(b"\r\n\r\n")
            finally:
                writer.close()
        return json.loads(body)["host"] if body else "refused"
    except TimeoutError:
        return "silent"
    except (OSError, ValueError):  # cut off before the end of an answer
        return "refused"


async def main() -> None:
    asker = Asker()
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    print("ready", flush=True)
    async for line in lines:
        word, name, *urls = line.decode().split()
        if word == "ask":
            asker.ask(name, urls)
        elif word == "stale":
            asker.stale(name)
        else:
            asker.drop(name)
    print(json.dumps({"counts": asker.counts, "wrong": asker.wrong}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
