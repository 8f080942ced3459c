"""A node with a valid certificate says everything wrong that it can, and the hosts beside it do not notice.

Two hosts have workers; the third is the evil node's. `SWARM_FUZZ_CALLS=2000 tests/run e2e -k everything_wrong -s` says
more than each run does, and shows what became of it; SWARM_FUZZ_SEED=N says other things.
"""

import asyncio
import contextlib
import json
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.ci import long
from tests.e2e.cluster import Cluster, ask_from
from tests.hostile.attack import Attack
from tests.hostile.mutations import CANARY
from tests.hostile.testbed import LabTestbed
from tests.hostile.world import PROBES
from tests.lab import Host

CALLS = int(os.environ.get("SWARM_FUZZ_CALLS", "400"))
SEED = int(os.environ.get("SWARM_FUZZ_SEED", "1"))
# Between two looks at whether all is well; what there is is learnt anew as often.
CHUNK = 50
WARM_UP = max(2 * CHUNK, CALLS // 5)
GROWTH_KIB = 30 * 1024
# What follows from the end of a node may take as long.
SETTLE_SECONDS = 60.0

pytestmark = [pytest.mark.alone, pytest.mark.timeout(240 + CALLS)]


class Attacked(Cluster):
    """A cluster of all hosts but the last."""

    async def begin(self) -> None:
        *self.hosts, self.outside = self.lab.hosts
        await super().begin()

    async def rules(self, host: Host) -> list[str]:
        """List a host's whole ruleset, without what counts, in an order that does not depend on when what was made."""
        listed = json.loads((await host.run("nft", "-j", "list", "ruleset")).stdout)["nftables"]
        found = [each for each in map(_countless, listed) if each and "metainfo" not in each]
        return [json.dumps(each, sort_keys=True) for each in sorted(found, key=_place)]

    async def honest_state(self) -> dict[str, Any]:
        """Return what the honest hosts are to keep: their rules, and their tasks with their containers."""
        ids = {(await self.nodes())[host.name]["ID"] for host in self.hosts}
        tasks = [task for task in await self.get("/tasks") if task.get("NodeID") in ids]
        return {
            **{host.name: await self.rules(host) for host in self.hosts},
            "tasks": sorted((t["ID"], t["Status"]["State"], json.dumps(t["Status"]["ContainerStatus"])) for t in tasks),
        }

    def resident_kib(self) -> int:
        lines = Path(f"/proc/{self.manager.pid}/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmRSS")))

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Fail if an honest node is anything but ready meanwhile."""
        honest, said = {host.name for host in self.hosts}, []

        async def watch() -> None:
            async with self._http.get("http://manager/events?filters={}", timeout=None) as events:
                async for line in events.content:
                    event = json.loads(line)
                    attributes = event["Actor"]["Attributes"]
                    if event["Type"] == "node" and attributes.get("name") in honest and "state.new" in attributes:
                        said.append(attributes)

        watching = asyncio.create_task(watch())
        try:
            yield
            assert not watching.done(), watching.exception()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        assert not said, said

    async def is_well(self) -> None:
        """Fail if the API has no good answer to a usual question, or anything of an evil node's has reached a host."""
        for path in PROBES:
            await self.get(path)
        for host in self.hosts:
            assert CANARY not in (await host.run("nft", "list", "ruleset")).stdout
        for process in (self.manager, *self.workers.values()):
            text = process.log.read_text(errors="replace")
            assert "Traceback" not in text, text[text.index("Traceback") - 500 :][:3000]


def _countless(value: Any) -> Any:
    """Leave out of a listing what is another number each time, and sort what is a set."""
    if isinstance(value, dict):
        kept = {key: _countless(each) for key, each in value.items() if key not in ("handle", "counter")}
        if "elem" in kept and isinstance(kept["elem"], list):
            kept["elem"] = sorted(kept["elem"], key=lambda each: json.dumps(each, sort_keys=True))
        return kept
    return [_countless(each) for each in value] if isinstance(value, list) else value


def _place(listed: dict[str, Any]) -> tuple[str, ...]:
    ((kind, what),) = listed.items()
    return (kind, *(str(what.get(name, "")) for name in ("family", "table", "chain", "name")))


@pytest.fixture
async def cluster() -> AsyncIterator[Attacked]:
    async with Attacked("hostile", hosts=3, client=False) as cluster:
        create = ("service", "create", "-q", "--detach", "--no-resolve-image")
        for network, *options in (("blue",), ("red",), ("secretive", "--opt", "encrypted")):
            await cluster.swarm("network", "create", "-d", "overlay", "--attachable", *options, network)
        await cluster.swarm("secret", "create", "key", "-", stdin="secret")
        await cluster.swarm(
            *(*create, "--name", "web", "--mode", "global", "-p", "8080:80"),
            *("--network", "blue", "--network", "secretive", "web:lab"),
        )
        for host in cluster.hosts:
            await cluster.swarm(
                *(*create, "--name", f"vault-{host.name}", "--constraint", f"node.hostname=={host.name}"),
                *("--secret", "key", "--network", "red", "web:lab"),
            )
            await cluster.running(f"vault-{host.name}", 1)
        await cluster.running("web", 2)
        yield cluster


@long
async def test_everything_wrong_that_a_worker_can_say(cluster: Attacked) -> None:
    testbed = LabTestbed(cluster, cluster.outside)
    await testbed.prepare_host()
    attack = Attack(testbed, SEED)
    before = await cluster.honest_state()
    warm = 0
    async with cluster.watched():
        await attack.begin()
        for number in range(1, CALLS + 1):
            await attack.say()
            if number == WARM_UP:
                warm = cluster.resident_kib()
            if number % CHUNK == 0:
                await attack.back()
                await cluster.is_well()
        grown = cluster.resident_kib() - warm
        await attack.mallory.hangs_up()
        await testbed.remove_all()

        async def settled() -> bool:
            return await cluster.honest_state() == before

        with contextlib.suppress(AssertionError):
            await cluster.until(settled, SETTLE_SECONDS, pause=0.5)
    print(f"\n{CALLS} by {attack.joined} nodes, {grown} KiB; sessions ended by {sum(attack.ended.values())}")
    print(Counter(attack.ended))
    assert await cluster.honest_state() == before
    assert grown < GROWTH_KIB
    await cluster.is_well()
    box = await cluster.container_of(cluster.hosts[1], "web")
    assert await ask_from(cluster.hosts[1], box, f"http://{cluster.manager_host.ip}:8080/") is not None
