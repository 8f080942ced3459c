"""A folder and its index, side by side."""

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from worker.volumes.copy.index import Row
from worker.volumes.copy.merge import merge

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
