"""Services that wait for others, in any graph."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.spec.start_order import any_cycle, in_order

NAMES = "abcdef"
GRAPHS = st.dictionaries(st.sampled_from(NAMES), st.frozensets(st.sampled_from(NAMES), max_size=3))


@given(GRAPHS)
def test_a_graph_has_either_a_cycle_or_an_order(graph: dict[str, frozenset[str]]) -> None:
    found = any_cycle(graph)
    if found:
        assert found[0] == found[-1]
        assert all(after in graph[name] for name, after in itertools.pairwise(found))
        with pytest.raises(ValueError, match="a cycle among"):
            in_order(graph)
        return
    order = in_order(graph)
    assert sorted(order) == sorted(graph)
    place = {name: number for number, name in enumerate(order)}
    assert all(place[other] < place[name] for name in graph for other in graph[name] if other in place)
