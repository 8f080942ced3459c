"""Stacks from a page: what is read of what was sent, what is refused, and that a deploy does what its plan shows."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec
import pytest

from common.errors import InvalidArgument
from common.model import Service
from manager.api.http.server import serve
from manager.cli.compose import ComposeError
from manager.cli.dashboard.gate import Gate, open_gate
from manager.cli.dashboard.stacks import MAX_SENT_BYTES, SentStack, decode_sent, read_stack
from manager.cli.endpoint import Endpoint
from tests.fakes.api_cluster import ApiCluster

FILE = "compose.yaml"
WEB = "services:\n  web:\n    image: web:1\n"


def sent(text: str, files: dict[str, str] | None = None, name: str = FILE) -> SentStack:
    return SentStack((name,), {name: text, **(files or {})}, resolve="never")


def problems(text: str, files: dict[str, str] | None = None, name: str = FILE) -> list[str]:
    with pytest.raises(ComposeError) as caught:
        read_stack(sent(text, files, name), "shop")
    return caught.value.message.splitlines()


# --- what is read -----------------------------------------------------------------------------------------------------


def test_what_a_file_names_is_what_was_sent() -> None:
    text = WEB + "    env_file: web.env\n    configs: [page]\nconfigs: {page: {file: ./html/index.html}}\n"
    stack = read_stack(sent(text, {"web.env": "A=1\n", "html/index.html": "hello"}), "shop")
    container = stack.services["web"].task_template.container_spec
    assert container is not None
    assert container.env == ("A=1",)
    assert bytes(stack.configs["shop_page"].data) == b"hello"


def test_paths_start_from_the_compose_file() -> None:
    text = WEB + "    env_file: ../web.env\n"
    stack = read_stack(sent(text, {"web.env": "A=1\n", "deploy/.env": ""}, "deploy/stack.yaml"), "shop")
    container = stack.services["web"].task_template.container_spec
    assert container is not None
    assert container.env == ("A=1",)


def test_files_of_other_folders_are_those_that_were_sent() -> None:
    text = "include: [inc/db.yml]\nservices: {web: {extends: {service: base, file: ../base/b.yml}}}\n"
    files = {
        "app/inc/db.yml": "services: {db: {image: db, env_file: db.env, configs: [c]}}\nconfigs: {c: {file: c}}",
        "app/inc/db.env": "A=1\n",
        "app/inc/c": "content",
        "base/b.yml": "services: {base: {image: base, env_file: b.env}}",
        "base/b.env": "B=2\n",
    }
    stack = read_stack(sent(text, files, "app/compose.yaml"), "shop")
    found = {name: spec.task_template.container_spec for name, spec in stack.services.items()}
    assert {name: spec.env for name, spec in found.items() if spec is not None} == {"db": ("A=1",), "web": ("B=2",)}
    assert bytes(stack.configs["shop_c"].data) == b"content"
    relative = files | {"app/inc/db.yml": "services: {db: {image: db, volumes: [./d:/d]}}"}
    (problem,) = problems(text, relative, "app/compose.yaml")
    assert problem.startswith("app/inc/db.yml:1:38: services.db.volumes[0].source: a page has no folder")


def test_variables_are_those_that_were_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of the gate is nobody's to read."""
    monkeypatch.setenv("TAG", "secret")
    text = "services: {web: {image: 'web:${TAG:-none}'}}"
    for files, image in (({}, "web:none"), ({".env": "TAG=7\n"}, "web:7")):
        container = read_stack(sent(text, files), "shop").services["web"].task_template.container_spec
        assert container is not None
        assert container.image == image


@pytest.mark.parametrize("path", ["./token", "token", "/etc/hostname", "../../../etc/hostname"])
def test_a_file_that_was_not_sent_is_refused(path: str) -> None:
    """Even one that is on this disk."""
    (said,) = problems(WEB + f"secrets: {{token: {{file: {path}}}}}\n")
    assert said.startswith(f"{FILE}:4:")
    assert said.endswith(f"cannot read {path.removeprefix('./')}: it was not sent along")


@pytest.mark.parametrize("source", ["./data", "../data", "../../../../etc"])
def test_a_relative_bind_mount_is_refused(source: str) -> None:
    (said,) = problems(WEB + f"    volumes:\n      - {source}:/data\n")
    assert said.startswith(f"{FILE}:5:")
    assert "a page has no folder that this could be in" in said


def test_the_home_of_the_gates_user_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/secret")
    (said,) = problems(WEB + "    volumes:\n      - ~/data:/data\n")
    assert "needs the variable HOME" in said
    assert "secret" not in said


def test_an_absolute_bind_mount_is_the_nodes() -> None:
    stack = read_stack(sent(WEB + "    volumes:\n      - /srv/data:/data\n"), "shop")
    container = stack.services["web"].task_template.container_spec
    assert container is not None
    assert container.mounts[0].source == "/srv/data"


def test_what_has_to_be_built_is_refused() -> None:
    (said,) = problems("services:\n  web:\n    build: .\n")
    assert said.startswith(f"{FILE}:3:")
    assert "a page has no folder to build from" in said


def test_what_has_an_image_is_not_built() -> None:
    stack = read_stack(sent(WEB + "    build: .\n"), "shop")
    assert stack.warnings[-1] == "service web is not built, web:1 is used as it is"


def test_a_mistake_has_its_place() -> None:
    assert problems("services:\n  web:\n    imagine: web:1\n")[0].startswith(f"{FILE}:3:5: services.web.imagine: ")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "expected"),
        (b"[]", "expected"),
        (b'{"compose":[],"files":{}}', "no compose file was sent"),
        (b'{"compose":["a"],"files":{}}', "the compose file a was not sent"),
        (b'{"compose":["a"],"files":{"a":1}}', "expected"),
        (b'{"compose":["a"],"files":{"a":"\\ud800"}}', "expected"),
        (b'{"compose":["a"],"files":{"a":""},"resolve":"perhaps"}', "expected"),
        (b'{"compose":["a"],"files":{"a":""},"more":1}', "expected"),
    ],
)
def test_what_no_page_sends_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(InvalidArgument, match=why):
        decode_sent(body)


# --- by the gate ------------------------------------------------------------------------------------------------------


@dataclass
class Page:
    """A page with its key, before the gate of a real API."""

    cluster: ApiCluster
    gate: Gate
    url: str
    session: aiohttp.ClientSession
    key: str = ""

    async def ask(
        self,
        verb: str,
        text: str,
        files: dict[str, str] | None = None,
        *,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> tuple[int, Any]:
        if not self.key:
            token = {"token": self.gate.new_token()}
            async with self.session.post(f"{self.url}/gate/key", json=token) as answer:
                self.key = (await answer.json())["key"]
        said = {"Authorization": f"Bearer {self.key}"} if headers is None else headers
        body = msgspec.structs.asdict(sent(text, files)) | more
        async with self.session.post(f"{self.url}/gate/stacks/shop/{verb}", json=body, headers=said) as answer:
            return answer.status, await answer.json()

    @property
    def services(self) -> list[Service]:
        return list(self.cluster.store.view.services)


@asynccontextmanager
async def page_of(role: str) -> AsyncIterator[Page]:
    async with ApiCluster(idle=True) as cluster:
        socket = f"unix://{cluster.folder}/docker.sock"
        async with (
            serve(cluster.api, [socket]),
            open_gate(Endpoint(socket), role, 0) as (gate, port),
            aiohttp.ClientSession() as session,
        ):
            yield Page(cluster, gate, f"http://127.0.0.1:{port}", session)


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    async with page_of("operator") as each:
        yield each


@pytest.fixture
async def viewers() -> AsyncIterator[Page]:
    async with page_of("viewer") as each:
        yield each


async def test_what_was_planned_is_deployed(page: Page) -> None:
    status, plan = await page.ask("plan", WEB)
    assert (status, plan["summary"]) == (200, "Plan: 2 to create, 0 to change, 0 to remove.")
    assert [(each["sign"], each["kind"], each["name"]) for each in plan["steps"]] == [
        ("+", "network", "shop_default"),
        ("+", "service", "shop_web"),
    ]
    assert page.services == []
    status, said = await page.ask("deploy", WEB, seen=plan["seen"])
    assert (status, said["done"]) == (200, ["Creating network shop_default", "Creating service shop_web"])
    assert [each.spec.name for each in page.services] == ["shop_web"]


async def test_what_changes_is_said_field_by_field(page: Page) -> None:
    _, plan = await page.ask("plan", WEB)
    await page.ask("deploy", WEB, seen=plan["seen"])
    text = WEB.replace("web:1", "web:2") + "  more: {image: web:1}\n"
    _, plan = await page.ask("plan", text)
    change = next(each for each in plan["steps"] if each["sign"] == "~")
    assert (change["name"], change["remark"]) == ("shop_web", "restarts its tasks")
    field = next(each for each in change["fields"] if each["path"] == "TaskTemplate.ContainerSpec.Image")
    assert (field["old"], field["new"], field["restarts"]) == ("web:1", "web:2", True)
    _, plan = await page.ask("plan", WEB.replace("web", "other"), prune=True)
    assert [(each["name"], each["remark"]) for each in plan["steps"] if each["sign"] == "-"] == [
        ("shop_web", "stops its tasks")
    ]


async def test_a_plan_that_is_not_true_any_more_is_not_done(page: Page) -> None:
    """Neither where the cluster has changed since, nor where other files are sent."""
    _, plan = await page.ask("plan", WEB)
    for text in (WEB.replace("web:1", "web:2"), WEB):
        if text == WEB:
            _, other = await page.ask("plan", WEB.replace("web:1", "web:3"))
            await page.ask("deploy", WEB.replace("web:1", "web:3"), seen=other["seen"])
        status, said = await page.ask("deploy", text, seen=plan["seen"])
        assert status == 409
        assert "look at the plan again" in said["message"]
    assert len(page.services) == 1


async def test_mistakes_are_listed_with_their_places(page: Page) -> None:
    status, said = await page.ask("plan", "services:\n  web: {image: web:1, imagine: 1}\n")
    assert status == 400
    (problem,) = said["problems"]
    assert (problem["file"], problem["line"], problem["path"]) == (FILE, 2, "services.web.imagine")
    status, said = await page.ask("plan", "services: [\n")
    assert (status, said["problems"][0]["file"]) == (400, FILE)
    assert said["problems"][0]["line"] > 0


async def test_what_the_manager_refuses_is_said_in_its_words(page: Page) -> None:
    status, said = await page.ask("plan", WEB + "networks: {default: {external: true, name: gone}}\n")
    assert status == 404
    assert "network create gone" in said["message"]
    status, said = await page.ask(
        "plan", "services: {web: {image: 'web:1', secrets: [key]}}\nsecrets: {key: {external: true}}\n"
    )
    assert status == 400
    assert "key" in said["message"]


async def test_a_viewer_may_neither_plan_nor_deploy(viewers: Page) -> None:
    for verb in ("plan", "deploy"):
        status, said = await viewers.ask(verb, WEB, seen="x")
        assert status == 403
        assert "has the role viewer" in said["message"]
    assert viewers.services == []


async def test_who_has_no_key_is_not_read(page: Page) -> None:
    for headers in ({}, {"Authorization": "Bearer x"}):
        assert (await page.ask("plan", WEB, headers=headers))[0] == 401


async def test_another_sites_page_is_not_read(page: Page) -> None:
    await page.ask("plan", WEB)
    for foreign in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.example"}):
        headers = {"Authorization": f"Bearer {page.key}", **foreign}
        assert (await page.ask("plan", WEB, headers=headers))[0] == 403


async def test_more_than_a_page_may_send_is_refused(page: Page) -> None:
    await page.ask("plan", WEB)
    body = io.BytesIO(msgspec.json.encode(sent(WEB, {"large": "x" * MAX_SENT_BYTES})))
    headers = {"Authorization": f"Bearer {page.key}"}
    async with page.session.post(f"{page.url}/gate/stacks/shop/plan", data=body, headers=headers) as answer:
        assert answer.status == 400
        assert "more than 1 MiB" in (await answer.json())["message"]
