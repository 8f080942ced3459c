"""The garbage collector is spared, and works again after that."""

from __future__ import annotations

import gc

import pytest

from common.process.memory import without_collecting


def test_nothing_is_collected_meanwhile() -> None:
    with without_collecting():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_is_collected_again_after_an_error() -> None:
    with pytest.raises(ValueError, match="bad"), without_collecting():
        raise ValueError("bad")
    assert gc.isenabled()


def test_who_wants_none_collected_is_left_alone() -> None:
    with without_collecting():
        with without_collecting():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
