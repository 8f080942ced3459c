"""Clients that ask once, keep the connection, and wait without a word; a test starts this on a host or in a container.

Arguments: address, port, how many. They say `asked` and the host names of their servers when all have their answer,
`lost` and a name when all connections to that server were reset, and at SIGTERM how many are open, as JSON: by host
name. Only the standard library: it runs with any Python.
"""

import asyncio
import json
import signal
import sys
from collections import defaultdict


async def main() -> None:
    address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    clients = [await connect(address, port) for _ in range(count)]
    waiting: dict[str, set[asyncio.Task[None]]] = defaultdict(set)
    for server, reader, _ in clients:
        waiting[server].add(asyncio.create_task(reset(reader)))
    print("asked", *waiting, flush=True)
    losing = [asyncio.create_task(lost(server, tasks)) for server, tasks in waiting.items()]
    await told.wait()
    print(json.dumps({server: sum(not task.done() for task in tasks) for server, tasks in waiting.items()}))
    for task in (*losing, *(task for tasks in waiting.values() for task in tasks)):
        task.cancel()


async def connect(address: str, port: int) -> tuple[str, asyncio.StreamReader, asyncio.StreamWriter]:
    """Return who answered, and the connection."""
    reader, writer = await asyncio.open_connection(address, port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    (length,) = [int(line.split()[1]) for line in head.splitlines() if line.lower().startswith(b"content-length:")]
    return str(json.loads(await reader.readexactly(length))["host"]), reader, writer


async def reset(reader: asyncio.StreamReader) -> None:
    """Wait for the connection's reset."""
    try:
        await reader.read(1)
    except ConnectionResetError:
        return
    raise AssertionError("the server has closed the connection")


async def lost(server: str, resets: set[asyncio.Task[None]]) -> None:
    await asyncio.gather(*resets)
    print("lost", server, flush=True)


asyncio.run(main())
