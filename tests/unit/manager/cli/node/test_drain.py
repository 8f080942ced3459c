"""`node drain --move-volumes`: what is paused before what is moved, and what is said where data cannot be moved."""

from __future__ import annotations

from typing import Any

import pytest

from manager.cli.failures import CommandFailed
from manager.cli.node.drain import drain

ADVICE = (
    "not drained, but given no new tasks: h2: run this again, with --stop-stateful to stop these tasks, "
    "or swarm-manager node activate h2"
)


class Cluster:
    """A client of a manager: `told` has the changes of nodes and the moves that were asked for; `phases` by volume."""

    def __init__(self, target: str = "h3", **phases: str) -> None:
        self.told: list[str] = []
        self._target = target
        self._phases = phases

    async def get(self, path: str) -> Any:
        if path == "/swarm/transfers":
            return [self._move(name) for name in self._phases]
        return {"ID": path.rpartition("/")[2], "Version": {"Index": 1}, "Spec": {}}

    async def post(self, path: str, body: Any = None, _query: Any = None) -> Any:
        self.told.append(f"{path} {body['Availability']}" if body else path)
        return [self._move(name) for name in self._phases]

    def _move(self, name: str) -> dict[str, Any]:
        way = {
            "ID": name,
            "Kind": "move",
            "Volumes": [name],
            "From": "h2",
            "To": self._target,
            "Name": name,
            "Hold": "",
        }
        return {**way, "Phase": self._phases[name], "Error": "it is full", "Note": "", "Downtime": 1.0}


async def run(cluster: Cluster, *nodes: str, stop_stateful: bool = False) -> None:
    more = {"wait": False, "deadline": None, "stop_stateful": stop_stateful, "move_volumes": True}
    await drain.callback.__wrapped__(cluster, nodes=nodes, **more)  # type: ignore[union-attr]


async def test_all_nodes_are_paused_before_any_data_moves(capsys: pytest.CaptureFixture[str]) -> None:
    cluster = Cluster(data="done")
    await run(cluster, "h1", "h2")
    moves = ["/nodes/h1/volumes/move", "/nodes/h2/volumes/move"]
    assert cluster.told[:2] == ["/nodes/h1/update pause", "/nodes/h2/update pause"]
    assert cluster.told[2:4] == moves
    assert cluster.told[4:] == ["/nodes/h1/update drain", "/nodes/h2/update drain"]
    told = capsys.readouterr().out.splitlines()
    assert told[:2] == ["moving data from h2 to h3", "moved; its tasks were stopped for 1.0 s"]


async def test_a_move_that_fails_keeps_no_other_from_being_told(capsys: pytest.CaptureFixture[str]) -> None:
    cluster = Cluster(data="failed", files="done")
    with pytest.raises(CommandFailed) as failed:
        await run(cluster, "h2")
    assert failed.value.message.splitlines() == [
        "data is not moved: it is full; its tasks go on running on h2",
        ADVICE,
    ]
    assert "moving files from h2 to h3" in capsys.readouterr().out
    assert "/nodes/h2/update drain" not in cluster.told


async def test_what_no_node_can_take_stops_if_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    cluster = Cluster(target="", data="failed")
    await run(cluster, "h2", stop_stateful=True)
    assert cluster.told[-1] == "/nodes/h2/update drain"
    told = capsys.readouterr()
    assert "moving" not in told.out
    assert told.err == "data is not moved: it is full; its tasks go on running on h2\n"
