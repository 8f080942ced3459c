"""What is written has a format that all managers can read, and who cannot is told what to install."""

import pytest

from manager.store.levels import OLDEST_LEVEL, UnknownLevel, check_level, check_levels, common_level


def test_the_common_level_is_what_the_least_knows() -> None:
    assert common_level([3, 2, 3]) == 2
    assert common_level([3, None]) == OLDEST_LEVEL
    assert common_level([]) == OLDEST_LEVEL


def test_a_release_reads_what_it_knows() -> None:
    check_level(2, newest=2)
    with pytest.raises(UnknownLevel, match=r"the store has level 3, and release .* supports levels up to 2"):
        check_level(3, newest=2)


def test_a_manager_shares_a_store_whose_level_it_knows() -> None:
    check_levels((1, 2), 2, "node m")
    with pytest.raises(UnknownLevel, match="node m supports store levels up to 2"):
        check_levels((1, 2), 3, "node m")
    with pytest.raises(UnknownLevel, match="from 3 on, and the store has level 2: first install a release in between"):
        check_levels((3, 4), 2, "node m")
