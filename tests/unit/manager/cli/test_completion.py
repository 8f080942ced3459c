"""What a shell completes with names of the cluster, and the scripts that ask for it."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import web
from click.testing import CliRunner

from manager.cli import cli
from tests.fakes.manager_socket import client_of

NODE = {"swarm.x.node": "h1"}
ANSWERS = {
    "/networks": [{"Name": "front"}, {"Name": "back"}],
    "/secrets": [{"Spec": {"Name": "key"}}, {"Spec": {"Name": "token"}}],
    "/configs": [{"Spec": {"Name": "motd"}}],
    "/services": [{"Spec": {"Name": "shop_web", "Labels": {"com.docker.stack.namespace": "shop"}}}],
    "/nodes": [{"Spec": {}, "Description": {"Hostname": "h1"}}],
    "/images/json": [{"RepoTags": ["web:1", "web:2"]}, {"RepoTags": []}, {"RepoTags": ["<none>:<none>"]}],
    "/volumes": {
        "Volumes": [
            {"Name": name, "Driver": "local", "Scope": "local", "Mountpoint": "/", "Labels": {"swarm.x.node": node}}
            for name, node in (("data", "h1"), ("logs", "h1"), ("logs", "h2"))
        ]
    },
}
CONTAINERS = {"running": "/db", "paused": "/idle", "exited": "/done"}


async def manager(request: web.BaseRequest) -> web.Response:
    if request.path != "/containers/json":
        return web.json_response(ANSWERS[request.path])
    query = request.query
    wanted = list(CONTAINERS) if query.get("all") else ["running", "paused"]
    wanted = json.loads(query.get("filters", "{}")).get("status", wanted)
    return web.json_response([{"Names": [name]} for state, name in CONTAINERS.items() if state in wanted])


def completed(line: str, host: str) -> list[str]:
    environment = {"_SWARM_MANAGER_COMPLETE": "bash_complete", "COMP_WORDS": f"swarm-manager {line}"}
    result = CliRunner().invoke(cli, [], env={**environment, "SWARM_MANAGER_HOST": host}, prog_name="swarm-manager")
    assert (result.exit_code, result.stderr) == (0, "")
    return [each.removeprefix("plain,") for each in result.stdout.split()]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("service create --network ", "back front"),
        ("service create --network=f", "--network=front"),
        ("service create --network name=b", "name=back"),
        ("service create --network name=front,alias=f", ""),
        ("service create --secret t", "token"),
        ("service create --secret target=/run/key,source=", "target=/run/key,source=key target=/run/key,source=token"),
        ("service create --config src=", "src=motd"),
        ("service create --mount ", ""),
        ("service create --mount type=volume,src=", "type=volume,src=data type=volume,src=logs"),
        ("service create --name web ", "web:1 web:2"),
        ("service update --network-add fr", "front"),
        ("service update --network-rm fr", "front"),
        ("service update --secret-add source=k", "source=key"),
        ("service update --secret-rm ", "key token"),
        ("service update --config-rm ", "motd"),
        ("service update --image web:", "web:1 web:2"),
        ("service update ", "shop_web"),
        ("stack rm ", "shop"),
        ("node inspect ", "h1"),
        ("container inspect ", "db done idle"),
        ("stop ", "db idle"),
        ("container start ", "done"),
        ("container unpause ", "idle"),
        ("exec d", "db"),
        ("network connect front ", "db done idle"),
        ("image rm web:", "web:1 web:2"),
        ("volume rm ", "data h1/logs h2/logs"),
        ("inspect ", "back data db done front h1 h1/logs h2/logs idle key motd shop_web token web:1 web:2"),
    ],
)
async def test_names_of_the_cluster(tmp_path: Path, line: str, expected: str) -> None:
    async with client_of(manager, tmp_path) as client:
        assert await asyncio.to_thread(completed, line, client.endpoint.url) == expected.split()


@pytest.mark.parametrize("host", ["unix:///nowhere/docker.sock", "nonsense"])
def test_nothing_is_completed_and_said_without_a_manager(host: str) -> None:
    assert completed("service create --network ", host) == []


async def test_a_refused_list_does_not_take_the_others_along(tmp_path: Path) -> None:
    async def refusing(request: web.BaseRequest) -> web.Response:
        if request.path == "/containers/json":
            return web.json_response({"message": "no node answers"}, status=500)
        return await manager(request)

    async with client_of(refusing, tmp_path) as client:
        assert await asyncio.to_thread(completed, "inspect sh", client.endpoint.url) == ["shop_web"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("swarm-manager image rm web:", ["1", "2"]),
        ("swarm-manager service create --network=f", ["front"]),
        ("swarm-manager service create --secret source=k", ["key"]),
        ("swarm-manager service create --network ", ["back", "front"]),
    ],
)
async def test_bash_gets_what_it_puts_behind_its_own_word(tmp_path: Path, line: str, expected: list[str]) -> None:
    script = CliRunner().invoke(cli, ["completion", "bash"]).stdout
    run = f"{script}\nCOMP_LINE=$1 COMP_POINT=${{#1}}\n_swarm_manager_completion swarm-manager\n"
    async with client_of(manager, tmp_path) as client:
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "SWARM_MANAGER_HOST": client.endpoint.url,
        }
        result = await asyncio.to_thread(
            subprocess.run,
            ["bash", "-c", run + 'printf "%s\\n" "${COMPREPLY[@]}"', "bash", line],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
    assert (result.stdout.split(), result.stderr) == (expected, "")


def test_fish_gets_descriptions_whole() -> None:
    script = CliRunner().invoke(cli, ["completion", "fish"]).stdout
    assert 'string split --max 1 "," $completion' in script
