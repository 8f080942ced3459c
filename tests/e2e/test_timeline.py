"""What happened here? Each kind of entry is made on real engines, and told by a manager that does not lead."""

import json
from typing import Any

import pytest

from manager.overview.timeline import Kind
from tests.e2e.ci import long
from tests.e2e.managers import SOCKET, Managers
from tests.lab import Host

pytestmark = [long, pytest.mark.timeout(240)]

QUIET = ("--quiet", "--detach", "--no-resolve-image")
AUTOSCALED = "swarm.x.autoscale=min=1,max=2,cpu=50%,up=2s,down=60s"


class Story(Managers):
    """Two managers and a worker; all is done and asked through the manager that follows."""

    @property
    def asked(self) -> Host:
        return self.hosts[1]

    async def do(self, *arguments: str, stdin: str | None = None) -> str:
        command = ("swarm-manager", "-H", SOCKET, *arguments)
        return (await self.asked.run(*command, input=stdin)).stdout

    async def entries(self, *arguments: str) -> list[dict[str, Any]]:
        """Return what the timeline tells, the oldest first."""
        told = await self.do("timeline", "--last", "1000", "--format", "json", *arguments)
        return [json.loads(line) for line in told.splitlines()]

    async def told(self, kind: Kind, *words: str) -> dict[str, Any]:
        """Wait for an entry of a kind with all these words."""
        found: list[dict[str, Any]] = []

        async def there() -> bool:
            fitting = (each for each in await self.entries() if each["Kind"] == kind)
            found.extend(each for each in fitting if all(word in each["What"] for word in words))
            return bool(found)

        await self.until(there, 60, lambda: f"the timeline has no {kind} with {words}", pause=0.5)
        return found[-1]


async def test_everything_that_happens_is_told() -> None:
    async with Story("timeline", 3, managers=2) as cluster:
        worker = cluster.hosts[2]
        assert await cluster.leader(cluster.asked) is not cluster.asked
        await secrets(cluster)
        await services(cluster)
        await tasks(cluster, worker)
        await nodes(cluster, worker)

        entries = await cluster.entries()
        assert {each["Kind"] for each in entries} == set(Kind)
        asked_for = {each["Kind"] for each in entries if each.get("By")}
        assert {each["By"] for each in entries if each.get("By")} == {"uid 0"}
        assert {Kind.SERVICE_CHANGED, Kind.ROLLBACK_STARTED, Kind.NODE_REMOVED, Kind.OBJECT_REMOVED} <= asked_for
        assert not {Kind.TASK_FAILED, Kind.NODE_LEFT, Kind.NODE_STATE, Kind.SERVICE_SCALED} & asked_for
        assert all("web" in each["What"] for each in await cluster.entries("web"))
        assert all(each["Kind"].startswith("node-") for each in await cluster.entries("--topic", "nodes"))


async def secrets(cluster: Story) -> None:
    await cluster.do("secret", "create", "key", "-", stdin="x")
    await cluster.told(Kind.OBJECT_CREATED, "secret key was created")
    (secret,) = await cluster.get("/secrets")
    spec = {"Name": "key", "Labels": {"a": "b"}}
    await cluster.request("POST", f"/secrets/{secret['ID']}/update?version={secret['Version']['Index']}", spec)
    await cluster.told(Kind.OBJECT_CHANGED, "secret key")
    await cluster.do("secret", "rm", "key")
    await cluster.told(Kind.OBJECT_REMOVED, "secret key was removed")


async def services(cluster: Story) -> None:
    await cluster.do("service", "create", *QUIET, "--name", "web", "--update-monitor", "2s", "web:lab")
    assert (await cluster.told(Kind.SERVICE_CREATED, "web"))["By"]
    await cluster.running("web", 1)
    await cluster.do("service", "update", *QUIET, "--env-add", "COLOUR=blue", "web")
    await cluster.told(Kind.SERVICE_CHANGED, "web was changed: environment: COLOUR")
    await cluster.told(Kind.UPDATE_STARTED, "web")
    await cluster.told(Kind.UPDATE_ENDED, "web")
    await cluster.do("service", "update", *QUIET, "--entrypoint", "sh -c 'exit 3'", "web")
    await cluster.told(Kind.UPDATE_HALTED, "web")
    await cluster.do("service", "rollback", "--quiet", "--detach", "web")
    await cluster.told(Kind.ROLLBACK_STARTED, "web")
    await cluster.told(Kind.UPDATE_ENDED, "web", "rollback")
    busy = ("--reserve-cpu", "0.05", "--limit-cpu", "0.1", "--entrypoint", "sh -c 'while :; do :; done'")
    await cluster.do("service", "create", *QUIET, "--name", "busy", "--label", AUTOSCALED, *busy, "web:lab")
    await cluster.told(Kind.SERVICE_SCALED, "busy was scaled from 1 to 2")
    await cluster.do("service", "rm", "busy")
    await cluster.told(Kind.SERVICE_REMOVED, "busy")


async def tasks(cluster: Story, worker: Host) -> None:
    """A task fails where one sees where and why, and another finds no node."""
    placed = ("--constraint", f"node.hostname=={worker.name}")
    await cluster.do("service", "create", *QUIET, "--name", "killed", *placed, "web:lab")
    await cluster.running("killed", 1)
    container = await cluster.container_of(worker, "killed")
    await worker.docker("kill", container["Id"])
    failed = await cluster.told(Kind.TASK_FAILED, "killed.1", worker.name, "137")
    for concerned in ("killed", worker.name):
        assert failed in await cluster.entries(concerned)
    await cluster.do("service", "create", *QUIET, "--name", "choosy", "--constraint", "node.labels.a==b", "web:lab")
    await cluster.told(Kind.TASK_WAITS, "choosy.1")


async def nodes(cluster: Story, worker: Host) -> None:
    await cluster.told(Kind.NODE_JOINED, worker.name)
    await cluster.do("node", "update", "--availability", "drain", worker.name)
    await cluster.told(Kind.NODE_CHANGED, worker.name, "availability active → drain")
    await worker.power_off()
    await cluster.told(Kind.NODE_STATE, worker.name, "down")
    await worker.boot()
    await worker.start_engine()
    await worker.run("swarm-worker", "start", timeout=90)
    ready = await cluster.told(Kind.NODE_STATE, f"{worker.name} is ready")
    assert "left the cluster." in (await worker.run("swarm-worker", "leave")).stdout
    left = await cluster.told(Kind.NODE_LEFT, f"{worker.name} left the cluster")
    told = await cluster.entries(worker.name, "--topic", "nodes")
    assert told[told.index(ready) + 1 :] == [left]
    await cluster.do("node", "rm", worker.name)
    await cluster.told(Kind.NODE_REMOVED, worker.name)
