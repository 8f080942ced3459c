"""Why nodes are not ready, below their table."""

from typing import Any

from manager.cli.node.rows import notes, page, rows


def node(name: str, state: str, message: str = "") -> Any:
    return {"ID": f"id-{name}", "Description": {"Hostname": name}, "Status": {"State": state, "Message": message}}


def test_each_reason_is_one_line_that_names_a_few_nodes() -> None:
    old = "the worker speaks protocol 1, this manager protocol 2"
    nodes = [
        node("h10", "down", old),
        *(node(f"h{number}", "down", old) for number in range(2, 6)),
        node("up", "ready"),
        node("lost", "down", "no sign of life"),
        node("", "disconnected", "its agent was stopped"),
    ]
    assert notes(nodes) == [
        "Disconnected: id-: its agent was stopped",
        f"Down: h2, h3, h4 and 2 more: {old}",
    ]


def test_a_cluster_that_is_well_has_none() -> None:
    assert notes([node("a", "ready", "a ready node's message is nobody's trouble"), node("b", "ready")]) == []


def test_a_clock_that_is_off_is_said() -> None:
    off = node("h2", "ready", "its clock is 12 minutes behind the manager's: set the wrong one")
    off["Status"]["ClockOffset"] = -720
    lost = node("h3", "down", "no sign of life")
    lost["Status"]["ClockOffset"] = -720
    assert notes([lost, off]) == ["h2 (id-h2): its clock is 12 minutes behind the manager's: set the wrong one"]


def test_a_manager_leads_answers_or_is_yet_to_come() -> None:
    node_of = {"Leader": "leader", "reachable": "reachable", "unreachable": "unreachable", "unknown": "joining"}
    for said, shown in node_of.items():
        status = {"Leader": True, "Reachability": "reachable"} if said == "Leader" else {"Reachability": said}
        (row,) = rows([{**node("h2", "ready"), "Spec": {}, "ManagerStatus": status}], {})
        assert row["ManagerStatus"] == shown.capitalize()


def test_names_that_are_not_clear_are_said() -> None:
    second = node("web", "ready")
    second["Description"]["HostnameTaken"] = True
    liar = node("honest", "ready")
    liar["Refused"] = [
        {"Field": "NodeDescription.hostname", "Reason": "it says that it is called 'evil'", "Count": 1, "At": ""},
        {"Field": "TaskStatus.addresses", "Reason": "not of interest here", "Count": 9, "At": ""},
    ]
    assert notes([node("web", "ready"), second, liar]) == [
        "honest (id-honest): it says that it is called 'evil'",
        "web (id-web): another node had this host name first: node.hostname==web means that one",
    ]


def test_a_nodes_page_tells_what_was_not_believed() -> None:
    shown = node("web", "ready") | {"Spec": {}, "CreatedAt": "2026-01-31T12:00:00Z"}
    assert "Not believed" not in page(shown)
    shown["Description"]["HostnameTaken"] = True
    shown["Refused"] = [
        {"Field": "Hello.advertise_addr", "Reason": "127.0.0.1 is no", "Count": 3, "At": "2026-01-31T12:00:00Z"}
    ]
    lines = page(shown).splitlines()
    assert "Hostname:              \tweb (another node had it first)" in lines
    place = lines.index("Refused reports of its worker:")
    assert lines[place + 1] == " Hello.advertise_addr: 127.0.0.1 is no (3 times, last at 2026-01-31 12:00:00 +0000 UTC)"


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
