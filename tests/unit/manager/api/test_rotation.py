"""New content for secrets and configs, through the API."""

import base64
from typing import Any

import pytest

from tests.fakes.api_client import Client
from tests.fakes.api_cluster import ApiCluster
from tests.unit.manager.api.services.test_rollouts import stored

KINDS = [("secrets", "Secret"), ("configs", "Config")]
RPC = "rpc error: code = InvalidArgument desc = "


def data(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


async def create(client: Client, path: str, key: str, **labels: str) -> tuple[str, str]:
    """Make a file `s1` with the content `one`, and a service that uses it; return both ids."""
    file_id = await client.make(f"/{path}/create", {"Name": "s1", "Data": data("one")})
    reference = {f"{key}ID": file_id, f"{key}Name": "s1", "File": {"Name": "target"}}
    template = {"ContainerSpec": {"Image": "busybox", f"{key}s": [reference]}}
    body = {"Name": "web", "TaskTemplate": template, "Labels": labels}
    return file_id, await client.make("/services/create", body)


async def update(client: Client, path: str, name: str, body: Any) -> tuple[int, Any]:
    shown = await client.get(f"/{path}/{name}")
    return await client.ask("POST", f"/{path}/{shown['ID']}/update?version={shown['Version']['Index']}", body)


async def reference(client: Client, key: str) -> dict[str, Any]:
    spec = (await client.get("/services/web"))["Spec"]
    (found,) = spec["TaskTemplate"]["ContainerSpec"][f"{key}s"]
    return dict(found)


@pytest.mark.parametrize(("path", "key"), KINDS)
async def test_new_content_takes_over_the_name_and_its_services_follow(client: Client, path: str, key: str) -> None:
    old_id, _ = await create(client, path, key)
    before = await client.get("/services/web")
    assert await update(client, path, "s1", {"Name": "s1", "Data": data("two"), "Labels": {"a": "b"}}) == (200, None)
    new = await client.get(f"/{path}/s1")
    assert new["ID"] != old_id
    assert new["Spec"]["Labels"] == {"a": "b", "swarm.x.version": "2"}
    assert (await client.get(f"/{path}/{old_id}"))["Spec"]["Name"] == "s1.v1"
    used = await reference(client, key)
    assert (used[f"{key}ID"], used[f"{key}Name"], used["File"]["Name"]) == (new["ID"], "s1", "target")
    after = await client.get("/services/web")
    assert after["PreviousSpec"] == before["Spec"]
    assert await update(client, path, "s1", {"Name": "s1", "Data": data("three")}) == (200, None)
    assert (await client.get(f"/{path}/s1"))["Spec"]["Labels"] == {"swarm.x.version": "3"}
    assert {each["Spec"]["Name"] for each in await client.get(f"/{path}")} == {"s1", "s1.v1", "s1.v2"}


@pytest.mark.parametrize(("path", "key"), KINDS)
async def test_the_same_content_changes_labels_only(client: Client, path: str, key: str) -> None:
    old_id, _ = await create(client, path, key)
    before = await client.get("/services/web")
    assert await update(client, path, "s1", {"Name": "s1", "Data": data("one"), "Labels": {"a": "b"}}) == (200, None)
    shown = await client.get(f"/{path}/s1")
    assert (shown["ID"], shown["Spec"]["Labels"]) == (old_id, {"a": "b"})
    assert await client.get("/services/web") == before


@pytest.mark.parametrize(("path", "key"), KINDS)
async def test_a_rolled_back_service_can_be_updated_and_follows_again(client: Client, path: str, key: str) -> None:
    old_id, _ = await create(client, path, key)
    await update(client, path, "s1", {"Name": "s1", "Data": data("two")})
    shown = await client.get("/services/web")
    back = f"/services/web/update?version={shown['Version']['Index']}&rollback=previous"
    assert (await client.ask("POST", back, shown["Spec"]))[0] == 200
    assert (await reference(client, key))[f"{key}ID"] == old_id
    shown = await client.get("/services/web")
    again = f"/services/web/update?version={shown['Version']['Index']}"
    assert (await client.ask("POST", again, shown["Spec"]))[0] == 200
    await update(client, path, "s1", {"Name": "s1", "Data": data("three")})
    assert (await reference(client, key))[f"{key}ID"] == (await client.get(f"/{path}/s1"))["ID"]


@pytest.mark.parametrize(("path", "key"), KINDS)
async def test_what_cannot_rotate_is_refused(client: Client, path: str, key: str) -> None:
    old_id, _ = await create(client, path, key)
    await update(client, path, "s1", {"Name": "s1", "Data": data("two")})
    status, answer = await update(client, path, old_id, {"Name": "s1.v1", "Data": data("three")})
    noun = key.lower()
    assert (status, answer["message"]) == (400, f"{RPC}{noun} s1.v1 is an old version of s1: update {noun} s1")
    big = {"Name": "s1", "Data": data("x" * 1_100_000)}
    status, answer = await update(client, path, "s1", big)
    assert (status, "data must be larger than 0" in answer["message"]) == (400, True)
    status, answer = await update(client, path, "s1", {"Name": "s1", "Labels": {"swarm.x.digset": "x"}})
    assert (status, answer["message"]) == (400, f'{RPC}label swarm.x.digset is unknown: did you mean "digest"?')


async def test_dependencies_are_checked(client: Client) -> None:
    def body(name: str, wanted: str = "", **more: Any) -> dict[str, Any]:
        labels = {"swarm.x.depends-on": wanted} if wanted else {}
        return {"Name": name, "Labels": labels, "TaskTemplate": {"ContainerSpec": {"Image": "busybox"}, **more}}

    async def refused(request: dict[str, Any]) -> str:
        status, message = await client.error("POST", "/services/create", request)
        assert status == 400
        return message.removeprefix(RPC)

    missing = "service web depends on db, which does not exist: create db first"
    assert await refused(body("web", "db=healthy")) == missing
    await client.make("/services/create", body("db"))
    assert await refused(body("web", "db=ready")) == (
        "label swarm.x.depends-on: expected db=started, healthy or completed; got 'db=ready'"
    )
    assert "restarted whenever it completes" in await refused(body("web", "db=completed"))
    assert await refused(body("web", "web")) == "services depend on each other in a cycle: web → web"
    await client.make("/services/create", body("once", RestartPolicy={"Condition": "on-failure"}))
    await client.make("/services/create", {**body("job"), "Mode": {"ReplicatedJob": {}}})
    assert "waits for job to be healthy, but a job never is" in await refused(body("web", "job=healthy"))
    await client.make("/services/create", body("web", "db=healthy,once=completed"))
    shown = await client.get("/services/db")
    target = f"/services/db/update?version={shown['Version']['Index']}"
    status, message = await client.error("POST", target, body("db", "web"))
    assert (status, message.removeprefix(RPC)) == (400, "services depend on each other in a cycle: db → web → db")


@pytest.mark.parametrize("path", [path for path, _ in KINDS])
@pytest.mark.parametrize("how", ["update?rollback=previous&", "rollout?action=abort&"])
async def test_a_rollback_takes_the_names_newest_content_or_is_refused(
    client: Client, cluster: ApiCluster, path: str, how: str
) -> None:
    key = dict(KINDS)[path]
    old_id, _ = await create(client, path, key)
    shown = await client.get("/services/web")
    without = {"Name": "web", "TaskTemplate": {"ContainerSpec": {"Image": "busybox"}}}
    index = shown["Version"]["Index"]
    assert (await client.ask("POST", f"/services/web/update?version={index}", without))[0] == 200
    assert (await client.ask("DELETE", f"/{path}/{old_id}"))[0] == 204

    await stored(cluster, "updating")

    async def roll_back() -> tuple[int, Any]:
        service = await client.get("/services/web")
        return await client.ask("POST", f"/services/web/{how}version={service['Version']['Index']}", without)

    code, answer = await roll_back()
    assert code == 400
    assert f"needs the {key.lower()} s1, which no longer exists" in answer["message"]
    new_id = await client.make(f"/{path}/create", {"Name": "s1", "Data": data("new")})
    assert (await roll_back())[0] == 200
    assert (await reference(client, key))[f"{key}ID"] == new_id
