"""Clients that ask once, keep the connection, and wait without a word; a test starts this on a host or in a container.

Arguments: address, port, how many. They say `asked` when all have their answer, and at SIGTERM what became of them, as
JSON: for each host name of a server, when each connection was reset (Unix seconds; null: it is open). Only the standard
library: it runs with any Python.
"""

import asyncio
import json
import signal
import sys
import time


async def main() -> None:
    address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    clients = [await connect(address, port) for _ in range(count)]
    resets = [asyncio.create_task(reset(reader)) for _, reader, _ in clients]
    print("asked", flush=True)
    await told.wait()
    found: dict[str, list[float | None]] = {}
    for (server, _, _), waiting in zip(clients, resets, strict=True):
        found.setdefault(server, []).append(waiting.result() if waiting.done() else None)
        waiting.cancel()
    print(json.dumps(found))


async def connect(address: str, port: int) -> tuple[str, asyncio.StreamReader, asyncio.StreamWriter]:
    """Return who answered, and the connection."""
    reader, writer = await asyncio.open_connection(address, port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    (length,) = [int(line.split()[1]) for line in head.splitlines() if line.lower().startswith(b"content-length:")]
    return str(json.loads(await reader.readexactly(length))["host"]), reader, writer


async def reset(reader: asyncio.StreamReader) -> float:
    """Wait for the connection's reset; return when that was."""
    try:
        await reader.read(1)
    except ConnectionResetError:
        return time.time()
    raise AssertionError("the server has closed the connection")


asyncio.run(main())
