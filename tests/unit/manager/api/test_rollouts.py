"""What is ours beside the engine's API of services: pausing, continuing and aborting updates, and past specs."""

from __future__ import annotations

from typing import Any

import pytest

from common.model import Service
from common.model.service import UpdateStatus
from tests.fakes.api_client import Client
from tests.fakes.api_cluster import ApiCluster
from tests.fakes.world import replace
from tests.unit.manager.api.test_services import spec, update, version


async def stored(cluster: ApiCluster, state: str = "") -> Service:
    """Return the service, put into a state of its update before."""
    (service,) = cluster.store.view.services
    if state:
        changed = replace(service, update_status=UpdateStatus(state=state, started_at=1.0))
        await cluster.store.update(lambda tx: tx.put(changed))
    (service,) = cluster.store.view.services
    return service


async def roll(client: Client, action: str) -> tuple[int, Any]:
    return await client.ask("POST", f"/services/web/rollout?version={await version(client)}&action={action}")


@pytest.mark.parametrize(
    ("before", "action", "after"),
    [
        ("updating", "pause", "paused"),
        ("rollback_started", "pause", "rollback_paused"),
        ("paused", "continue", "updating"),
        ("rollback_paused", "continue", "rollback_started"),
        ("updating", "abort", "rollback_started"),
        ("paused", "abort", "rollback_started"),
    ],
)
async def test_actions(client: Client, cluster: ApiCluster, before: str, action: str, after: str) -> None:
    await client.make("/services/create", spec())
    await update(client, spec(container={"Image": "busybox:2"}))
    changed = await stored(cluster, before)
    assert (await roll(client, action))[0] == 200
    service = await stored(cluster)
    assert service.update_status is not None
    assert service.update_status.state == after
    assert (service.spec == changed.previous_spec) == (action == "abort")
    assert (service.spec_version > changed.spec_version) == (action == "abort")
    assert bool(service.update_status.resumed_at) == (action == "continue")


@pytest.mark.parametrize(
    ("state", "action", "words"),
    [
        ("completed", "pause", "nothing to pause"),
        ("updating", "continue", "nothing to continue"),
        ("rollback_started", "abort", "nothing to abort"),
        ("paused", "stop", "expected one of pause, continue, abort"),
    ],
)
async def test_actions_that_make_no_sense(
    client: Client, cluster: ApiCluster, state: str, action: str, words: str
) -> None:
    await client.make("/services/create", spec())
    await stored(cluster, state)
    code, answer = await roll(client, action)
    assert code == 400
    assert words in answer["message"]


async def test_an_action_on_another_version_is_out_of_sequence(client: Client, cluster: ApiCluster) -> None:
    await client.make("/services/create", spec())
    await stored(cluster, "updating")
    code, answer = await client.ask("POST", "/services/web/rollout?version=1&action=pause")
    assert (code, answer["message"]) == (500, "rpc error: code = Unknown desc = update out of sequence")


async def test_history_and_rollback_to_a_revision(client: Client) -> None:
    await client.make("/services/create", spec())
    for tag in (2, 3):
        await update(client, spec(container={"Image": f"busybox:{tag}"}))
    await update(client, spec(container={"Image": "busybox:3"}, Mode={"Replicated": {"Replicas": 4}}))
    found = await client.get("/services/web/history")
    images = [(each["Revision"], each["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"]) for each in found]
    assert images == [(3, "busybox:3"), (2, "busybox:2"), (1, "busybox")]
    assert "ReplacedAt" not in found[0]
    code, _ = await update(client, spec(), query="&rollback=previous&revision=1")
    assert code == 200
    service = await client.get("/services/web")
    assert service["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"] == "busybox"
    assert service["Spec"]["Mode"] == {"Replicated": {"Replicas": 4}}
    assert service["UpdateStatus"]["State"] == "rollback_started"
    assert (await client.get("/services/web/history"))[0]["Revision"] == 4


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("&rollback=previous&revision=9", "no past revision 9: kept are 1"),
        ("&revision=1", "beside rollback=previous"),
        ("&rollback=previous&revision=x", "expected a number"),
    ],
)
async def test_revisions_that_are_not_there(client: Client, query: str, words: str) -> None:
    await client.make("/services/create", spec())
    await update(client, spec(container={"Image": "busybox:2"}))
    code, answer = await update(client, spec(), query=query)
    assert code == 400
    assert words in answer["message"]
