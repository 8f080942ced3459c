"""What files say of a manager's health."""

from pathlib import Path

from manager.metrics.facts import changed_at, sizes


def test_sizes_of_what_is_there_are_added(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "b").write_bytes(b"4567")
    assert sizes([tmp_path / "a", tmp_path / "b", tmp_path / "missing"]) == 7
    assert sizes([]) == 0


def test_a_file_that_is_not_there_was_never_written(tmp_path: Path) -> None:
    assert changed_at(tmp_path / "missing") == 0.0
    (tmp_path / "a").touch()
    assert changed_at(tmp_path / "a") == (tmp_path / "a").stat().st_mtime
