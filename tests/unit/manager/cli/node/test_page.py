"""What `node inspect --pretty` shows of a node."""

from typing import Any

from manager.cli.node.page import page

_NODE: dict[str, Any] = {
    "ID": "n1",
    "CreatedAt": "2026-11-30T12:00:00Z",
    "Spec": {"Availability": "active"},
    "Description": {"Hostname": "web1"},
    "Status": {"State": "ready"},
}


def test_what_a_host_lacks_is_a_list_of_sentences() -> None:
    assert "Lacks:" not in page(_NODE)
    description = {"Hostname": "web1", "Lacks": ["nft is not installed", "no room in /var"]}
    lines = page({**_NODE, "Description": description}).splitlines()
    at = lines.index("Lacks:")
    assert lines[at + 1 :] == [" - nft is not installed", " - no room in /var"]
