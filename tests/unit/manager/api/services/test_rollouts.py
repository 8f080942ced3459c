"""What is ours beside the engine's API of services: pausing, continuing and aborting updates, and past specs."""

from __future__ import annotations

from typing import Any

import pytest

from common.model import Service
from common.model.update import (
    Action,
    Awaited,
    CanaryHolds,
    Condition,
    Obstacle,
    Requested,
    TasksFailed,
    UpdateProgress,
    UpdateState,
    UpdateStatus,
)
from manager.cli import codec
from tests.fakes.api_client import Client
from tests.fakes.api_cluster import ApiCluster
from tests.fakes.world import replace
from tests.unit.manager.api.services.test_routes import spec, update, version


async def stored(cluster: ApiCluster, state: str = "") -> Service:
    """Return the service, put into a state of its update before."""
    (service,) = cluster.store.view.services
    if state:
        changed = replace(service, update_status=UpdateStatus(state=UpdateState(state), started_at=1.0))
        await cluster.store.update(lambda tx: tx.put(changed))
    (service,) = cluster.store.view.services
    return service


async def roll(client: Client, action: str) -> tuple[int, Any]:
    return await client.ask("POST", f"/services/web/rollout?version={await version(client)}&action={action}")


@pytest.mark.parametrize(
    ("before", "promoted", "kept"),
    [
        ("updating", True, True),
        ("completed", False, True),
        ("rollback_started", False, True),
        ("updating", False, False),
        ("paused", False, False),
    ],
)
async def test_scaling_keeps_only_that_an_update_is_beyond_its_canary(
    client: Client, cluster: ApiCluster, before: str, promoted: bool, kept: bool
) -> None:
    labels = {"swarm.x.canary": "1"}
    await client.make("/services/create", spec(Labels=labels))
    service = await stored(cluster)
    status = UpdateStatus(state=UpdateState(before), promoted=promoted, started_at=1.0)
    await cluster.store.update(lambda tx: tx.put(replace(service, update_status=status)))
    await update(client, spec(Labels=labels, Mode={"Replicated": {"Replicas": 5}}))
    assert (await stored(cluster)).update_status == (UpdateStatus(promoted=True) if kept else None)
    assert "UpdateStatus" not in await client.get("/services/web")
    await update(client, spec(Labels=labels, container={"Image": "busybox:2"}))
    assert (await stored(cluster)).update_status is None, "another update has its canary"


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


async def test_who_paused_an_update_is_told(client: Client, cluster: ApiCluster) -> None:
    await client.make("/services/create", spec())
    await stored(cluster, "updating")
    assert (await roll(client, "pause"))[0] == 200
    status = (await client.get("/services/web"))["UpdateStatus"]
    reason = status["Reason"]
    assert (reason["Kind"], reason["Action"], bool(reason["By"])) == ("requested", "pause", True)
    assert status["Message"] == "paused on request"


@pytest.mark.parametrize(
    ("fields", "promoted"),
    [
        ({"reason": Requested(action=Action.PAUSE)}, False),
        ({"reason": CanaryHolds(updated=1, of=2), "held_at": 5.0}, True),
        ({"reason": TasksFailed(task="t", failed=1, of=2)}, True),
        ({"message": "paused on request"}, False),
        ({"message": "canary: 1 of 2 updated, holding", "held_at": 5.0}, True),
    ],
    ids=["paused", "held", "failed", "paused before there were reasons", "held before there were reasons"],
)
async def test_resuming_passes_the_canary_unless_paused_before_it(
    client: Client, cluster: ApiCluster, fields: dict[str, Any], promoted: bool
) -> None:
    await client.make("/services/create", spec(Labels={"swarm.x.canary": "1"}))
    service = await stored(cluster)
    halted = UpdateStatus(state=UpdateState.PAUSED, started_at=1.0, **fields)
    await cluster.store.update(lambda tx: tx.put(replace(service, update_status=halted)))
    assert (await roll(client, "continue"))[0] == 200
    status = (await stored(cluster)).update_status
    assert status is not None
    assert (status.promoted, status.reason, status.message, status.held_at) == (promoted, None, "", 0.0)


async def test_how_far_an_update_is_and_what_it_is_told_by_is_data(client: Client, cluster: ApiCluster) -> None:
    await client.make("/services/create", spec())
    service = await stored(cluster)
    waits = (Awaited(service="db", condition=Condition.HEALTHY, obstacle=Obstacle.MISSING),)
    await cluster.store.update(lambda tx: tx.put(replace(service, waits_for=waits)))
    status = (await client.get("/services/web"))["UpdateStatus"]
    named = [{"Service": "db", "Condition": "healthy", "Obstacle": "missing"}]
    assert status == {
        "State": "updating",
        "Message": "waits for db, which does not exist,",
        "Remark": {"Kind": "depends-on", "Services": named},
        "Progress": {"Done": 0, "Of": 1, "Batch": 0, "WaitsFor": named},
    }
    failed = UpdateStatus(
        state=UpdateState.ROLLBACK_PAUSED,
        started_at=1.0,
        reason=TasksFailed(task="t", failed=1, of=2, error="exit 1"),
        returns_to=3,
    )
    await cluster.store.update(lambda tx: tx.put(replace(service, update_status=failed)))
    (found,) = await client.get("/services")
    assert found["UpdateStatus"] == {
        "State": "rollback_paused",
        "StartedAt": "1970-01-01T00:00:01.000000Z",
        "Message": "rollback paused due to failure or early termination of task t: exit 1",
        "Reason": {"Kind": "tasks-failed", "Task": "t", "Failed": 1, "Of": 2, "Error": "exit 1"},
        "ReturnsTo": 3,
        "Progress": {"Done": 0, "Of": 1, "Batch": 0},
    }
    assert codec.service(found).update_status == replace(
        failed, message=found["UpdateStatus"]["Message"], progress=UpdateProgress(of=1)
    ), "the command line has the same"


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


@pytest.mark.parametrize("path", ["rollout?action=abort&", "update?rollback=previous&"])
async def test_a_rollback_to_a_port_taken_meanwhile_is_refused(client: Client, cluster: ApiCluster, path: str) -> None:
    """Both services were listed with *:8080->80/tcp once."""
    at = {port: {"Ports": [{"TargetPort": 80, "PublishedPort": port}]} for port in (8080, 9090)}
    await client.make("/services/create", spec(EndpointSpec=at[8080]))
    await update(client, spec(container={"Image": "busybox:2"}, EndpointSpec=at[9090]))
    await client.make("/services/create", spec("other", EndpointSpec=at[8080]))
    (web,) = cluster.store.view.services.named("web")
    status = UpdateStatus(state=UpdateState.UPDATING, started_at=1.0)
    await cluster.store.update(lambda tx: tx.put(replace(web, update_status=status)))
    code, answer = await client.ask("POST", f"/services/web/{path}version={await version(client)}", spec())
    assert code == 400
    assert "port '8080' is already in use by service 'other'" in answer["message"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("&rollback=previous&revision=9", "no past revision 9: it has 1"),
        ("&revision=1", "beside rollback=previous"),
        ("&rollback=previous&revision=x", "expected a number"),
        ("&rollback=previous&revision=" + "9" * 5000, "expected a number"),
    ],
)
async def test_revisions_that_are_not_there(client: Client, query: str, words: str) -> None:
    await client.make("/services/create", spec())
    await update(client, spec(container={"Image": "busybox:2"}))
    code, answer = await update(client, spec(), query=query)
    assert code == 400
    assert words in answer["message"]


def job(image: str = "busybox", force: int = 0, **labels: str) -> Any:
    said = {f"swarm.x.{name.replace('_', '-')}": text for name, text in labels.items()}
    template = {"ForceUpdate": force}
    return spec(container={"Image": image}, template=template, Mode={"ReplicatedJob": {}}, Labels=said)


async def test_a_job_is_executed_when_it_is_made_or_changed(client: Client) -> None:
    await client.make("/services/create", job())
    made = await client.get("/services/web")
    assert made["Spec"]["Mode"] == {"ReplicatedJob": {"MaxConcurrent": 1, "TotalCompletions": 1}}
    assert made["JobStatus"]["JobIteration"] == {}
    assert "LastExecution" in made["JobStatus"]
    await update(client, job("busybox:2"))
    assert (await client.get("/services/web"))["JobStatus"]["JobIteration"] == {"Index": 1}
    found = await client.get('/services?filters={"mode":["replicated-job"]}')
    assert [each["Spec"]["Name"] for each in found] == ["web"]


async def test_a_scheduled_job_is_executed_by_force_alone(client: Client, cluster: ApiCluster) -> None:
    await client.make("/services/create", job(schedule="0 6 * * *", schedule_timezone="Europe/Berlin"))
    assert "LastExecution" not in (await client.get("/services/web"))["JobStatus"]
    await update(client, job("busybox:2", schedule="0 6 * * *", schedule_timezone="Europe/Berlin"))
    assert "LastExecution" not in (await client.get("/services/web"))["JobStatus"]
    await update(client, job("busybox:2", 1, schedule="0 6 * * *", schedule_timezone="Europe/Berlin"))
    assert "LastExecution" in (await client.get("/services/web"))["JobStatus"]
    before = (await stored(cluster)).schedule_status
    await update(client, job("busybox:2", 1, schedule="0 7 * * *"))
    after = (await stored(cluster)).schedule_status
    assert before is not None
    assert after is not None
    assert after.last_at > before.last_at, "another schedule begins now"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (job(schedule="* * *"), "label swarm.x.schedule: expected five fields"),
        (job(schedule="* * * * *", schedule_timezone="Mars"), "swarm.x.schedule-timezone: expected a time zone"),
        (job(schedule="* * * * *", schedule_concurrency="often"), "expected allow, forbid or replace"),
        (job(schedule_deadline="5m"), "label swarm.x.schedule: expected a cron expression"),
        (spec(Labels={"swarm.x.schedule": "* * * * *"}), "expected a job"),
        (job(canary="1"), "label swarm.x.canary: not possible for a job"),
        (spec(Labels={"swarm.x.canary-period": "1m"}), "expected swarm.x.canary beside it"),
    ],
)
async def test_labels_that_do_not_fit(client: Client, body: Any, words: str) -> None:
    code, answer = await client.ask("POST", "/services/create", body)
    assert code == 400
    assert words in answer["message"]
