"""`node stats`: shares of what a host has, and dashes where its worker does not measure it."""

import pytest

from manager.cli.failures import CommandFailed
from manager.cli.node.stats import STATS, rows

W1 = {
    "ID": "n1",
    "Name": "w1",
    "State": "ready",
    "Tasks": {"running": 3, "failed": 1},
    "Failures": 1,
    "Cores": 4.0,
    "ReservedCores": 1.0,
    "Memory": 8 << 30,
    "ReservedMemory": 2 << 30,
    "CPU": 0.375,
    "MemoryUsed": 3 << 30,
    "Disk": 100,
    "DiskUsed": 71,
    "Pressure": 0.02,
}
W10 = {"ID": "n2", "Name": "w10", "State": "down"}


def test_hosts_are_shown_by_name():
    text = STATS.render(rows([W10, W1], ()))
    assert [" ".join(line.split()) for line in text.splitlines()] == [
        "NAME TASKS CPU MEM OF DISK PRESSURE RESERVED FAILURES/1H",
        "w1 3 38 % 3GiB 8GiB 71 % 2 % 25 % / 25 % 1",
        "w10 0 -- -- 0B -- -- -- / -- 0",
    ]


def test_a_node_that_is_not_there_is_named():
    assert [row["ID"] for row in rows([W1, W10], ("n2",))] == ["n2"]
    short = {**W10, "ID": "n" * 12}
    assert rows([W1, short], ("n" * 25,)) == rows([W1, short], ("w10",))
    with pytest.raises(CommandFailed, match="no such node: w9"):
        rows([W1], ("w1", "w9"))
