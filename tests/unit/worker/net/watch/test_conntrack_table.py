"""The warning of a full conntrack table."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.net.watch.conntrack_table import ConntrackTable


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "net/netfilter").mkdir(parents=True)
    return tmp_path


def fill(proc: Path, count: int, most: int = 1000) -> None:
    (proc / "net/netfilter/nf_conntrack_count").write_text(f"{count}\n")
    (proc / "net/netfilter/nf_conntrack_max").write_text(f"{most}\n")


def test_it_is_full_from_90_percent_on_until_it_is_below_80(proc: Path):
    table = ConntrackTable(proc)
    said = []
    for count in (100, 900, 901, 850, 800, 799, 850):
        fill(proc, count)
        table.check()
        said.append(bool(table.lacks()))
    assert said == [False, False, True, True, True, False, False]


def test_it_is_told_with_what_to_do_and_logged_once(proc: Path, caplog: pytest.LogCaptureFixture):
    table = ConntrackTable(proc)
    for count in (950, 960):
        fill(proc, count)
        table.check()
    (sentence,) = table.lacks()
    assert "nf_conntrack_max (now 1000)" in sentence
    assert caplog.messages == [sentence]
    fill(proc, 960, most=4000)
    table.check()
    assert table.lacks() == ()


def test_a_kernel_without_the_table_has_no_full_one(tmp_path: Path):
    table = ConntrackTable(tmp_path)
    table.check()
    assert table.lacks() == ()
