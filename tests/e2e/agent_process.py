"""A worker's agent without a session: its manager is a unix socket of the test's.

Usage: python -m tests.e2e.agent_process SOCKET FOLDER DOCKER_HOST NODE_ID. Each line from the socket is an
`Assignments` in JSON; each line to it a `TaskReport`.
"""

import asyncio
import logging
import random
import sys
from pathlib import Path

import msgspec

from common.clock import SystemClock
from common.wire.messages import Assignments
from worker.agent import Agent, HostParts
from worker.database import LocalDatabase
from worker.engine.driver import DockerEngine
from worker.host.description import Identity
from worker.net.local_networks import LocalNetworks
from worker.tasks.tmpfs import TmpfsFiles

LINE_BYTES = 16 << 20


async def main(socket: str, folder: Path, docker_host: str, node_id: str) -> None:
    engine = DockerEngine(docker_host, random.Random(1))
    parts = HostParts(
        engine=engine,
        networks=LocalNetworks(engine, node_id),
        files=TmpfsFiles(folder / "files"),
        memory=LocalDatabase(folder / "state.db"),
    )
    agent = Agent(Identity(node_id=node_id, version="test"), parts, SystemClock(), asyncio.Event())
    reader, writer = await asyncio.open_unix_connection(socket, limit=LINE_BYTES)
    async with asyncio.TaskGroup() as group:
        group.create_task(agent.run())
        group.create_task(_report(agent, writer))
        await agent.ready()
        writer.write(b"ready\n")
        while line := await reader.readline():
            await agent.assigned(msgspec.json.decode(line, type=Assignments))
        sys.exit("the test has hung up")


async def _report(agent: Agent, writer: asyncio.StreamWriter) -> None:
    while True:
        number, reports = await agent.reporter.take()
        for report in reports:
            writer.write(msgspec.json.encode(report) + b"\n")
        await writer.drain()
        agent.reporter.confirmed(number)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4]))
