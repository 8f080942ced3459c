"""Our command line at a manager's API: what it does, says and exits with."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import msgspec
import pytest

from common.model import Task, TaskState, TaskStatus
from manager.cli.client import Client
from manager.cli.endpoint import Endpoint
from manager.cli.failures import CannotConnect
from manager.cli.progress import converge
from manager.cli.progress.judgement import WaitOptions
from manager.domain.refusals import Refusal
from manager.store.transaction import Transaction
from tests.api.conftest import DockerCli
from tests.api.swarm_cli import SwarmCli
from tests.fakes.api_cluster import TOKEN, WORKER1, ApiCluster

STACK = """
services:
  web:
    image: "registry.example/web:1.2"
    networks: [front]
    secrets: [key]
    configs: [motd]
    build: .
    deploy: {replicas: 2, update_config: {monitor: 100ms}}
networks:
  front: {}
secrets:
  key: {file: ./key.txt}
configs:
  motd: {file: ./motd.txt}
"""
QUICK = ("--no-resolve-image", "--update-monitor", "100ms")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "stack.yml").write_text(STACK)
    (tmp_path / "key.txt").write_text("s3cret")
    (tmp_path / "motd.txt").write_text("hello")
    return tmp_path


async def test_create_waits_until_tasks_run_and_shows_progress(swarm: SwarmCli):
    ran = await swarm.run("service", "create", *QUICK, "--name", "web", "--replicas", "2", "nginx:1")
    assert ran.code == 0, ran
    assert "overall progress: 2 out of 2 tasks" in ran.out
    assert ran.out.endswith("verify: Service web converged\n")


async def test_a_quiet_create_prints_the_id_alone(swarm: SwarmCli):
    printed = await swarm.ok("service", "create", *QUICK, "--quiet", "nginx:1")
    assert printed.startswith(await swarm.ok("service", "ls", "--quiet"))


async def test_scale_update_and_rollback(swarm: SwarmCli):
    await swarm.ok("service", "create", *QUICK, "--quiet", "--name", "web", "nginx:1")
    await swarm.ok("service", "create", *QUICK, "--quiet", "--name", "db", "postgres:17")
    printed = await swarm.ok("service", "scale", "web=3", "db=2")
    assert printed.startswith("web scaled to 3\ndb scaled to 2\n")
    assert "web: verify: Service web converged" in printed
    assert "3/3" in await swarm.ok("service", "ls")

    await swarm.ok("service", "update", "--image", "nginx:2", "--no-resolve-image", "--quiet", "web")
    assert await swarm.ok("service", "inspect", "-f", "{{.Spec.TaskTemplate.ContainerSpec.Image}}", "web") == "nginx:2"
    await swarm.ok("service", "rollback", "--quiet", "web")
    assert await swarm.ok("service", "inspect", "-f", "{{.Spec.TaskTemplate.ContainerSpec.Image}}", "web") == "nginx:1"


async def test_scale_changes_existing_services_and_exits_1_for_missing(swarm: SwarmCli):
    await swarm.ok("service", "create", *QUICK, "--quiet", "--name", "web", "nginx:1")
    ran = await swarm.run("service", "scale", "--detach", "nothing=1", "web=2")
    assert (ran.code, ran.out) == (1, "web scaled to 2\n")
    assert ran.err == "nothing: Error response from daemon: service nothing not found\n"


async def test_a_service_that_keeps_failing_ends_the_wait_and_says_why(cluster: ApiCluster, swarm: SwarmCli):
    waiting = asyncio.create_task(swarm.run("service", "create", "--no-resolve-image", "--name", "web", "nginx:1"))
    while not waiting.done():
        await _fail_current(cluster, "web")
    ran = await waiting
    assert ran.code == 1
    assert ran.err == "service web did not converge:\n  web.1: task: non-zero exit (3) (5 times)\n"


async def _fail_current(cluster: ApiCluster, name: str) -> None:
    """End the running task of a service with an error, as its worker would report it."""

    def fail(tx: Transaction) -> bool:
        services = tx.services.named(name)
        running = [task for service in services for task in tx.tasks.of_service(service.id) if task.live]
        for task in running:
            tx.put(_failed(task, tx.now))
        return bool(running)

    async with asyncio.timeout(10):
        while not await cluster.store.update(fail):
            await asyncio.sleep(0.02)
    await asyncio.sleep(2 * converge.MAX_INTERVAL)  # long enough for the command to have seen this one


def _failed(task: Task, now: float) -> Task:
    status = TaskStatus(timestamp=now, state=TaskState.FAILED, message="started", err="task: non-zero exit (3)")
    return msgspec.structs.replace(task, status=status, desired_state=TaskState.SHUTDOWN)


async def test_a_service_without_progress_ends_the_wait_at_its_timeout(cluster: ApiCluster, swarm: SwarmCli):
    cluster._running.clear()  # nobody makes tasks
    ran = await swarm.run("service", "create", "--no-resolve-image", "--timeout", "1s", "--name", "web", "nginx:1")
    assert ran.code == 1
    assert ran.err == "service web did not converge:\n  no progress for 1 seconds: 0 out of 1 tasks\n"


async def test_ctrl_c_leaves_the_service_alone_and_says_so(cluster: ApiCluster, docker: DockerCli, swarm: SwarmCli):
    cluster._running.clear()
    program = "from manager.cli import cli; cli()"
    host = f"unix://{cluster.folder}/docker.sock"
    words = ("-H", host, "service", "create", "--no-resolve-image", "--name", "web", "nginx:1")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", "-c", program, *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None
    async with asyncio.timeout(20):
        while b"overall progress" not in await process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert process.returncode == 130
    assert "Operation continuing in background." in err.decode()
    assert "Traceback" not in err.decode()
    assert "web" in await swarm.ok("service", "ls")


async def test_deploy_update_and_remove_a_stack(swarm: SwarmCli, folder: Path):
    ran = await swarm.run("stack", "deploy", "--resolve-image", "never", "-c", str(folder / "stack.yml"), "shop")
    assert ran.code == 0, ran
    assert ran.out.startswith(
        "Creating network shop_front\nCreating secret shop_key\nCreating config shop_motd\nCreating service shop_web\n"
    )
    assert "web is not built" in ran.err
    assert ran.out.endswith("verify: Service shop_web converged\n")
    tasks = json.loads(await swarm.ok("service", "inspect", "-f", "{{json .Spec.TaskTemplate}}", "shop_web"))
    assert tasks["ContainerSpec"]["Secrets"][0]["SecretID"]

    service_id = await swarm.ok("service", "inspect", "-f", "{{.ID}}", "shop_web")
    again = await swarm.run("stack", "deploy", "-c", str(folder / "stack.yml"), "--detach", "shop")
    assert again.out == f"Updating service shop_web (id: {service_id})\n"

    removed = await swarm.ok("stack", "rm", "shop")
    assert removed.split("\n") == [
        "Removing service shop_web",
        "Removing secret shop_key",
        "Removing config shop_motd",
        "Removing network shop_front",
    ]
    assert (await swarm.run("stack", "ps", "shop")).err == "nothing found in stack: shop\n"
    assert "shop_front" not in await swarm.ok("network", "ls")


async def test_a_stack_from_standard_input_prunes_what_it_lacks(swarm: SwarmCli, folder: Path):
    two = "services:\n  a: {image: x}\n  b: {image: x}\n"
    words = ("stack", "deploy", "--detach", "--resolve-image", "never", "--prune", "-c", "-", "shop")
    await swarm.ok(*words, stdin=two)
    assert await swarm.ok(*words, stdin="services:\n  a: {image: x}\n") == (
        "Removing service shop_b\nUpdating service shop_a (id: "
        + await swarm.ok("service", "inspect", "-f", "{{.ID}}", "shop_a")
        + ")"
    )


async def test_services_of_a_stack_pass_ports_on_in_one_deploy(swarm: SwarmCli):
    words = ("stack", "deploy", "--detach", "--resolve-image", "never", "-c", "-", "shop")

    def stack(**ports: list[str]) -> str:
        return json.dumps({"services": {name: {"image": "x", "ports": given} for name, given in ports.items()}})

    async def published(name: str) -> list[int]:
        ports = await swarm.ok("service", "inspect", "-f", "{{json .Endpoint.Spec.Ports}}", f"shop_{name}")
        return [port["PublishedPort"] for port in json.loads(ports)]

    await swarm.ok(*words, stdin=stack(a=["80:1", "81:2", "1-3:1-3"], b=["82:1", "4:4"]))
    swapped = await swarm.ok(*words, stdin=stack(a=["82:1", "81:2", "1-3:1-3"], b=["80:1", "4:4"]))
    assert swapped.count("Updating service") == 2
    before = json.loads(await swarm.ok("service", "inspect", "shop_a"))[0]["PreviousSpec"]["EndpointSpec"]["Ports"]
    assert {port["PublishedPort"] for port in before} == {1, 2, 3, 80, 81}
    assert (await published("a"), await published("b")) == ([1, 2, 3, 81, 82], [4, 80])
    assert await swarm.ok("service", "inspect", "-f", "{{.Spec.TaskTemplate.ForceUpdate}}", "shop_a") == "0"
    await swarm.ok(*words, stdin=stack(a=["81:2"], b=["80:1", "4:4"], new=["82:1", "83:2"]))
    assert (await published("a"), await published("new")) == ([81], [82, 83])
    both = await swarm.run(*words, stdin=stack(a=["81:2"], b=["81:1"]))
    assert (both.code, "'81' is already in use by service 'shop_a'" in both.err) == (1, True), both


async def test_stack_rm_waits_for_the_tasks(cluster: ApiCluster, swarm: SwarmCli, folder: Path):
    await swarm.ok("stack", "deploy", "--quiet", "--resolve-image", "never", "-c", str(folder / "stack.yml"), "shop")
    cluster._running.clear()
    removing = asyncio.create_task(swarm.run("stack", "rm", "shop"))
    await asyncio.sleep(4 * converge.MAX_INTERVAL)
    assert not removing.done()
    cluster.resume()
    assert (await removing).code == 0
    assert not list(cluster.store.view.tasks)
    assert not [network for network in cluster.store.view.networks if network.name == "shop_front"]


async def test_stack_rm_says_at_once_what_another_stack_uses(swarm: SwarmCli, folder: Path):
    words = ("stack", "deploy", "--detach", "--resolve-image", "never", "-c", "-")
    await swarm.ok(*words, "shop", stdin="services:\n  a: {image: x, networks: [n]}\nnetworks: {n: {}, m: {}}\n")
    external = "services:\n  b: {image: x, networks: [n]}\nnetworks:\n  n: {external: true, name: shop_n}\n"
    await swarm.ok(*words, "other", stdin=external)
    ran = await swarm.run("stack", "rm", "shop")
    assert ran.code == 1
    waits, first, last = ran.err.splitlines()
    assert waits.startswith("Waiting for ")
    assert "network shop_n" in waits
    assert first.startswith("Failed to remove network shop_n: Error response from daemon:")
    assert first.endswith("(other_b)")
    assert last == "failed to remove some resources from stack: shop"


async def test_an_external_network_must_exist(swarm: SwarmCli):
    text = "services:\n  a: {image: x, networks: [n]}\nnetworks:\n  n: {external: true}\n"
    ran = await swarm.run("stack", "deploy", "-c", "-", "shop", stdin=text)
    assert ran.code == 1
    assert ran.err.startswith('network "n" is declared as external, but could not be found.')


async def test_a_wrong_file_is_refused_with_its_place(swarm: SwarmCli, folder: Path):
    (folder / "bad.yml").write_text("services:\n  a:\n    image: x\n    deploy: {replicas: many}\n")
    ran = await swarm.run("stack", "deploy", "-c", str(folder / "bad.yml"), "shop")
    assert ran.code == 1
    assert "bad.yml:4" in ran.err
    assert "replicas" in ran.err


async def test_join_token(swarm: SwarmCli):
    printed = await swarm.ok("join-token", "worker")
    assert f"swarm-worker join --token {TOKEN}" in printed
    token = await swarm.ok("join-token", "-q", "worker")
    assert await swarm.ok("join-token", "-q", "--rotate", "worker") != token
    assert (await swarm.run("join-token", "king")).code == 1


async def test_status_tells_of_the_cluster(swarm: SwarmCli):
    lines = dict(line.split(":", 1) for line in (await swarm.ok("status")).split("\n"))
    assert lines["Cluster"].strip() == "c" * 25
    assert lines["Nodes"].strip() == "3 (3 ready; 1 manager)"


async def test_leave(cluster: ApiCluster, swarm: SwarmCli):
    refused = await swarm.run("leave")
    assert refused.code == 1
    assert await swarm.ok("leave", "--force") == "Node left the swarm."
    assert cluster.left


async def test_node_update_and_a_role_that_cannot_change(swarm: SwarmCli):
    await swarm.ok("node", "update", "--availability", "drain", "--label-add", "disk=ssd", "w1")
    assert "Drain" in await swarm.ok("node", "ls", "--filter", "name=w1")
    await swarm.ok("node", "update", "--label-rm", "disk", "w1")
    missing = await swarm.run("node", "update", "--label-rm", "disk", "w1")
    assert (missing.code, missing.err) == (1, "key disk doesn't exist in node's labels\n")
    alone = "the store of this cluster is a file of its one manager"
    for words, why in (
        (("promote", "w1"), alone),
        (("demote", "m1"), "attempting to demote the last manager of the swarm"),
        (("update", "--role", "manager", "w1"), alone),
    ):
        ran = await swarm.run("node", *words)
        assert ran.code == 1
        assert why in ran.err
    assert await swarm.ok("node", "promote", "m1") == "Node m1 is already a manager."
    assert await swarm.ok("node", "demote", "w1") == "Node w1 is already a worker."


async def test_a_nodes_name_and_what_is_not_believed_of_it(cluster: ApiCluster, swarm: SwarmCli, docker: DockerCli):
    await swarm.ok("node", "update", "--hostname", "web-3", "w1")
    assert "web-3" in await docker.ok("node", "ls")
    assert await docker.ok("node", "inspect", "--format", "{{.Description.Hostname}}", "web-3") == "web-3"
    await docker.ok("node", "update", "--label-add", "disk=ssd", "web-3")
    taken = await swarm.run("node", "update", "--hostname", "W2", "web-3")
    assert (taken.code, "is called w2 already" in taken.err) == (1, True)
    says = Refusal("NodeDescription.hostname", "it says that it is called 'evil'")
    cluster.api.context.soft.refusals.add(WORKER1, [says, says], 1_700_000_000.0)
    shown = await swarm.run("node", "ls")
    assert shown.err == f"web-3 ({WORKER1}): it says that it is called 'evil'\n"
    page = await swarm.ok("node", "inspect", "--pretty", "web-3")
    assert " NodeDescription.hostname: it says that it is called 'evil' (2 times, last at 2023-11-14 22:13:20" in page
    await swarm.ok("node", "update", "--hostname", "", "web-3")
    assert "w1" in await docker.ok("node", "ls")


async def test_networks_and_tasks(swarm: SwarmCli):
    await swarm.ok("network", "create", "--subnet", "10.20.0.0/24", "--gateway", "10.20.0.1", "back")
    config = json.loads(await swarm.ok("network", "inspect", "--format", "{{json .IPAM.Config}}", "back"))
    assert config == [{"Subnet": "10.20.0.0/24", "Gateway": "10.20.0.1"}]
    await swarm.ok("service", "create", *QUICK, "--quiet", "--name", "web", "--network", "back", "nginx:1")
    task_id = (await swarm.ok("task", "ls", "--quiet", "--no-trunc", "--filter", "service=web")).strip()
    assert await swarm.ok("task", "inspect", "--format", "{{.Status.State}}", task_id) == "running"
    assert await swarm.ok("network", "rm", "--force", "nothing") == ""


async def test_events_of_the_past(swarm: SwarmCli):
    await swarm.ok("service", "create", *QUICK, "--detach", "--name", "web", "nginx:1")
    lines = (await swarm.ok("events", "--since", "1m", "--until", "0s", "--filter", "type=service")).split("\n")
    assert any(line.endswith("(name=web)") and " service create " in line for line in lines)
    printed = await swarm.ok("events", "--since", "1m", "--until", "0s", "--format", "{{.Type}}/{{.Action}}")
    assert "service/create" in printed.split("\n")


async def test_a_manager_that_is_not_there(tmp_path: Path):
    socket = tmp_path / "docker.sock"
    for command in (["service", "ls"], ["status"]):
        ran = await SwarmCli(f"unix://{socket}").run(*command)
        assert ran.code == 1
        assert str(socket) in ran.err
        assert "swarm-manager start" in ran.err
        assert "swarm-manager init" in ran.err


async def test_status_does_not_wait_for_a_manager_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("manager.cli.cluster.commands.ANSWER_SECONDS", 0.1)
    hangs = asyncio.Event()

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await hangs.wait()
        writer.close()

    async with await asyncio.start_unix_server(say_nothing, tmp_path / "docker.sock"):
        ran = await SwarmCli(f"unix://{tmp_path}/docker.sock").run("status")
        hangs.set()
    assert ran.code == 1
    assert "has not answered for 0.1 s" in ran.err


async def test_a_wait_that_loses_its_manager_says_the_change_goes_on(capsys: pytest.CaptureFixture[str]):
    async with Client(Endpoint("unix:///nothing.sock")) as client:
        with pytest.raises(BaseExceptionGroup) as caught:
            await converge.converge(client, {"s1": "web"}, WaitOptions(), quiet=True)
    assert caught.group_contains(CannotConnect)
    assert "Operation continuing in background." in capsys.readouterr().err


async def test_the_host_comes_from_an_option_or_the_environment(
    swarm: SwarmCli, cluster: ApiCluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    host = f"unix://{cluster.folder}/docker.sock"
    elsewhere = SwarmCli(f"unix://{tmp_path}/nothing.sock")
    assert "w1" in await elsewhere.ok("node", "ls", "-H", host)
    assert "w1" in await elsewhere.ok("node", "ls", "--host", host)
    monkeypatch.setenv("SWARM_MANAGER_HOST", f"unix://{tmp_path}/nothing.sock")
    assert "w1" in await swarm.ok("node", "ls")  # the flag wins


async def test_history_and_the_way_back_to_any_of_it(swarm: SwarmCli):
    await swarm.ok("service", "create", *QUICK, "--quiet", "--name", "web", "nginx:1")
    for tag in ("2", "3"):
        await swarm.ok("service", "update", *QUICK, "--quiet", "--image", f"nginx:{tag}", "web")
    shown = await swarm.ok("service", "history", "--format", "{{.Revision}} {{.Image}} {{.Changes}}", "web")
    assert shown.splitlines() == ["3 nginx:3 Image", "2 nginx:2 Image", "1 nginx:1"]
    await swarm.ok("service", "rollback", "--quiet", "--to", "1", "web")
    assert (await swarm.ok("service", "ls", "--format", "{{.Image}}")) == "nginx:1"
    missing = await swarm.run("service", "rollback", "--to", "9", "web")
    assert missing.code == 1
    assert "no past revision 9" in missing.err


async def test_what_is_done_to_an_update_stands_alone(swarm: SwarmCli):
    await swarm.ok("service", "create", *QUICK, "--quiet", "--name", "web", "nginx:1")
    mixed = await swarm.run("service", "update", "--abort", "--image", "nginx:2", "web")
    assert (mixed.code, mixed.err.strip()) == (1, "other flags may not be combined with --abort")
    idle = await swarm.run("service", "update", "--pause", "web")
    assert (idle.code, "nothing to pause" in idle.err) == (1, True)
