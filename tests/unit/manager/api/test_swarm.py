"""The swarm through the API, and what is answered outside of one."""

from typing import Any

import pytest
from msgspec.structs import replace

from manager.ca.authority import create_root
from tests.fakes.api_client import Client
from tests.fakes.api_cluster import ApiCluster


async def test_swarm(client: Client) -> None:
    swarm = await client.get("/swarm")
    assert swarm["Spec"] == {
        "Name": "default",
        "Labels": {},
        "Orchestration": {"TaskHistoryRetentionLimit": 5},
        "Raft": {
            "SnapshotInterval": 10000,
            "KeepOldSnapshots": 0,
            "LogEntriesForSlowFollowers": 500,
            "ElectionTick": 10,
            "HeartbeatTick": 1,
        },
        "Dispatcher": {"HeartbeatPeriod": 1000000000},
        "CAConfig": {"NodeCertExpiry": 7776000000000000},
        "TaskDefaults": {},
        "EncryptionConfig": {"AutoLockManagers": False},
    }
    assert swarm["JoinTokens"]["Worker"].startswith("SWMTKN-1-")
    assert (swarm["DefaultAddrPool"], swarm["SubnetSize"]) == (["10.0.0.0/8"], 24)


async def test_swarm_update_merges(client: Client, cluster: ApiCluster) -> None:
    before = cluster.store.view.cluster
    body = {"Name": "default", "orchestration": {"TaskHistoryRetentionLimit": 0}, "Raft": {"KeepOldSnapshots": 0}}
    body["DataPathPort"] = 7777  # no part of a spec: it stays as it was at init
    path = f"/swarm/update?version={before.version.index}&rotateWorkerToken=True"
    assert await client.ask("POST", path, body) == (200, None)
    after = cluster.store.view.cluster
    assert after.spec.orchestration.task_history_retention_limit == 0
    assert after.spec.raft == before.spec.raft
    assert after.data_path_port == before.data_path_port
    assert after.join_tokens.manager == before.join_tokens.manager
    old, new = before.join_tokens.worker, after.join_tokens.worker
    assert old != new
    assert new.startswith(f"SWMTKN-1-{cluster.authority.digest}-")
    assert len(old) == len(new)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"CAConfig": {"NodeCertExpiry": 1}}, 400, "minimum certificate expiry time is: 1h0m0s"),
        ({"CAConfig": {"SigningCACert": "x"}}, 501, "a root of your own is not supported"),
        ({"CAConfig": {"ExternalCAs": [{"URL": "https://x"}]}}, 501, "external authorities are not supported"),
        ({"CAConfig": {"ForceRotate": 1}}, 400, "authority is not in its store"),
        ({"Orchestration": {"TaskHistoryRetentionLimit": -1}}, 400, "TaskHistoryRetentionLimit"),
        ({"Dispatcher": {"HeartbeatPeriod": -1}}, 400, "cannot be a negative duration"),
        ({"Dispatcher": 3}, 400, "Dispatcher: expected object, got int"),
        ([], 400, "expected an object"),
    ],
)
async def test_refused_swarm_updates(client: Client, cluster: ApiCluster, body: Any, status: int, words: str) -> None:
    index = cluster.store.view.cluster.version.index
    answered, message = await client.error("POST", f"/swarm/update?version={index}", body)
    assert words in message
    assert answered == status


async def test_autolock_makes_and_rotates_and_forgets_a_key(client: Client, cluster: ApiCluster) -> None:
    async def update(body: Any, query: str = "") -> str:
        path = f"/swarm/update?version={cluster.store.view.cluster.version.index}{query}"
        assert await client.ask("POST", path, body) == (200, None)
        key = (await client.get("/swarm/unlockkey"))["UnlockKey"]
        assert key == cluster.store.view.cluster.unlock_key
        return str(key)

    assert await update({}, "&rotateManagerUnlockKey=1") == ""
    first = await update({"EncryptionConfig": {"AutoLockManagers": True}})
    assert first.startswith("SWMKEY-1-")
    assert await update({"Orchestration": {"TaskHistoryRetentionLimit": 3}}) == first
    second = await update({}, "&rotateManagerUnlockKey=1")
    assert second.startswith("SWMKEY-1-")
    assert second != first
    assert first not in repr(await client.get("/swarm"))
    assert await update({"EncryptionConfig": {"AutoLockManagers": False}}) == ""


async def test_a_rotation_is_begun_and_shown(client: Client, cluster: ApiCluster) -> None:
    root = create_root("c" * 25, cluster.clock.now())
    record = cluster.store.view.cluster
    await cluster.store.update(
        lambda tx: [tx.put(root), tx.put(replace(record, root_certificate=root.certificate.decode()))]
    )
    before = (await client.get("/swarm"))["TLSInfo"]
    assert {each["Description"]["TLSInfo"]["TrustRoot"] for each in await client.get("/nodes")} == {before["TrustRoot"]}
    path = f"/swarm/update?version={cluster.store.view.cluster.version.index}"
    assert await client.ask("POST", path, {"CAConfig": {"ForceRotate": 1}}) == (200, None)
    after = await client.get("/swarm")
    assert after["RootRotationInProgress"]
    assert after["TLSInfo"]["TrustRoot"] != before["TrustRoot"]
    assert after["TLSInfo"]["CertIssuerPublicKey"] != before["CertIssuerPublicKey"]
    assert {each["Description"]["TLSInfo"]["TrustRoot"] for each in await client.get("/nodes")} == {before["TrustRoot"]}
    status, message = await client.error(
        "POST", f"/swarm/update?version={after['Version']['Index']}", {"CAConfig": {"ForceRotate": 2}}
    )
    assert (status, "is being rotated already" in message) == (400, True)
    assert "PRIVATE" not in repr(after)


async def test_swarm_membership(client: Client, cluster: ApiCluster) -> None:
    already = 'This node is already part of a swarm. Use "docker swarm leave" to leave this swarm and join another one.'
    status, message = await client.error("POST", "/swarm/init", {})
    assert status == 503
    assert message.startswith(already)
    assert "swarm-manager join-token worker" in message
    status, message = await client.error("POST", "/swarm/join", {"RemoteAddrs": ["1.2.3.4:2377"]})
    assert status == 503
    assert message.startswith(already)
    assert "swarm-worker join" in message
    status, message = await client.error("POST", "/swarm/leave")
    assert status == 503
    assert "participating as a manager" in message
    assert "swarm-worker leave" in message
    assert not cluster.left
    for query in ("", "&cluster=", f"&cluster={'x' * 25}"):
        status, message = await client.error("POST", f"/swarm/leave?force=true{query}")
        assert (status, "run 'swarm-manager leave --force'" in message) == (409, True)
    assert not cluster.left, "a test's tear-down ends no cluster"
    assert await client.ask("POST", f"/swarm/leave?force=true&cluster={'c' * 25}") == (200, None)
    assert cluster.left
    assert await client.get("/swarm/unlockkey") == {"UnlockKey": ""}
    assert await client.error("POST", "/swarm/unlock", {"UnlockKey": "x"}) == (409, "swarm is not locked")


async def test_outside_a_swarm(client: Client, cluster: ApiCluster) -> None:
    await cluster.store.update(lambda tx: tx.remove(tx.cluster))
    for method, path, body in [
        ("GET", "/swarm", None),
        ("GET", "/nodes", None),
        ("GET", "/services", None),
        ("GET", "/services/x", None),
        ("GET", "/tasks", None),
        ("GET", "/secrets", None),
        ("POST", "/configs/create", {"Name": "x", "Data": "eA=="}),
        ("POST", "/services/create", {"Name": "x"}),
        ("GET", "/swarm/unlockkey", None),
    ]:
        status, message = await client.error(method, path, body)
        assert (status, message[:35]) == (503, "This node is not a swarm manager. R"), path
    assert (await client.get("/info"))["Swarm"]["LocalNodeState"] == "inactive"
