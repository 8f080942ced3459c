"""What `volume transfers` lists of moves and copies."""

from __future__ import annotations

from typing import Any

import pytest

from manager.cli.network.volume_transfers import TRANSFERS, rows


def transfer(transfer_id: str, **more: Any) -> dict[str, Any]:
    way = {"ID": transfer_id, "Kind": "move", "Volumes": ["data", "files"], "From": "h1", "To": "h2", "Name": "data"}
    return {**way, "Hold": "", "Phase": "copying", "Error": "", "Note": "", "Downtime": 0.0, **more}


def test_what_is_under_way_comes_first() -> None:
    found = rows([transfer("a", Phase="done"), transfer("b"), transfer("c", Phase="failed"), transfer("d")])
    assert TRANSFERS.render(found, quiet=True) == "b\nd\na\nc\n"


@pytest.mark.parametrize(
    ("how", "cells"),
    [
        ({"Done": 1, "Left": 1, "Seconds": 2.0}, "move data, files h1 h2 copying: 50 % of 2B, 2 seconds left"),
        ({"Phase": "last"}, "move data, files h1 h2 the last pass: its tasks are stopped"),
        ({"Phase": "last", "Hold": "pause"}, "move data, files h1 h2 the last pass: its tasks are paused"),
        ({"Phase": "last", "Hold": "live"}, "move data, files h1 h2 the last pass"),
        ({"Phase": "done"}, "move data, files h1 h2 moved"),
        ({"Phase": "done", "Note": "the old copy stays"}, "move data, files h1 h2 moved: the old copy stays"),
        ({"Phase": "failed", "Error": "no room", "To": ""}, "move data, files h1  failed: no room"),
        ({"Kind": "copy", "Volumes": ["data"], "Name": "b", "Phase": "done"}, "copy data h1 h2/b copied"),
    ],
)
def test_a_row_says_how_far_it_is_or_how_it_ended(how: dict[str, Any], cells: str) -> None:
    (row,) = rows([transfer("t", **how)])
    assert TRANSFERS.render([row], "{{.Kind}} {{.Volumes}} {{.From}} {{.To}} {{.State}}") == f"{cells}\n"
