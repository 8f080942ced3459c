"""The manager that conducts a move is killed, and another one leads: the move ends, and no write is lost."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest

from tests.e2e.ci import long
from tests.e2e.managers import SOCKET_PATH, Managers
from tests.lab import Host

pytestmark = [long, pytest.mark.alone, pytest.mark.timeout(340)]

# Counts, and notes outside of the volume what is durable. Its end takes a moment, so that there is a last pass to meet.
WRITER = """
    trap 'sleep 2; exit 0' TERM
    n=$(cat /data/n /acks/n 2> /dev/null | sort -n | tail -n 1); n=${n:-0}
    while :; do n=$((n + 1)); echo $n >> /data/n && sync && echo $n >> /acks/n; sleep 0.05; done
"""
MIB = 1 << 20


class Moving(Managers):
    """Three managers, and a service whose data moves between their hosts."""

    async def transfers(self, host: Host) -> list[dict[str, Any]]:
        said = await host.run("curl", "-sf", "--unix-socket", SOCKET_PATH, "http://m/swarm/transfers", check=False)
        return json.loads(said.stdout) if said.returncode == 0 else []

    async def one_runs(self, host: Host) -> Host:
        """Return the host of the service's one task, as a manager tells, when it runs."""
        found: list[Host] = []

        async def runs() -> bool:
            shown = await self.docker(
                host,
                "service",
                "ps",
                "db",
                "--filter",
                "desired-state=running",
                "--format",
                "{{.Node}} {{.CurrentState}}",
            )
            lines = [line.split() for line in shown.stdout.splitlines()]
            found[:] = [each for each in self.hosts for line in lines if line[:2] == [each.name, "Running"]]
            return len(lines) == len(found) == 1

        await self.until(runs, 90, pause=0.2)
        return found[0]


async def test_the_next_leader_ends_a_move() -> None:
    async with Moving("movers", 3) as cluster:
        acks = cluster.lab.workdir / "acks"
        acks.mkdir()
        mounts = ("--mount", "source=numbers,target=/data", "--mount", f"type=bind,source={acks},target=/acks")
        create = ("service", "create", "-d", "--no-resolve-image", "--name", "db")
        await cluster.docker(cluster.manager_host, *create, *mounts, "busybox:lab", "sh", "-c", WRITER)
        (await _folder(await cluster.one_runs(cluster.manager_host)) / "large").write_bytes(os.urandom(12 * MIB))
        leader = await move_and_kill(cluster, "copying", acks / "n")
        await cluster.start_manager(leader)
        await cluster.all_reachable()
        await move_and_kill(cluster, "last", acks / "n")


async def move_and_kill(cluster: Moving, phase: str, acks: Path) -> Host:
    """Begin a move, and kill the manager that leads in this phase of it; look what has become of the data.

    Returns the host of the one that was killed.
    """
    leader = await cluster.leader(cluster.manager_host)
    asked, other = [host for host in cluster.hosts if host is not leader]
    source = await cluster.one_runs(asked)
    target = other if source is not other else asked
    before = {each["ID"] for each in await cluster.transfers(asked)}
    folder = await _folder(source)
    move = {"Node": target.name, "Limit": 4 * MIB}
    await asked.run(
        *("curl", "-sf", "--unix-socket", SOCKET_PATH, "-X", "POST", "-d", json.dumps(move)),
        *("-H", "Content-Type: application/json", f"http://m/swarm/volumes/{source.name}/numbers/move"),
    )

    async def ours() -> list[dict[str, Any]]:
        return [each for each in await cluster.transfers(asked) if each["ID"] not in before]

    while not any(each["Phase"] == phase for each in await ours()):
        await asyncio.sleep(0.02)
    await cluster.signal_manager(leader, SIGKILL)

    async def ended() -> bool:
        moves = await ours()
        return bool(moves) and all(each["Phase"] in ("done", "failed") for each in moves)

    await cluster.until(ended, 90, pause=0.2)
    (moved,) = await ours()
    home = await cluster.one_runs(asked)
    print(phase, moved)
    assert (moved["Phase"], home) in (("done", target), ("failed", source)), moved
    known = _numbers(acks)

    async def written() -> bool:
        return len(_numbers(acks)) > len(known) + 3

    await cluster.until(written, 60, pause=0.2)
    acknowledged = _numbers(acks)
    kept = _numbers(await _folder(home) / "n")
    assert sorted(set(acknowledged)) == acknowledged
    assert not set(acknowledged) - set(kept)
    assert (await _folder(home) / "large").read_bytes() == (folder / "large").read_bytes()
    return leader


async def _folder(host: Host) -> Path:
    return Path((await host.docker("volume", "inspect", "-f", "{{.Mountpoint}}", "numbers")).strip())


def _numbers(path: Path) -> list[int]:
    """Read whole lines: one may be half written now."""
    return [int(line) for line in path.read_text().split("\n")[:-1]] if path.exists() else []
