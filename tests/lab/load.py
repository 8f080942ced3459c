"""HTTP load from a lab host: so many requests a second until stopped, and what became of each.

`python load.py URL RATE kept|new` is the program that runs on the host, with the standard library only; it writes its
report as JSON at SIGTERM. `Load` is the test's handle on it.
"""

import asyncio
import json
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from tests.lab.host import Host
    from tests.lab.process import Process

_PATIENCE = 5.0
_IDLE_LANES = 32


@dataclass
class Report:
    """`errors` by what went wrong; `hosts` and `clients` as web:lab answered; `seconds` one per good answer, sorted."""

    sent: int = 0
    ok: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    hosts: dict[str, int] = field(default_factory=dict)
    clients: dict[str, int] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    error_times: list[float] = field(default_factory=list)  # wall clock

    def quantile(self, share: float) -> float:
        """The time within which this share (0 to 1) of the good answers came, in seconds."""
        return self.seconds[min(len(self.seconds) - 1, int(share * len(self.seconds)))]


class Load:
    """Requests at a steady rate from a host, started on entering and reported by stop().

    connections: "new", one for each request, or "kept", keep-alive. A request that fails is not tried again.
    """

    def __init__(self, host: "Host", url: str, rate: float = 200, connections: Literal["new", "kept"] = "new") -> None:
        self._host = host
        self._arguments = (url, str(rate), connections)
        self._process: Process | None = None

    async def __aenter__(self) -> Self:
        self._process = await self._host.spawn(sys.executable, Path(__file__), *self._arguments, name="load")
        await self._process.logged("started\n")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            await self._process.wait()

    async def stop(self) -> Report:
        """Stop sending, wait for the answers that are due, and return what became of all."""
        assert self._process is not None
        await self._process.stop(signal.SIGTERM, timeout=_PATIENCE * 3)
        return Report(**json.loads(self._process.output().partition("started\n")[2]))


class _Client:
    """Sends the requests; `idle` holds kept connections that no request is using."""

    def __init__(self, url: str, keep: bool) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname, parts.port or 80)
        connection = "keep-alive" if keep else "close"
        path = parts.path or "/"
        self._request = f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: {connection}\r\n\r\n".encode()
        self._keep = keep
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.report = Report()
        self._hosts: Counter[str] = Counter()
        self._clients: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()

    async def one(self) -> None:
        began = time.monotonic()
        self.report.sent += 1
        try:
            async with asyncio.timeout(_PATIENCE):
                answer = json.loads(await self._exchange())
        except (OSError, EOFError, ValueError, TimeoutError) as error:
            self._errors[f"{type(error).__name__}: {error}"] += 1
            self.report.error_times.append(time.time())
        else:
            self.report.ok += 1
            self.report.seconds.append(time.monotonic() - began)
            self._hosts[answer["host"]] += 1
            self._clients[answer["client"]] += 1

    async def _exchange(self) -> bytes:
        reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection(*self._address)
        kept = False
        try:
            writer.write(self._request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            if b" 200 " not in head.partition(b"\r\n")[0]:
                raise ValueError(head.partition(b"\r\n")[0].decode())
            body = await reader.readexactly(int(head.partition(b"content-length:")[2].split()[0]))
            kept = self._keep and b"connection: close" not in head and len(self._idle) < _IDLE_LANES
        finally:
            if kept:
                self._idle.append((reader, writer))
            else:
                writer.close()
        return body

    def result(self) -> Report:
        for _, writer in self._idle:
            writer.close()
        self.report.seconds.sort()
        self.report.hosts, self.report.clients = dict(self._hosts), dict(self._clients)
        self.report.errors = dict(self._errors)
        return self.report


async def _send(url: str, rate: float, keep: bool) -> Report:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    client, due = _Client(url, keep), time.monotonic()
    print("started", flush=True)
    async with asyncio.TaskGroup() as requests:
        while not stop.is_set():
            requests.create_task(client.one())
            due += 1 / rate
            try:
                await asyncio.wait_for(stop.wait(), due - time.monotonic())
            except TimeoutError:
                continue
    return client.result()


if __name__ == "__main__":
    report = asyncio.run(_send(sys.argv[1], float(sys.argv[2]), sys.argv[3] == "kept"))
    print(json.dumps(vars(report)), flush=True)
