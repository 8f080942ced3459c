"""An autoscaled service at the API: what clients may ask for, what a rollback keeps, what is shown."""

from __future__ import annotations

from typing import Any

import pytest

from common.model import Service
from common.spec import autoscale
from common.wire.usage_messages import TaskUsage
from tests.fakes.api_client import Client
from tests.fakes.api_cluster import ApiCluster
from tests.unit.manager.api.services.test_routes import spec, update, version

POLICY = "min=2,max=6,cpu=50%"
RESERVED = {"Resources": {"Reservations": {"NanoCPUs": 500_000_000}}}
STACK = {"com.docker.stack.namespace": "shop"}


def scaled_spec(replicas: int | None = None, policy: str = POLICY, **more: Any) -> Any:
    labels = {autoscale.LABEL: policy, **more.pop("labels", {})}
    mode = {"Replicated": {} if replicas is None else {"Replicas": replicas}}
    return spec(template=RESERVED, Labels=labels, Mode=mode, **more)


def stored(cluster: ApiCluster) -> Service:
    (service,) = cluster.store.view.services
    return service


def count(cluster: ApiCluster) -> int:
    return stored(cluster).spec.mode.replicas


async def autoscaler_chooses(cluster: ApiCluster, replicas: int) -> None:
    changed = autoscale.scale_to(stored(cluster), replicas, "scaled 2 → 5: cpu at 120% (target 50%)", 1000.0)
    await cluster.store.update(lambda tx: tx.put(changed))


# --- what is refused ---


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (scaled_spec() | {"Mode": {"Global": {}}}, "expected a replicated service"),
        (scaled_spec() | {"Mode": {"ReplicatedJob": {"MaxConcurrent": 1}}}, "expected a replicated service"),
        (scaled_spec(policy="min=2,max=6,memory=50%"), "memory is a share of what a task reserves: set TaskTemplate."),
        (spec(Labels={autoscale.LABEL: POLICY}), "Reservations.NanoCPUs (--reserve-cpu, deploy.resources"),
        (scaled_spec(policy="min=2"), "expected max to be a whole number"),
        (scaled_spec(1), "autoscaled between 2 and 6 tasks, 1 is outside of that: change min or max"),
        (scaled_spec(7), "7 is outside of that"),
    ],
)
async def test_a_policy_that_cannot_be_followed_is_refused(client: Client, body: Any, words: str) -> None:
    status, message = await client.error("POST", "/services/create", body)
    assert status == 400
    assert words in message


async def test_a_metric_needs_no_reservation(client: Client) -> None:
    policy = "min=1,max=2,metric=jobs,port=80,target=5"
    await client.make("/services/create", spec(Labels={autoscale.LABEL: policy}))


# --- how many there are ---


@pytest.mark.parametrize(("asked", "first"), [(None, 2), (2, 2), (5, 5)])
async def test_it_begins_with_what_is_asked_for_or_the_least(
    client: Client, cluster: ApiCluster, asked: int | None, first: int
) -> None:
    await client.make("/services/create", scaled_spec(asked))
    assert count(cluster) == first


async def test_scaling_by_hand_takes_effect_within_the_limits(client: Client, cluster: ApiCluster) -> None:
    await client.make("/services/create", scaled_spec())
    assert (await update(client, scaled_spec(4)))[0] == 200
    status = stored(cluster).autoscale_status
    assert status is not None
    assert (status.by_hand, status.previous, status.replicas, status.message) == (True, 2, 4, "scaled 2 → 4 by hand")
    refused, answer = await update(client, scaled_spec(9))
    assert refused == 400
    assert "service update --label-rm swarm.x.autoscale" in answer["message"]
    assert count(cluster) == 4


async def test_an_unrelated_change_keeps_the_chosen_number(client: Client, cluster: ApiCluster) -> None:
    await client.make("/services/create", scaled_spec())
    await autoscaler_chooses(cluster, 5)
    for body in (scaled_spec(None, container={"Image": "busybox:2"}), scaled_spec(5, container={"Image": "busybox:3"})):
        assert await update(client, body) == (200, {"Warnings": None})
        assert count(cluster) == 5
    status = stored(cluster).autoscale_status
    assert status is not None
    assert not status.by_hand


async def test_new_limits_bring_the_number_within_them(client: Client, cluster: ApiCluster) -> None:
    await client.make("/services/create", scaled_spec(5))
    assert (await update(client, scaled_spec(5, policy="min=1,max=3,cpu=50%")))[0] == 200
    assert count(cluster) == 3
    status = stored(cluster).autoscale_status
    assert status is not None
    assert (status.by_hand, status.message) == (False, "scaled 5 → 3: 1 to 3 are allowed")


@pytest.mark.parametrize("begins_with", ["create", "update"])
async def test_redeploying_a_stack_does_not_reset_the_number(
    client: Client, cluster: ApiCluster, begins_with: str
) -> None:
    """Docker's command sends the file's number again; swarm-manager's own does not."""
    if begins_with == "create":
        await client.make("/services/create", scaled_spec(3, labels=STACK))
    else:
        await client.make("/services/create", spec(Labels=STACK, Mode={"Replicated": {"Replicas": 3}}))
        await update(client, scaled_spec(3, labels=STACK))
    await autoscaler_chooses(cluster, 5)
    status, answer = await update(client, scaled_spec(3, labels=STACK, container={"Image": "busybox:2"}))
    assert status == 200
    assert answer["Warnings"] == ["web keeps 5 tasks: it is autoscaled, and 3 is only its initial number"]
    assert count(cluster) == 5
    assert (await update(client, scaled_spec(3, labels=STACK), query="&scale=1"))[0] == 200
    assert count(cluster) == 3, "`service scale` says that it means it"


async def test_without_its_label_it_is_an_ordinary_service(client: Client, cluster: ApiCluster) -> None:
    await client.make("/services/create", scaled_spec(4))
    await update(client, spec(template=RESERVED, Mode={"Replicated": {"Replicas": 12}}))
    assert count(cluster) == 12
    assert stored(cluster).autoscale_status is None


# --- history and rollback ---


async def test_scaling_makes_no_revision_and_keeps_the_rollback_target(client: Client, cluster: ApiCluster) -> None:
    await client.make("/services/create", scaled_spec(2))
    await update(client, scaled_spec(2, container={"Image": "busybox:2"}))
    await autoscaler_chooses(cluster, 5)
    await update(client, scaled_spec(6, container={"Image": "busybox:2"}))
    assert len(await client.get("/services/web/history")) == 2
    status, _ = await client.ask("POST", f"/services/web/update?version={await version(client)}&rollback=previous", {})
    assert status == 200
    service = stored(cluster)
    container = service.spec.task_template.container_spec
    assert container is not None
    assert (container.image, count(cluster)) == ("busybox", 6)


async def test_a_rollback_stays_within_the_limits_that_it_restores(client: Client, cluster: ApiCluster) -> None:
    await client.make("/services/create", scaled_spec(2, policy="min=1,max=3,cpu=50%"))
    await update(client, scaled_spec(None))
    await autoscaler_chooses(cluster, 6)
    await client.ask("POST", f"/services/web/update?version={await version(client)}&rollback=previous", {})
    assert count(cluster) == 3


# --- what is shown ---


async def test_the_last_change_and_the_measurements_are_shown(client: Client, cluster: ApiCluster) -> None:
    await client.make("/services/create", scaled_spec())
    assert (await client.get("/services/web"))["AutoscaleStatus"] == {
        "Reading": "cpu not measured yet (target 50%)",
    }
    cluster.resume()
    await autoscaler_chooses(cluster, 5)
    while len(cluster.store.view.tasks) < 5:
        await update(client, scaled_spec())
    for task in cluster.store.view.tasks:
        cluster.api.context.soft.measurements.take(task.node_id, [TaskUsage(task_id=task.id, cpu=0.1)])
    shown = (await client.get("/services?status=true"))[0]["AutoscaleStatus"]
    assert shown == {
        "Reading": "cpu at 20% (target 50%); 2 would do",
        "ScaledAt": "1970-01-01T00:16:40.000000Z",
        "Previous": 2,
        "Replicas": 5,
        "ByHand": False,
        "Message": "scaled 2 → 5: cpu at 120% (target 50%)",
    }


async def test_the_reason_is_in_the_event(client: Client, cluster: ApiCluster) -> None:
    await client.make("/services/create", scaled_spec())
    with cluster.api.context.events.follow() as follower:
        await autoscaler_chooses(cluster, 5)
        event = await follower.next()
    assert event is not None
    assert (event.kind, event.action) == ("service", "update")
    assert event.attributes == {
        "replicas.new": "5",
        "replicas.old": "2",
        "autoscale": "scaled 2 → 5: cpu at 120% (target 50%)",
    }


async def test_what_a_node_says_of_others_tasks_is_ignored(client: Client, cluster: ApiCluster) -> None:
    await client.make("/services/create", scaled_spec())
    cluster.resume()
    while not len(cluster.store.view.tasks):
        await update(client, scaled_spec())
    measurements = cluster.api.context.soft.measurements
    task = next(iter(cluster.store.view.tasks))
    measurements.take("another", [TaskUsage(task_id=task.id, cpu=9.0)])
    measurements.take(task.node_id, [TaskUsage(task_id="unknown", cpu=9.0)])
    assert not measurements.fresh(task.service_id, 5.0)
