"""Three managers share a dashboard: a token is worth the same at each, and each knows what came before its start."""

import json

import pytest

from common.http.dashboard_token import new_token
from tests.e2e.ci import long
from tests.e2e.managers import SOCKET, Managers
from tests.lab import Host

pytestmark = [long, pytest.mark.timeout(240)]

PORT = 8443


class Shared(Managers):
    """Managers that all serve the dashboard."""

    async def share(self) -> None:
        """Start each manager anew, as one that serves the dashboard: those that follow first."""
        led = await self.leader(self.manager_host)
        for host in (*(each for each in self.managed if each is not led), led):
            await self.stop_manager(host)  # the first one is not a daemon, and is not found by its command
            await host.run("swarm-manager", "start", "--dashboard-host", f"tcp://{host.ip}:{PORT}")
        await self.all_reachable()

    async def answer(self, host: Host, secret: str, path: str = "/swarm/overview") -> int:
        """Return the status of a manager's answer to who has a token."""
        url = f"https://{host.ip}:{PORT}{path}"
        asked = await host.run(
            "curl", "-ksS", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Authorization: Bearer {secret}", url
        )
        return int(asked.stdout)

    async def command(self, host: Host, *arguments: str) -> str:
        return (await host.run("swarm-manager", "-H", SOCKET, *arguments)).stdout

    async def told(self, host: Host, *arguments: str) -> list[str]:
        """Return what the timeline tells, asked of a host's manager, the oldest first."""
        printed = await self.command(host, "timeline", "--format", "json", *arguments)
        return [json.loads(line)["What"] for line in printed.splitlines()]


async def test_managers_share_a_dashboard_and_remember() -> None:
    async with Shared("shared", 3) as cluster:
        first, second, third = cluster.hosts
        create = ("service", "create", "--quiet", "--detach", "--no-resolve-image", "--name", "web")
        await cluster.command(first, *create, "--entrypoint", "false", "--restart-condition", "none", "web:lab")

        async def failed() -> bool:
            return any("web.1 failed on" in each for each in await cluster.told(first, "web"))

        await cluster.until(failed, 60, lambda: "the task has not failed", pause=0.5)
        before = await cluster.told(first, "web")
        await cluster.share()

        for host in cluster.hosts:
            assert await cluster.told(host, "web") == before

        said = await cluster.command(second, "dashboard", "token", "create", "alice", "--role", "viewer")
        secret = next(word for word in said.split() if word.startswith("dash_"))
        stranger = str(new_token())
        for host in cluster.hosts:
            assert await cluster.answer(host, secret) == 200
            assert await cluster.answer(host, secret, "/swarm/audit") == 403
            assert await cluster.answer(host, stranger) == 401
        await cluster.command(third, "dashboard", "token", "rm", "alice")

        async def refused() -> bool:
            return {await cluster.answer(host, secret) for host in cluster.hosts} == {401}

        await cluster.until(refused, 10, lambda: "a token that was revoked is worth something", pause=0.2)
