"""Secrets and configs through the API; which are in use, and so stay: services name them, or a canary's other tasks."""

from __future__ import annotations

import pytest

from common.errors import InvalidArgument
from common.model import Config, Secret
from common.model.container import ConfigReference, SecretReference
from common.model.secret import ConfigSpec, SecretSpec
from manager.api.files import check_unused
from tests.fakes.api_client import OUT_OF_SEQUENCE, RPC, Client
from tests.fakes.world import World, policy, replace, template
from tests.unit.manager.orchestrate.update.test_canary import NODES, go_on, work
from tests.unit.manager.orchestrate.update.test_rolling import NEW

SECRET = Secret(id="s1", spec=SecretSpec(name="key"))
CONFIG = Config(id="c1", spec=ConfigSpec(name="page"))


def holding(**references: object) -> World:
    """A service whose update, to a specification without files, holds after one task of three."""
    world = World()
    world.nodes(*NODES)
    plain = template(NEW, restart_policy=policy(delay=0))
    assert plain.container_spec is not None
    before = replace(plain, container_spec=replace(plain.container_spec, **references))
    world.replicated(3, before, labels={"swarm.x.canary": "1"})
    world.settle()
    world.run(*NODES)
    world.change(plain)
    world.settle()
    work(world)
    return world


@pytest.mark.parametrize(
    ("noun", "file", "references"),
    [
        ("secret", SECRET, {"secrets": (SecretReference(secret_id="s1", secret_name="key"),)}),
        ("config", CONFIG, {"configs": (ConfigReference(config_id="c1", config_name="page"),)}),
    ],
)
def test_what_tasks_have_that_a_canary_leaves_alone_stays(
    noun: str, file: Secret | Config, references: dict[str, object]
) -> None:
    world = holding(**references)
    with pytest.raises(InvalidArgument, match="is in use by the following service: web"):
        check_unused(noun, file, world.tables)
    go_on(world)
    work(world)
    check_unused(noun, file, world.tables)


KINDS = [("secrets", "secret", 512000), ("configs", "config", 1024000)]


@pytest.mark.parametrize(("path", "noun", "size"), KINDS)
async def test_files(client: Client, path: str, noun: str, size: int) -> None:
    body = {"Name": "s1", "Data": "aHVzaA==", "Labels": {"a": "b"}}
    file_id = await client.make(f"/{path}/create", body)
    words = RPC.format("AlreadyExists", f"{noun} s1 already exists")
    assert await client.error("POST", f"/{path}/create", body) == (409, words)
    for reference in (file_id, file_id[:8], "s1"):
        assert (await client.get(f"/{path}/{reference}"))["ID"] == file_id
    [shown] = await client.get(f'/{path}?filters={{"name":["s"],"label":["a=b"]}}')
    data = {} if noun == "secret" else {"Data": "aHVzaA=="}
    assert shown["Spec"] == {"Name": "s1", "Labels": {"a": "b"}, **data}
    assert await client.get(f'/{path}?filters={{"names":["s"]}}') == []
    assert await client.ask("DELETE", f"/{path}/s1") == (204, None)
    assert await client.error("DELETE", f"/{path}/s1") == (404, f"{noun} s1 not found")


@pytest.mark.parametrize(("path", "noun", "size"), KINDS)
async def test_bad_files(client: Client, path: str, noun: str, size: int) -> None:
    words = RPC.format("InvalidArgument", f"{noun} data must be larger than 0 and less than {size} bytes")
    assert await client.error("POST", f"/{path}/create", {"Name": "s"}) == (400, words)
    big = {"Name": "s", "Data": "QUFB" * (size // 3 + 1)}
    assert await client.error("POST", f"/{path}/create", big) == (400, words)
    for name in ("a b", "-a", "a" * 65, "ä"):
        status, message = await client.error("POST", f"/{path}/create", {"Name": name, "Data": "eA=="})
        assert (status, "invalid name, only 64" in message) == (400, True), name
    status, message = await client.error("POST", f"/{path}/create", {"Data": "eA=="})
    assert (status, message) == (400, RPC.format("InvalidArgument", "name must be provided"))


@pytest.mark.parametrize(("path", "noun", "size"), KINDS)
async def test_only_labels_of_files_change(client: Client, path: str, noun: str, size: int) -> None:
    del size
    await client.make(f"/{path}/create", {"Name": "s1", "Data": "aHVzaA=="})
    index = await client.version(f"/{path}/s1")
    target = f"/{path}/s1/update?version={index}"
    only = RPC.format("InvalidArgument", "only updates to Labels are allowed")
    for body in ({}, {"Name": "other"}, {"Name": "other", "Data": "eA=="}):
        assert await client.error("POST", target, body) == (400, only)
    status, message = await client.error("POST", target, {"Name": "s1", "Templating": {"Name": "x"}})
    assert (status, "Data and Templating together" in message) == (400, True)
    assert await client.error("POST", f"/{path}/s1/update", {"Name": "s1"}) == (400, f"invalid {noun} version")
    assert await client.error("POST", f"/{path}/x/update?version=1", {}) == (404, f"{noun} x not found")
    assert await client.ask("POST", target, {"Name": "s1", "Labels": {"z": "1"}}) == (200, None)
    assert (await client.get(f"/{path}/s1"))["Spec"]["Labels"] == {"z": "1"}
    assert await client.error("POST", target, {"Name": "s1"}) == OUT_OF_SEQUENCE
    assert await client.error("POST", target, {"Name": "other"}) == (400, only), "what it asks for is judged first"


@pytest.mark.parametrize(("path", "noun", "size"), KINDS)
async def test_files_in_use_stay(client: Client, path: str, noun: str, size: int) -> None:
    del size
    file_id = await client.make(f"/{path}/create", {"Name": "s1", "Data": "aHVzaA=="})
    key = noun.capitalize()
    reference = {f"{key}ID": file_id, f"{key}Name": "s1", "File": {"Name": "s1"}}
    container = {"Image": "busybox", f"{key}s": [reference]}
    await client.make("/services/create", {"Name": "web", "TaskTemplate": {"ContainerSpec": container}})
    words = RPC.format("InvalidArgument", f"{noun} 's1' is in use by the following service: web")
    assert await client.error("DELETE", f"/{path}/s1") == (400, words)
    await client.ask("DELETE", "/services/web")
    assert await client.ask("DELETE", f"/{path}/s1") == (204, None)


async def test_drivers_of_secrets_are_refused(client: Client) -> None:
    status, message = await client.error("POST", "/secrets/create", {"Name": "s", "Driver": {"Name": "d"}})
    assert (status, "secret drivers are not supported" in message) == (501, True)
