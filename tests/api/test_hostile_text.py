"""Names and messages of nodes, tasks, containers and engines reach no terminal as they are, whatever is in them."""

import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from common.model import Network, Secret, TaskState
from common.model.network import NetworkSpec
from common.model.node import NodeDescription, NodeStatus
from common.model.secret import SecretSpec
from common.text.terminal import visible
from manager.store.transaction import Transaction
from tests.api.swarm_cli import SwarmCli
from tests.fakes.api_cluster import WORKER2, ApiCluster

# A title, a colour by a C1 control, a bell, another direction, a line of its own, a cell of its own.
EVIL = "evil\x1b]0;owned\x07\x9b31m\u202e\r\nFORGED\tCELL\x7f"
LABELS = {f"k{EVIL}": f"v{EVIL}"}


def corrupt(tx: Transaction) -> None:
    replace = msgspec.structs.replace
    node = tx.nodes.get(WORKER2)
    assert node is not None
    engine = replace(node.description.engine, engine_version=EVIL, labels=LABELS)
    description: NodeDescription = replace(node.description, hostname=EVIL, engine=engine)
    tx.put(replace(node, description=description, status=NodeStatus(state="down", message=EVIL, addr=EVIL)))
    (service,) = tx.services
    tx.put(replace(service, spec=replace(service.spec, labels=LABELS)))
    for task in list(tx.tasks.of_service(service.id)):
        tx.put(replace(task, status=replace(task.status, state=TaskState.FAILED, message=EVIL, err=EVIL)))
    tx.put(Secret(id="x" * 25, spec=SecretSpec(name="key", labels=LABELS, data=b"x")))
    tx.put(Network(id="n" * 25, spec=NetworkSpec(name="net", labels=LABELS)))


@pytest.fixture
async def swarm(cluster: ApiCluster, swarm: SwarmCli) -> SwarmCli:
    await swarm.ok("service", "create", "--no-resolve-image", "--detach", "--quiet", "--name", "web", "nginx:1")
    async with contextlib.AsyncExitStack() as stack:
        subscription = stack.enter_context(cluster.store.watch())
        while not any(True for _ in cluster.store.view.tasks):
            await subscription.next()
    await cluster.store.update(corrupt)
    return swarm


def forged(text: str) -> list[str]:
    """Return what would act on a terminal, and lines that others made up."""
    acting = [] if visible(text) == text else [text]
    return acting + [line for line in text.splitlines() if line.startswith("FORGED")]


COMMANDS = [
    ("node", "ls"),
    ("node", "ls", "--format", "{{.Hostname}} {{.Status}}"),
    ("node", "ls", "--format", "{{json .}}"),
    ("node", "ls", "--format", "json"),
    ("node", "inspect", WORKER2),
    ("node", "inspect", "--pretty", WORKER2),
    ("node", "inspect", "--format", "{{.Description.Hostname}}|{{json .Description}}", WORKER2),
    ("node", "ps", WORKER2),
    ("service", "ls"),
    ("service", "ps", "web"),
    ("service", "ps", "--no-trunc", "web"),
    ("service", "ps", "--format", "raw", "web"),
    ("service", "inspect", "--pretty", "web"),
    ("service", "inspect", "web"),
    ("secret", "ls", "--format", "table {{.Name}}\\t{{.Labels}}"),
    ("secret", "inspect", "--pretty", "key"),
    ("network", "ls", "--format", "{{.Labels}}"),
    ("network", "inspect", "net"),
    ("events", "--since", "10m", "--until", "0s"),
    ("events", "--since", "10m", "--until", "0s", "--format", "json"),
    ("task", "ls"),
    ("status",),
    ("node", "update", "--availability", "drain", EVIL),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
async def test_nothing_of_it_acts(swarm: SwarmCli, command: tuple[str, ...]):
    ran = await swarm.run(*command)
    # What a template prints is in the caller's hands: there only lines may be more.
    own = any("{{.Description" in word for word in command)
    assert not [found for found in forged(ran.out + ran.err) if not (own and found.startswith("FORGED"))]


async def test_it_is_shown(swarm: SwarmCli):
    shown = await swarm.ok("node", "ls", "--format", "{{.Hostname}}")
    assert "evil\\u001b]0;owned\\u0007\\u009b31m\\u202e\\r\\nFORGED\\tCELL\\u007f" in shown.splitlines()


async def test_what_json_means_stays(swarm: SwarmCli):
    for layout in ("json", "{{json .}}"):
        rows = [msgspec.json.decode(line) for line in (await swarm.ok("node", "ls", "--format", layout)).splitlines()]
        assert EVIL in {row["Hostname"] for row in rows}
    (node,) = msgspec.json.decode(await swarm.ok("node", "inspect", WORKER2))
    assert node["Description"]["Hostname"] == EVIL


async def test_progress_shows_a_tasks_trouble_on_its_line(cluster: ApiCluster, swarm: SwarmCli):
    ran = await swarm.run("service", "update", "--no-resolve-image", "--image", "nginx:2", "--timeout", "1s", "web")
    assert not forged(ran.out + ran.err)


async def test_logs_pass_unchanged_behind_a_printable_name(cluster: ApiCluster, swarm: SwarmCli):
    logs = cluster.engines.engines[WORKER2].logs
    for name in logs:
        logs[name] = [(1, "\x1b[32mgreen\n")]
    node = cluster.store.view.nodes.get(WORKER2)
    assert node is not None
    ready = msgspec.structs.replace(node, status=NodeStatus(state="ready"))
    await cluster.store.update(lambda tx: tx.put(ready))
    for line in (await swarm.ok("service", "logs", "web")).split("\n"):
        label, _, message = line.partition("    | ")
        assert message == "\x1b[32mgreen"
        assert "evil\\u001b]0;owned" in label
        assert not forged(label)


class Engineless:
    """A manager that answers lists of containers, images and volumes with what an engine has said."""

    def __init__(self) -> None:
        self.app = web.Application()
        for path, answer in (
            ("/containers/json", [CONTAINER]),
            ("/images/json", [IMAGE]),
            ("/volumes", {"Volumes": [VOLUME], "Warnings": [EVIL]}),
            ("/containers/web/top", {"Titles": [EVIL, "CMD"], "Processes": [[EVIL, EVIL]]}),
            ("/containers/web/changes", [{"Kind": 1, "Path": EVIL}]),
            ("/info", {}),
        ):
            self.app.router.add_get("/{version:v1[.][0-9]+}" + path, self._answering(answer))
            self.app.router.add_get(path, self._answering(answer))
        self.app.router.add_route("*", "/{any:.*}", self._refuse)

    def _answering(self, answer: Any) -> Any:
        async def handle(_: web.Request) -> web.Response:
            return web.json_response(answer)

        return handle

    async def _refuse(self, _: web.Request) -> web.Response:
        return web.json_response({"message": EVIL}, status=400)


CONTAINER = {
    "Id": "c" * 64,
    "Image": EVIL,
    "Command": EVIL,
    "Created": 1,
    "State": EVIL,
    "Status": EVIL,
    "Names": [f"/{EVIL}"],
    "Labels": LABELS,
    "Ports": [{"PrivatePort": 80, "Type": EVIL}],
}
IMAGE = {"Id": "sha256:" + "a" * 64, "RepoTags": [EVIL], "Created": 1, "Size": 1}
VOLUME = {"Name": EVIL, "Driver": EVIL, "Scope": EVIL, "Mountpoint": EVIL, "Labels": LABELS}


@pytest.fixture
async def lying() -> AsyncIterator[SwarmCli]:
    with tempfile.TemporaryDirectory(prefix="lie-") as folder:
        runner = web.AppRunner(Engineless().app)
        await runner.setup()
        await web.UnixSite(runner, f"{folder}/s").start()
        yield SwarmCli(f"unix://{Path(folder)}/s")
        await runner.cleanup()


@pytest.mark.parametrize(
    "command",
    [
        ("ps", "-a"),
        ("ps", "--no-trunc", "--format", "{{.Names}} {{.Labels}}"),
        ("ps", "--format", "raw"),
        ("images",),
        ("volume", "ls"),
        ("container", "top", "web"),
        ("container", "diff", "web"),
        ("container", "rm", "web"),
        ("container", "inspect", "web"),
    ],
    ids=" ".join,
)
async def test_engines_do_not_act_either(lying: SwarmCli, command: tuple[str, ...]):
    ran = await lying.run(*command)
    assert "evil" in ran.out + ran.err
    assert visible(ran.out + ran.err) == ran.out + ran.err
    assert not [line for line in ran.out.splitlines() if line.startswith("FORGED")]
