"""The kernel's table of connections: when it is full; and which ports are listened on, asked of a real kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.net.watch.connections import Connections


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "net/netfilter").mkdir(parents=True)
    return tmp_path


def fill(proc: Path, count: int, most: int = 1000) -> None:
    (proc / "net/netfilter/nf_conntrack_count").write_text(f"{count}\n")
    (proc / "net/netfilter/nf_conntrack_max").write_text(f"{most}\n")


def test_it_is_full_from_90_percent_on_until_it_is_below_80(table: Path):
    connections = Connections(table)
    said = []
    for count in (100, 900, 901, 850, 800, 799, 850):
        fill(table, count)
        connections.check()
        said.append(bool(connections.lacks()))
    assert said == [False, False, True, True, True, False, False]


def test_it_is_told_with_what_to_do_and_logged_once(table: Path, caplog: pytest.LogCaptureFixture):
    connections = Connections(table)
    for count in (950, 960):
        fill(table, count)
        connections.check()
    (sentence,) = connections.lacks()
    assert "nf_conntrack_max (now 1000)" in sentence
    assert caplog.messages == [sentence]
    fill(table, 960, most=4000)
    connections.check()
    assert connections.lacks() == ()


def test_a_kernel_without_the_table_has_no_full_one(tmp_path: Path):
    connections = Connections(tmp_path)
    connections.check()
    assert connections.lacks() == ()
