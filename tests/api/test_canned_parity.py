"""The docker CLI and ours at an API whose answers are written down: what lists show of containers, images, volumes."""

import json
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.api.conftest import DockerCli
from tests.api.swarm_cli import SwarmCli
from tests.docker_cli.program import unfit

IMAGE, DIGEST = "sha256:" + "a" * 64, "sha256:" + "d" * 64
CONTAINER = {
    "ImageID": IMAGE,
    "Command": "x",
    "Created": 1_700_000_000,
    "State": "running",
    "Status": "Up",
    "Ports": [],
    "Labels": {},
}
ANSWERS: dict[str, Any] = {
    "/containers/json": [
        {
            **CONTAINER,
            "Id": "c" * 64,
            "Names": ["/a"],
            "Image": f"web:1@{DIGEST}",
            "SizeRw": 1234,
            "SizeRootFs": 22_123_456,
            "NetworkSettings": {"Networks": {"front": {}}},
            "Mounts": [
                {"Type": "volume", "Name": "averylongvolumename1", "Source": "/x", "Driver": "local"},
                {"Type": "bind", "Source": "/etc"},
            ],
        },
        {**CONTAINER, "Id": "e" * 64, "Names": ["/b"], "Image": f"reg.example:5000/web@{DIGEST}", "Mounts": []},
        {**CONTAINER, "Id": "f" * 64, "Names": ["/c"], "Image": IMAGE, "NetworkSettings": None, "Mounts": None},
    ],
    "/images/json": [
        {
            "Id": IMAGE,
            "RepoTags": ["web:1", "web:2", "reg.example:5000/x:1"],
            "RepoDigests": [f"web@{DIGEST}", f"other@{DIGEST}"],
            "Created": 1_700_000_000,
            "Size": 22_123_456,
            "SharedSize": -1,
            "Containers": -1,
        },
        {
            "Id": "sha256:" + "b" * 64,
            "RepoTags": [],
            "RepoDigests": [],
            "Created": 1_700_000_000,
            "Size": 1007,
            "SharedSize": 5,
            "Containers": 2,
        },
    ],
    "/volumes": {
        "Volumes": [
            {"Name": "v", "Driver": "local", "Scope": "local", "Mountpoint": "/x", "Labels": {"a": "b"}},
            {
                "Name": "u",
                "Driver": "local",
                "Scope": "local",
                "Mountpoint": "/y",
                "UsageData": {"Size": 1234, "RefCount": 2},
                "Status": {"a": "b"},
            },
        ]
    },
}
# Of docker's line, and ours where the noun is needed. Each asks for the same.
EQUAL = (
    "ps --format '{{.Names}}|{{.Image}}|{{.Size}}|{{.Mounts}}|{{.Networks}}|{{.LocalVolumes}}'",
    "ps --no-trunc --format '{{.Image}}|{{.Mounts}}'",
    "ps --format json",
    "ps --size --format json",
    "images",
    "images web",
    "images --digests",
    "images --format json",
    "images --digests --format json",
    "images --format '{{.Repository}}={{.Tag}}={{.CreatedAt}}'",
    "image ls --no-trunc web:1",
    "volume ls --format json",
    "volume ls --format '{{.Name}}={{.Size}}={{.Status}}={{.Links}}={{.Group}}={{.Availability}}'",
)


# What is asked for by these is the same; what is answered is nothing.
ASKING_EQUALLY = (
    "pull -a web",
    "pull web:1",
    "push --all-tags reg.example:5000/web",
    "exec -d --env-file env -e C=3 a true",
    "logs --until 2026-01-31T12:00:00Z --since 2026-01-30T12:00:00Z a",
    "container inspect --size a",
)


class Canned:
    """Answers from the table, else with what a container's inspection begins with.

    `asked` has the paths and queries that came, without the version, and the variables of an exec.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def handle(self, request: web.Request) -> web.Response:
        path = request.path if not request.path.startswith("/v1.") else "/" + request.path.split("/", 2)[2]
        if path == "/_ping":
            return web.Response(text="OK", headers={"Api-Version": "1.45", "Ostype": "linux"})
        query = {**request.rel_url.query}
        if "filters" in query:  # values are a list, or the keys of a mapping
            query["filters"] = str({name: sorted(values) for name, values in json.loads(query["filters"]).items()})
        if path.endswith("/exec"):
            query["env"] = str((await request.json())["Env"])
        self.asked.append(f"{path} {sorted(query.items())}")
        return web.json_response(ANSWERS.get(path, {"Id": "a", "Config": {"Tty": True}}))


# What our lists say beyond docker's.
_OURS = ("Node", "Reference", "State", "UsedBy")


@pytest.fixture
async def canned(tmp_path: Path) -> AsyncIterator[Canned]:
    api, app = Canned(), web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "s")).start()
    yield api
    await runner.cleanup()


def lines(text: str) -> list[Any]:
    """Return what was printed in any order, as docker has images'; JSON without what only ours has."""
    if not text.startswith("{"):
        return sorted(text.splitlines())
    entries = [json.loads(line) for line in text.splitlines()]
    shown = [{key: value for key, value in entry.items() if key not in _OURS} for entry in entries]
    return sorted(shown, key=str)


@pytest.mark.skipif(bool(unfit()), reason=unfit())
@pytest.mark.parametrize("line", EQUAL)
async def test_a_list_is_dockers(canned: Canned, tmp_path: Path, line: str) -> None:
    host = f"unix://{tmp_path}/s"
    theirs = await DockerCli(host, tmp_path).run(*shlex.split(line))
    asked, canned.asked = canned.asked, []
    ours = await SwarmCli(host).run(*shlex.split(line))
    assert (ours.code, lines(ours.out)) == (theirs.code, lines(theirs.out)), (theirs, ours)
    assert canned.asked == asked


async def test_sizes_have_a_column_when_they_are_asked_for(canned: Canned, tmp_path: Path) -> None:
    shown = await SwarmCli(f"unix://{tmp_path}/s").ok("ps", "--size")
    assert [line.split("  ")[-1].strip() for line in shown.splitlines()] == [
        "SIZE",
        "1.23kB (virtual 22.1MB)",
        "0B",
        "0B",
    ]
    assert canned.asked == ["/containers/json [('size', '1')]"]


LAYOUTS = {
    "psFormat": "{{.Names}}: {{.Size}}",
    "imagesFormat": "table {{.Repository}}\\t{{.Tag}}",
    "volumesFormat": "{{.Name}}!",
}


@pytest.mark.skipif(bool(unfit()), reason=unfit())
@pytest.mark.parametrize(
    "line", ["ps", "ps -q", "container ls", "images", "image list", "volume ls", "ps --format json"]
)
async def test_layouts_of_dockers_configuration_are_taken(
    canned: Canned, tmp_path: Path, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text(json.dumps(LAYOUTS))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / ".docker"))
    host = f"unix://{tmp_path}/s"
    theirs = await DockerCli(host, tmp_path).run(*shlex.split(line))
    asked, canned.asked = canned.asked, []
    ours = await SwarmCli(host).run(*shlex.split(line))
    assert (ours.code, lines(ours.out)) == (theirs.code, lines(theirs.out)), (theirs, ours)
    assert canned.asked == asked


@pytest.mark.skipif(bool(unfit()), reason=unfit())
@pytest.mark.parametrize("line", ASKING_EQUALLY)
async def test_the_same_is_asked_for(
    canned: Canned, tmp_path: Path, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "env").write_text("A=1\nB=two words\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    host = f"unix://{tmp_path}/s"
    theirs = await DockerCli(host, tmp_path).run(*shlex.split(line))
    asked, canned.asked = canned.asked, []
    ours = await SwarmCli(host).run(*shlex.split(line))
    assert (ours.code, _changing(canned.asked)) == (theirs.code, _changing(asked)), (theirs, ours)


def _changing(asked: list[str]) -> list[str]:
    """Leave out a look at the container before, and that truth is written in two ways."""
    return [each.replace("'true'", "'1'") for each in asked if each != "/containers/a/json []"]


@pytest.mark.parametrize("line", ["pull -a web:1", "push -a web:1"])
async def test_all_tags_are_not_one(canned: Canned, tmp_path: Path, line: str) -> None:
    ran = await SwarmCli(f"unix://{tmp_path}/s").run(*shlex.split(line))
    assert (ran.code, "tag can't be used with --all-tags/-a" in ran.err, canned.asked) == (1, True, [])
