"""Our command line, run in this process against a manager's API."""

import asyncio

from click.testing import CliRunner

from manager.cli import cli
from tests.docker_cli.row import Ran


class SwarmCli:
    """`swarm-manager` with `--host` set; it has an event loop of its own, so it runs in a thread."""

    def __init__(self, host: str) -> None:
        self._host = host

    async def run(self, *arguments: str, stdin: str = "") -> Ran:
        result = await asyncio.to_thread(
            CliRunner().invoke, cli, ["--host", self._host, *arguments], input=stdin, catch_exceptions=True
        )
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    async def ok(self, *arguments: str, stdin: str = "") -> str:
        """Run what must succeed and return its output, stripped."""
        ran = await self.run(*arguments, stdin=stdin)
        assert ran.code == 0, ran
        return ran.out.strip()
