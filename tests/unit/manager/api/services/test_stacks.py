"""A stack that is deployed in one transaction: what is done, what is refused, and that it is all or nothing."""

from __future__ import annotations

from typing import Any

import pytest

from common.model.service import STACK_LABEL
from tests.fakes.api_client import Client
from tests.fakes.api_cluster import ApiCluster

LABELS = {STACK_LABEL: "shop"}
PATH = "/stacks/shop/deploy"


def service(name: str, version: int = 0, **more: Any) -> dict[str, Any]:
    template = {"ContainerSpec": {"Image": "web:1", **more.pop("container", {})}}
    return {"Spec": {"Name": name, "Labels": LABELS, "TaskTemplate": template, **more}, "Version": version}


def ports(*numbers: int) -> dict[str, Any]:
    return {"EndpointSpec": {"Ports": [{"TargetPort": 80, "PublishedPort": number} for number in numbers]}}


async def deploy(client: Client, *services: Any, **more: Any) -> list[tuple[str, str, str]]:
    status, answer = await client.ask("POST", PATH, {"Services": services, **more})
    assert status == 200, answer
    return [(each["Action"], each["Kind"], each["Name"]) for each in answer["Done"]]


async def index(client: Client, name: str) -> int:
    return int((await client.get(f"/services/{name}"))["Version"]["Index"])


WHOLE: dict[str, Any] = {
    "Networks": [{"Name": "shop_net", "Driver": "overlay", "Labels": LABELS}],
    "Secrets": [{"Name": "shop_key", "Data": "aGVsbG8=", "Labels": LABELS}],
    "Configs": [{"Name": "shop_motd", "Data": "aGVsbG8=", "Labels": LABELS}],
}
USER = {
    "Secrets": [{"File": {"Name": "key"}, "SecretName": "shop_key"}],
    "Configs": [{"File": {"Name": "motd"}, "ConfigName": "shop_motd"}],
}


async def test_a_stack_is_made_and_its_services_find_what_they_name(client: Client, cluster: ApiCluster) -> None:
    web = service("shop_web", container=USER)
    web["Spec"]["TaskTemplate"]["Networks"] = [{"Target": "shop_net"}]
    made = await deploy(client, web, **WHOLE)
    assert made == [
        ("create", "network", "shop_net"),
        ("create", "secret", "shop_key"),
        ("create", "config", "shop_motd"),
        ("create", "service", "shop_web"),
    ]
    (stored,) = cluster.store.view.services.named("shop_web")
    container = stored.spec.task_template.container_spec
    assert container is not None
    assert [each.secret_id for each in container.secrets] == [s.id for s in cluster.store.view.secrets]
    assert [each.target for each in stored.spec.attachments] == [
        network.id for network in cluster.store.view.networks.named("shop_net")
    ]


async def test_new_content_and_a_change_are_one_version_of_the_service(client: Client) -> None:
    await deploy(client, service("shop_web", container=USER), **WHOLE)
    seen = await index(client, "shop_web")
    changed = {**WHOLE, "Secrets": [{**WHOLE["Secrets"][0], "Data": "b3RoZXI="}]}
    done = await deploy(client, service("shop_web", seen, container={**USER, "Image": "web:2"}), **changed)
    assert done == [("renew", "secret", "shop_key"), ("update", "service", "shop_web")]
    shown = await client.get("/services/shop_web")
    assert shown["PreviousSpec"]["TaskTemplate"]["ContainerSpec"]["Image"] == "web:1"
    (new,) = [each["ID"] for each in await client.get("/secrets") if each["Spec"]["Name"] == "shop_key"]
    assert shown["Spec"]["TaskTemplate"]["ContainerSpec"]["Secrets"][0]["SecretID"] == new


async def test_a_volume_without_scope_is_warned_of_once(client: Client) -> None:
    several = {
        "container": {"Mounts": [{"Type": "volume", "Source": "shop_data", "Target": "/data"}]},
        "Mode": {"Replicated": {"Replicas": 2}},
    }
    told = []
    for image in ("web:1", "web:2"):
        version = await index(client, "shop_web") if told else 0
        container = {**several["container"], "Image": image}
        wanted = service("shop_web", version, Mode=several["Mode"], container=container)
        told.append((await client.ask("POST", PATH, {"Services": [wanted]}))[1]["Warnings"])
    assert "each node has a volume shop_data of its own" in told[0][0]
    assert told[1] is None


async def test_ports_are_passed_on_in_a_circle(client: Client) -> None:
    names = ("shop_a", "shop_b", "shop_c")
    await deploy(client, *(service(name, **ports(80 + number)) for number, name in enumerate(names)))
    seen = {name: await index(client, name) for name in names}
    wanted = [service(name, seen[name], **ports(80 + (number + 1) % 3)) for number, name in enumerate(names)]
    await deploy(client, *wanted)
    for number, name in enumerate(names):
        shown = await client.get(f"/services/{name}")
        assert [port["PublishedPort"] for port in shown["Spec"]["EndpointSpec"]["Ports"]] == [80 + (number + 1) % 3]
        assert [port["PublishedPort"] for port in shown["PreviousSpec"]["EndpointSpec"]["Ports"]] == [80 + number]


async def test_pruned_services_give_their_ports_up_at_once(client: Client) -> None:
    await deploy(client, service("shop_old", **ports(80)))
    status, refused = await client.ask("POST", PATH, {"Services": [service("shop_new", **ports(80))]})
    assert (status, "already in use by service 'shop_old'" in refused["message"]) == (400, True)
    done = await deploy(client, service("shop_new", **ports(80)), Prune=True)
    assert done == [("remove", "service", "shop_old"), ("create", "service", "shop_new")]


@pytest.mark.parametrize("query", ["", "?dryRun=1"])
async def test_what_is_refused_leaves_nothing_and_is_named(client: Client, cluster: ApiCluster, query: str) -> None:
    bad = service("shop_web", container={"Secrets": [{"File": {"Name": "x"}, "SecretName": "gone"}]})
    body = {"Services": [service("shop_a"), bad], **WHOLE}
    status, answer = await client.ask("POST", PATH + query, body)
    assert (status, answer["message"]) == (400, "failed to create service shop_web: secret not found: gone")
    view = cluster.store.view
    assert not [*view.services, *view.secrets, *view.configs, *view.networks.named("shop_net")]


async def test_a_dry_run_says_what_would_be_done_and_does_nothing(client: Client, cluster: ApiCluster) -> None:
    before = cluster.store.index
    status, answer = await client.ask("POST", f"{PATH}?dryRun=1", {"Services": [service("shop_a")], **WHOLE})
    assert (status, len(answer["Done"])) == (200, 4)
    assert cluster.store.index == before


async def test_a_service_that_has_changed_meanwhile_is_not_overwritten(client: Client) -> None:
    await deploy(client, service("shop_web"))
    seen = await index(client, "shop_web")
    await deploy(client, service("shop_web", seen, container={"Image": "web:2"}))
    status, answer = await client.ask("POST", PATH, {"Services": [service("shop_web", seen)]})
    assert status == 412
    assert answer["message"] == (
        "failed to update service shop_web: somebody else has meanwhile changed it: deploy the stack again"
    )
    status, answer = await client.ask("POST", PATH, {"Services": [service("shop_web")]})
    assert status == 412
    assert answer["message"] == (
        "failed to create service shop_web: somebody else has meanwhile made it: deploy the stack again"
    )
    status, answer = await client.ask("POST", PATH, {"Services": [service("shop_gone", 5)]})
    assert (status, "shop_gone: it no longer exists" in answer["message"]) == (400, True)


async def test_what_is_not_labelled_as_the_stacks_is_refused(client: Client) -> None:
    status, answer = await client.ask("POST", "/stacks/other/deploy", {"Services": [service("shop_web")]})
    expected = "service shop_web: expected the label com.docker.stack.namespace=other"
    assert (status, answer["message"]) == (400, expected)
