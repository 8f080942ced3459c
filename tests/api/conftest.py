"""A manager's API on a unix socket, and the real docker CLI pointed at it."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from manager.api.http.server import serve
from tests.api.swarm_cli import SwarmCli
from tests.docker_cli.program import unfit
from tests.docker_cli.row import Ran
from tests.fakes.api_cluster import ApiCluster

PATIENCE = 30.0


class DockerCli:
    """Debian's docker CLI, with a configuration of its own."""

    def __init__(self, host: str, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "DOCKER_HOST": host,
            "DOCKER_CLI_HINTS": "false",
            "LC_ALL": "C",
            **(environment or {}),
        }

    def forget_host(self) -> None:
        """Let a context say where the API is."""
        del self._environment["DOCKER_HOST"]

    async def run(self, *arguments: str, stdin: str = "") -> Ran:
        """Run `docker …` to its end."""
        process = await self.start(*arguments)
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate(stdin.encode())
        assert process.returncode is not None
        return Ran(process.returncode, out.decode(), err.decode())

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            "docker",
            *arguments,
            cwd=self.folder,
            env=self._environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def ok(self, *arguments: str, stdin: str = "") -> str:
        """Run what must succeed and return its output, stripped."""
        ran = await self.run(*arguments, stdin=stdin)
        assert ran.code == 0, ran
        return ran.out.strip()


@pytest.fixture
async def cluster() -> AsyncIterator[ApiCluster]:
    async with ApiCluster() as cluster:
        yield cluster


@pytest.fixture
async def docker(cluster: ApiCluster) -> AsyncIterator[DockerCli]:
    if unfit():
        pytest.skip(unfit())
    host = f"unix://{cluster.folder}/docker.sock"
    home = cluster.folder / "home"
    home.mkdir()
    async with serve(cluster.api, [host]):
        yield DockerCli(host, home)


@pytest.fixture
def swarm(cluster: ApiCluster, docker: DockerCli) -> SwarmCli:
    return SwarmCli(f"unix://{cluster.folder}/docker.sock")
