"""What a folder had when it was last looked at, on disk."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ResourceExhausted
from worker.volumes.copy.entries import SEPARATOR
from worker.volumes.copy.index import Index, Row, TreeDigest, merge


def row(path: bytes, key: bytes = b"k", record: bytes = b"r") -> Row:
    return Row(path, key, record, b"blocks")


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    found = Index(tmp_path / "index", b"me")
    yield found
    found.close()


def paths(index: Index) -> list[bytes]:
    return [each.path for each in index.rows()]


def test_what_was_put_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    first = Index(tmp_path / "index", b"me")
    first.put(row(b"b"))
    first.put(row(b"a"))
    first.close()
    again = Index(tmp_path / "index", b"me")
    assert paths(again) == [b"a", b"b"]
    assert again.get(b"a") == row(b"a")
    assert again.get(b"c") is None
    again.close()


@pytest.mark.parametrize("content", [None, b"not a database", b""])
def test_an_index_that_was_made_for_another_is_begun_anew(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "index"
    if content is None:
        first = Index(file, b"other")
        first.put(row(b"a"))
        first.close()
    else:
        file.write_bytes(content)
    again = Index(file, b"me")
    assert paths(again) == []
    again.put(row(b"b"))
    again.close()


def test_an_index_of_an_earlier_format_is_begun_anew(tmp_path: Path) -> None:
    Index(tmp_path / "index", b"me").close()
    with sqlite3.connect(tmp_path / "index") as database:
        database.execute("INSERT INTO files VALUES (x'61', x'', x'', x'')")
        database.execute("PRAGMA user_version = 1")
    database.close()
    again = Index(tmp_path / "index", b"me")
    assert paths(again) == []
    again.put(row(b"b"))
    again.close()


def test_a_folder_goes_with_what_is_in_it(index: Index) -> None:
    inside = [SEPARATOR.join(names) for names in ((b"a", b"b"), (b"a", b"b", b"c"))]
    beside = [b"a.txt", b"ab", b"b"]
    for path in (b"a", *inside, *beside):
        index.put(row(path))
    index.remove(b"a")
    assert paths(index) == beside


def test_what_is_distrusted_comes_from_the_inside_out(index: Index) -> None:
    inner = SEPARATOR.join((b"a", b"b"))
    for path in (b"a", inner, b"c"):
        index.put(row(path))
    index.distrust(b"a")
    index.distrust(inner)
    assert [each.path for each in index.distrusted()] == [inner, b"a"]
    index.distrust_all()
    assert [each.path for each in index.distrusted()] == [b"c", inner, b"a"]


def test_more_than_a_page_is_walked_in_order(index: Index) -> None:
    every = [b"%05d" % number for number in range(2500)]
    for path in reversed(every):
        index.put(row(path))
    assert paths(index) == every
    index.distrust_all()
    assert [each.path for each in index.distrusted()] == every[::-1]


def test_rows_that_were_passed_may_be_changed_meanwhile(index: Index) -> None:
    for number in range(1500):
        index.put(row(b"%05d" % number))
    seen = 0
    for each in index.rows():
        index.put(row(each.path, b"other"))
        seen += 1
    assert seen == 1500
    first = index.get(b"00000")
    assert first is not None
    assert first.key == b"other"


def test_what_the_other_side_has_takes_the_place_of_all(index: Index) -> None:
    for path in (b"a", b"b", b"c"):
        index.put(row(path))
    index.begin_replacing()
    index.replace(b"a", b"r", b"x")
    index.replace(b"b", b"other", b"x")
    index.end_replacing()
    assert [(each.path, each.key) for each in index.rows()] == [(b"a", b"k"), (b"b", b"")]


def test_the_digest_is_that_of_paths_and_records_in_order(index: Index) -> None:
    whole = TreeDigest()
    for path in (b"a", b"b"):
        whole.add(path, b"r")
        index.put(row(path, key=b"whatever"))
    assert index.digest() == whole.digest()
    index.put(row(b"b", record=b"s"))
    assert index.digest() != whole.digest()


def test_large_rows_do_not_wait_in_memory(tmp_path: Path, index: Index) -> None:
    """A file that has nothing but holes has a frame of some bytes, and hundreds of megabytes of digests."""
    for number in range(3):
        index.put(Row(b"%d" % number, b"k", b"r", bytes(20 * 1024 * 1024)))
    with sqlite3.connect(tmp_path / "index") as other:
        assert other.execute("SELECT count(*) FROM files").fetchone() == (3,)
    pages: list[str] = []
    index._database.set_trace_callback(pages.append)
    assert paths(index) == [b"0", b"1", b"2"]
    assert len(pages) == 4


def test_an_index_does_not_fill_its_disk(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    index.put(row(b"a"))
    full = SimpleNamespace(f_frsize=4096, f_blocks=1000, f_bavail=40, f_files=0, f_favail=0)
    monkeypatch.setattr(os, "statvfs", lambda _: full)
    with pytest.raises(ResourceExhausted, match="too little room for the index of the copy"):
        index.flush()
    monkeypatch.undo()


PATHS = st.sets(st.binary(min_size=1, max_size=3), max_size=8)


@given(PATHS, PATHS)
def test_each_path_comes_once_with_what_there_is_of_it(here: set[bytes], there: set[bytes]) -> None:
    walked: Any = [SimpleNamespace(path=path) for path in sorted(here)]
    rows = [Row(path, b"", b"", b"") for path in sorted(there)]
    seen = []
    for found, row in merge(walked, rows):
        path = found.path if found is not None else row.path if row is not None else b""
        assert (found is not None, row is not None) == (path in here, path in there)
        seen.append(path)
    assert seen == sorted(here | there)
