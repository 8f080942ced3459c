"""What `swarm-manager status` makes of the API's answers, and what settings of the cluster become."""

from typing import Any

from click.testing import CliRunner

from manager.cli import cli
from manager.cli.cluster.commands import changed_settings, describe


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


def test_settings_that_are_given_change_and_all_others_stay() -> None:
    spec = {
        "Name": "default",
        "Labels": {"a": "b"},
        "Orchestration": {"TaskHistoryRetentionLimit": 5},
        "CAConfig": {"NodeCertExpiry": 7, "ForceRotate": 2},
    }
    given = {"task_history_limit": 0, "cert_expiry": 9, "dispatcher_heartbeat": 4, "autolock": False, "strategy": None}
    changed = changed_settings(spec, {**given, "transfer_limit": "5MB/s"})
    assert changed == {
        "Name": "default",
        "Labels": {"a": "b", "swarm.x.transfer-limit": "5MB/s"},
        "Orchestration": {"TaskHistoryRetentionLimit": 0},
        "CAConfig": {"NodeCertExpiry": 9, "ForceRotate": 2},
        "Dispatcher": {"HeartbeatPeriod": 4},
        "EncryptionConfig": {"AutoLockManagers": False},
    }


def test_an_update_of_nothing_shows_what_there_is_to_set() -> None:
    result = CliRunner().invoke(cli, ["-H", "unix:///no/manager", "cluster", "update"])
    assert (result.exit_code, "--task-history-limit" in result.stdout) == (0, True)
