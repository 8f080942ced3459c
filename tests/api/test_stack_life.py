"""Plans and rotation on the command line, ours and Docker's, at a manager's API."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.api.conftest import DockerCli
from tests.api.swarm_cli import SwarmCli

STACK = """
version: "3.8"
services:
  web:
    image: registry.example/web:1.2
    secrets: [key]
    configs: [motd]
    environment: [MODE=slow]
    deploy: {replicas: 2, update_config: {monitor: 100ms}}
secrets:
  key: {file: ./key.txt}
configs:
  motd: {file: ./motd.txt}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "stack.yml").write_text(STACK)
    (tmp_path / "key.txt").write_text("s3cret")
    (tmp_path / "motd.txt").write_text("hello")
    return tmp_path / "stack.yml"


def plan(file: Path, *options: str) -> tuple[str, ...]:
    return ("stack", "plan", "--resolve-image", "never", *options, "-c", str(file), "shop")


def deploy(file: Path, *options: str) -> tuple[str, ...]:
    return ("stack", "deploy", "--resolve-image", "never", *options, "-c", str(file), "shop")


async def test_of_deploys_at_once_each_comes_after_another(swarm: SwarmCli, file: Path):
    for _ in range(2):  # that make the stack, and that change it
        deploys = await asyncio.gather(*(swarm.run(*deploy(file, "-d")) for _ in range(3)))
        assert [(each.code, each.err) for each in deploys] == [(0, "")] * 3
    assert await swarm.ok("service", "ls", "--format", "{{.Name}}") == "shop_web"


async def test_a_plan_exits_with_2_as_long_as_there_is_something_to_do(swarm: SwarmCli, file: Path):
    planned = await swarm.run(*plan(file))
    assert (planned.code, planned.out.splitlines()) == (
        2,
        [
            "+ network shop_default",
            "+ secret shop_key",
            "+ config shop_motd",
            "+ service shop_web: registry.example/web:1.2, 2 replicas",
            "Plan: 4 to create, 0 to change, 0 to remove.",
        ],
    )
    assert (await swarm.run(*deploy(file, "--dry-run"))).code == 2
    assert await swarm.ok("service", "ls", "-q") == ""
    await swarm.ok(*deploy(file))
    assert (await swarm.run(*plan(file))).out == "No changes: the stack is as the files say.\n"

    file.write_text(STACK.replace("MODE=slow", "MODE=fast"))
    (file.parent / "key.txt").write_text("an0ther")
    planned = await swarm.run(*plan(file))
    assert (planned.code, planned.out.splitlines()) == (
        2,
        [
            "~ secret shop_key: new content",
            "~ service shop_web: restarts its tasks for the new content of secret shop_key",
            '    TaskTemplate.ContainerSpec.Env.MODE: "slow" → "fast"',
            "Plan: 0 to create, 2 to change, 0 to remove.",
        ],
    )
    assert "an0ther" not in planned.out


async def test_a_plan_of_what_cannot_be_deployed_exits_with_1(swarm: SwarmCli, file: Path):
    file.write_text(STACK.replace("key: {file: ./key.txt}", "key: {external: true}"))
    planned = await swarm.run(*plan(file))
    assert (planned.code, planned.err) == (1, "failed to create service shop_web: secret not found: key\n")
    file.write_text(STACK.replace("replicas: 2", "replicas: two"))
    assert (await swarm.run(*plan(file))).code == 1


# What only the manager can tell of a file, and its words.
REFUSED = {
    "a port in use": ("    ports: ['80:80']\n", "port '80' is already in use by service 'other'"),
    "a schedule of a service that ends not": (
        "    x-swarm-schedule: '0 * * * *'\n",
        "swarm.x.schedule: expected a job",
    ),
    "a name that no image can have": ("    image: Web\n", "is not a valid repository/tag"),
    "a secret that is not there": ("    secrets: [outside]\n", "secret not found: outside"),
    "a network's addresses": ("    networks: [net]\n", "network config"),
    "too little memory": ("    deploy: {resources: {limits: {memory: 1M}}}\n", "Must be at least 4MiB"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_plan_and_a_deploy_refuse_the_same_and_leave_nothing(swarm: SwarmCli, file: Path, case: str):
    await swarm.ok("service", "create", "--detach", "--no-resolve-image", "--name", "other", "-p", "80:1", "nginx:1")
    lines, words = REFUSED[case]
    file.write_text(
        "services:\n"
        "  first: {image: a, networks: [fine]}\n"
        f"  second:\n    configs: [motd]\n{lines}"
        + ("" if "image:" in lines else "    image: b\n")
        + "networks:\n  fine: {}\n"
        + ("  net: {ipam: {config: [{subnet: 10.1.1.1/24}]}}\n" if "[net]" in lines else "")
        + "secrets:\n  key: {file: ./key.txt}\n  outside: {external: true}\n"
        "configs:\n  motd: {file: ./motd.txt}\n"
    )
    planned, deployed = await swarm.run(*plan(file)), await swarm.run(*deploy(file))
    assert (planned.code, planned.out) == (1, "")
    assert (deployed.code, deployed.out) == (1, "")
    assert planned.err == deployed.err
    assert words in planned.err
    assert await swarm.ok("service", "ls", "--format", "{{.Name}}") == "other"
    for kind in ("secret", "config"):
        assert await swarm.ok(kind, "ls", "-q") == ""
    assert "shop_" not in await swarm.ok("network", "ls")


async def test_what_would_be_refused_is_not_built(swarm: SwarmCli, file: Path):
    await swarm.ok("service", "create", "--detach", "--no-resolve-image", "--name", "other", "-p", "80:1", "nginx:1")
    file.write_text("services:\n  web: {build: ., image: web:1, ports: ['80:80']}\n")
    (file.parent / "Dockerfile").write_text("FROM scratch\n")
    refused = await swarm.run(*deploy(file))
    words = "failed to create service shop_web: port '80' is already in use by service 'other'"
    assert (refused.code, refused.out, words in refused.err) == (1, "", True), refused


async def test_a_deploy_that_is_refused_leaves_a_stack_as_it_was(swarm: SwarmCli, file: Path):
    await swarm.ok(*deploy(file))
    before = [
        await swarm.ok(kind, "inspect", f"shop_{name}") for kind, name in (("service", "web"), ("config", "motd"))
    ]
    file.write_text(STACK.replace("MODE=slow", "MODE=fast").replace("replicas: 2", "resources: {limits: {memory: 1M}}"))
    (file.parent / "motd.txt").write_text("good morning")
    refused = await swarm.run(*deploy(file, "--prune"))
    assert refused.code == 1
    assert refused.err.startswith("failed to update service shop_web: ")
    after = [await swarm.ok(kind, "inspect", f"shop_{name}") for kind, name in (("service", "web"), ("config", "motd"))]
    assert after == before


async def test_a_deploy_changes_content_and_service_in_one_update(swarm: SwarmCli, file: Path):
    await swarm.ok(*deploy(file))
    before = json.loads(await swarm.ok("service", "inspect", "shop_web"))[0]["Spec"]["TaskTemplate"]["ContainerSpec"]
    file.write_text(STACK.replace("MODE=slow", "MODE=fast"))
    (file.parent / "motd.txt").write_text("good morning")
    assert "Updating config shop_motd (new content)" in await swarm.ok(*deploy(file))
    service = json.loads(await swarm.ok("service", "inspect", "shop_web"))[0]
    previous = service["PreviousSpec"]["TaskTemplate"]["ContainerSpec"]
    assert (previous["Env"], previous["Configs"]) == (before["Env"], before["Configs"])
    new = await swarm.ok("config", "inspect", "-f", "{{.ID}}", "shop_motd")
    assert service["Spec"]["TaskTemplate"]["ContainerSpec"]["Configs"][0]["ConfigID"] == new


async def test_secrets_of_other_clients_are_planned_without_guessing(swarm: SwarmCli, docker: DockerCli, file: Path):
    await docker.ok("stack", "deploy", "--resolve-image", "never", "--detach=true", "-c", str(file), "shop")
    planned = await swarm.run(*plan(file))
    assert planned.code == 0, planned
    assert "secret shop_key: made by another client, so it is not known whether its content changes" in planned.err


async def test_dockers_deploy_rotates_as_well(docker: DockerCli, file: Path):
    words = ("stack", "deploy", "--resolve-image", "never", "--detach=true", "-c", str(file), "shop")
    await docker.ok(*words)
    old = await docker.ok("secret", "inspect", "-f", "{{.ID}}", "shop_key")
    (file.parent / "key.txt").write_text("an0ther")
    await docker.ok(*words)
    new = await docker.ok("secret", "inspect", "-f", "{{.ID}}", "shop_key")
    assert new != old
    references = await docker.ok("service", "inspect", "-f", "{{json .Spec.TaskTemplate.ContainerSpec}}", "shop_web")
    assert json.loads(references)["Secrets"][0]["SecretID"] == new
    assert "shop_key.v1" in await docker.ok("secret", "ls")


async def test_an_update_of_a_secret_waits_for_its_services(swarm: SwarmCli):
    await swarm.ok("secret", "create", "--label", "a=b", "key", "-", stdin="one")
    create = ("service", "create", "--no-resolve-image", "--update-monitor", "100ms", "--secret", "key")
    await swarm.ok(*create, "--name", "web", "--replicas", "2", "nginx:1")
    updated = await swarm.ok("secret", "update", "--label", "c=d", "key", "-", stdin="two")
    shown = json.loads(await swarm.ok("secret", "inspect", "key"))[0]
    assert updated.splitlines()[0] == shown["ID"]
    assert updated.endswith("Service web converged\nweb: 2/2 tasks have it")
    assert {"a": "b", "c": "d", "swarm.x.version": "2"}.items() <= shown["Spec"]["Labels"].items()
    assert await swarm.ok("secret", "update", "key", "-", stdin="two") == "key has this content already"
    assert (await swarm.run("secret", "update", "nothing", "-", stdin="x")).code == 1


async def test_deploy_takes_wait_and_refuses_it_beside_detach(swarm: SwarmCli, file: Path):
    assert (await swarm.run(*deploy(file, "--dry-run", "--wait"))).code == 2
    both = await swarm.run(*deploy(file, "--wait", "--detach"))
    assert both.code == 1
    assert "--wait and --detach contradict each other" in both.err
