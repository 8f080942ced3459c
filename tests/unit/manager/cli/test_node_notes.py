"""Why nodes are not ready, below their table."""

from typing import Any

from manager.cli.node_rows import notes


def node(name: str, state: str, message: str = "") -> Any:
    return {"ID": f"id-{name}", "Description": {"Hostname": name}, "Status": {"State": state, "Message": message}}


def test_each_reason_is_one_line_that_names_a_few_nodes() -> None:
    old = "the worker speaks protocol 1, this manager protocol 2"
    nodes = [
        node("h10", "down", old),
        *(node(f"h{number}", "down", old) for number in range(2, 6)),
        node("up", "ready"),
        node("lost", "down", "no sign of life"),
        node("", "disconnected", "its agent was stopped on purpose"),
    ]
    assert notes(nodes) == [
        "Disconnected: id-: its agent was stopped on purpose",
        f"Down: h2, h3, h4 and 2 more: {old}",
    ]


def test_a_cluster_that_is_well_has_none() -> None:
    assert notes([node("a", "ready", "a ready node's message is nobody's trouble"), node("b", "ready")]) == []
