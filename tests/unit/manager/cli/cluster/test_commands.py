"""What `swarm-manager status` makes of the API's answers."""

from typing import Any

from manager.cli.cluster.commands import describe


def node(name: str, **manager_status: Any) -> dict[str, Any]:
    found = {"ID": f"id-{name}", "Description": {"Hostname": name}, "Status": {"State": "ready"}}
    return found | ({"ManagerStatus": manager_status} if manager_status else {})


def lines(swarm: dict[str, Any], *nodes: dict[str, Any]) -> dict[str, str]:
    return dict(describe("unix:///s", {"Version": "1", "ApiVersion": "1.51"}, swarm, list(nodes)))


def test_one_manager_is_counted_and_not_listed() -> None:
    said = lines({}, node("a", Leader=True, Reachability="reachable"), node("w"))
    assert said["Nodes"] == "2 (2 ready; 1 manager)"
    assert {"Managers", "Trouble"}.isdisjoint(said)


def test_of_several_managers_each_is_named_with_what_it_is() -> None:
    managers = (
        node("a", Leader=True, Reachability="reachable"),
        node("b", Reachability="reachable"),
        node("c", Reachability="unreachable"),
    )
    said = lines({"Error": "no change can be made"}, *managers, node("w"))
    assert said["Managers"] == "a (leader), b (reachable), c (unreachable)"
    assert said["Trouble"] == "no change can be made"
