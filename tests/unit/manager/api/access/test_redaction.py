"""What a viewer may see: every route that it may call, with secrets in all places where people put them."""

import json
import re
from typing import Any

import msgspec
import pytest

from common.model import ImageName
from common.model.client import Role
from manager.api.access.redaction import hide, instruction
from manager.api.access.roles import Caller
from manager.api.app import RESOURCES
from manager.api.call import Answer, Call, Relay, Reply
from manager.cli.files import digest
from tests.fakes.api_client import ADMIN, Client
from tests.fakes.api_cluster import WORKER1, ApiCluster
from tests.fakes.container_engine import Engines
from tests.fakes.engine_answers import BOX, CONTAINER, CONTAINER_INSPECT, EVENTS, IMAGE, IMAGE_INSPECT, USAGE, VOLUME

SECRET = "s3cr3t"
VIEWER = Caller("viewer", "unix", Role.VIEWER, uid=1000, environment=False)
OPTIONS = {"type": "cifs", "device": "//files/x", "o": f"username=u,password={SECRET}"}
MOUNT = {
    "Type": "volume",
    "Source": "v",
    "Target": "/v",
    "VolumeOptions": {"DriverConfig": {"Name": "local", "Options": OPTIONS}},
}
SPEC = {
    "Name": "web",
    "TaskTemplate": {
        "ContainerSpec": {"Image": "busybox", "Env": [f"PASSWORD={SECRET}"], "Mounts": [MOUNT]},
        "LogDriver": {"Name": "splunk", "Options": {"splunk-token": SECRET}},
        "Networks": [{"Target": "net", "DriverOpts": {"key": SECRET}}],
    },
}
CLASSIC = ["|1", f"PASSWORD={SECRET}", "/bin/sh", "-c", "make"]
HISTORY = [
    {"CreatedBy": text, "Id": "<missing>", "Created": 1, "Size": 0, "Tags": None, "Comment": ""}
    for text in (
        f"ENV A={SECRET} B={SECRET}",
        f"ENV A {SECRET}",
        f"/bin/sh -c #(nop)  ENV A={SECRET}",
        f"ARG A={SECRET}",
        f"/bin/sh -c #(nop)  ARG A={SECRET}",
        f"RUN |2 A={SECRET} B=x {SECRET} /bin/sh -c make # buildkit",
        f"|1 A={SECRET} /bin/sh -c make",
    )
]
# Where there is a secret that a viewer must not see, by the route's pattern: a path, and what the engine says there.
SECRETIVE: dict[str, tuple[str, Any]] = {
    "/services": ("/services", None),
    "/services/{id}": ("/services/web", None),
    "/services/{id}/history": ("/services/web/history", None),
    "/tasks": ("/tasks", None),
    "/tasks/{id}": ("/tasks/{task}", None),
    "/containers/{id}/json": (
        f"/containers/{BOX}/json",
        {
            **CONTAINER_INSPECT,
            "Config": {"Env": [f"A={SECRET}"], "Labels": {}, "Cmd": CLASSIC},
            "HostConfig": {
                "NetworkMode": "bridge",
                "LogConfig": {"Type": "splunk", "Config": {"splunk-token": SECRET}},
                "Mounts": [MOUNT],
            },
        },
    ),
    "/containers/json": ("/containers/json", [{**CONTAINER, "Command": f"|1 A={SECRET} /bin/sh -c make"}]),
    "/images/{name+}/json": (
        "/images/busybox/json",
        {
            **IMAGE_INSPECT,
            "Config": {"Env": [f"A={SECRET}"], "OnBuild": [f"ENV A={SECRET}"]},
            "ContainerConfig": {"Cmd": ["/bin/sh", "-c", "#(nop) ", f"ENV A={SECRET}"], "Env": [f"A={SECRET}"]},
        },
    ),
    "/images/{name+}/history": ("/images/busybox/history", HISTORY),
    "/volumes": ("/volumes", {"Volumes": [{**VOLUME, "Options": OPTIONS}]}),
    "/volumes/{name+}": ("/volumes/vol", {**VOLUME, "Options": OPTIONS}),
    "/system/df": ("/system/df", {**USAGE, "Volumes": [{**VOLUME, "Options": OPTIONS}]}),
}
# Where there is none, or where it is said that viewers see it: arguments, labels, logs, the data of configs.
OPEN = {
    "/_ping": "/_ping",
    "/version": "/version",
    "/info": "/info",
    "/events": "/events?since=1&until=2",
    "/swarm": "/swarm",
    "/swarm/rebalance": "/swarm/rebalance",
    "/swarm/transfers": "/swarm/transfers",
    "/nodes": "/nodes",
    "/nodes/{id}": "/nodes/w1",
    "/networks": "/networks",
    "/networks/": "/networks/",
    "/networks/{id}": "/networks/net",
    "/secrets": "/secrets",
    "/secrets/{id}": "/secrets/s",
    "/configs": "/configs",
    "/configs/{id}": "/configs/c",
    "/services/{id}/logs": "/services/web/logs?stdout=1",
    "/tasks/{id}/logs": "/tasks/{task}/logs?stdout=1",
    "/containers/{id}/changes": f"/containers/{BOX}/changes",
    "/containers/{id}/logs": f"/containers/{BOX}/logs?stdout=1",
    "/containers/{id}/stats": f"/containers/{BOX}/stats?stream=0",
    "/images/json": "/images/json",
    "/plugins": "/plugins",
    "/plugins/{name+}/json": "/plugins/x/json",
}
# Made of shapes that have no place for a secret, whoever asks; the feed has the same ones.
SHAPED = {
    "/swarm/overview": "/swarm/overview",
    "/swarm/overview/nodes": "/swarm/overview/nodes",
    "/swarm/overview/services": "/swarm/overview/services",
    "/swarm/overview/tasks": "/swarm/overview/tasks?service=web",
    "/swarm/timeline": "/swarm/timeline",
    "/tasks/{id}/why": "/tasks/{task}/why",
    "/nodes/{id}/usage": "/nodes/w1/usage",
    "/services/{id}/usage": "/services/web/usage",
    "/metrics": "/metrics",
    "/metrics/targets": "/metrics/targets",
}
FOLLOWED = {"/swarm/overview/feed"}
# Numbers that a worker writes, under labels of its tasks that are shown in any case.
NUMBERS = {"/nodes/{id}/metrics"}
# The dashboard's files, the same for everybody; and who asks, in which its environment is a flag.
OWN = {"/", "/dashboard", "/dashboard/", "/dashboard/{path+}", "/swarm/caller"}
VIEWED = {route.pattern for resource in RESOURCES for route in resource.ROUTES if route.needs is Role.VIEWER}


class Sent:
    """The client's end of a relayed answer."""

    has_body = False

    def __init__(self) -> None:
        self.data = b""

    def body(self) -> Any:
        raise AssertionError

    async def start(self, status: int, headers: Any) -> None:
        assert status == 200

    async def send(self, data: bytes) -> None:
        self.data += data

    async def take_over(self, head: bytes) -> Any:
        raise AssertionError


async def text_of(reply: Reply) -> str:
    if isinstance(reply, Answer):
        return (reply.value if isinstance(reply.value, bytes) else msgspec.json.encode(reply.value)).decode()
    sent = Sent()
    await (reply.run(sent) if isinstance(reply, Relay) else reply.produce(sent.send))
    return sent.data.decode()


async def shown(cluster: ApiCluster, caller: Caller, path: str) -> str:
    path, _, query = path.partition("?")
    task = next(iter(cluster.store.view.tasks)).id
    given = dict(pair.split("=") for pair in query.split("&") if pair)
    return await text_of(await cluster.api.answer(Call("GET", path.format(task=task), query=given, caller=caller)))


@pytest.fixture
async def filled(cluster: ApiCluster, client: Client, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A cluster with a service that has its task, and engines that answer as `SECRETIVE` says."""
    async with Engines(cluster) as engines:
        for path, said in SECRETIVE.values():
            if said is not None:
                there = path.replace("busybox", IMAGE["Id"])  # engines are asked for images by their ids
                engines.one.answers[f"GET {there}"] = (200, said)
        engines.one.answers |= {
            "GET /events": (200, json.dumps(EVENTS[0]).encode()),
            "GET /images/json": (200, [IMAGE]),
            f"GET /containers/{BOX}/changes": (200, [{"Path": "/t", "Kind": 1}]),
            f"GET /containers/{BOX}/stats": (200, {"name": "/box"}),
            f"GET /containers/{BOX}/logs": (200, {"log": "said"}),
        }

        async def holders(_: str) -> dict[str, str]:
            return {WORKER1: IMAGE["Id"]}

        monkeypatch.setattr(engines, "image_holders", holders)
        named = ImageName(id="busybox:latest", image_id=IMAGE["Id"])
        await cluster.store.update(lambda tx: tx.put(named))
        await client.make("/networks/create", {"Name": "net", "Options": {"encrypted": ""}})
        await client.make("/secrets/create", {"Name": "s", "Data": "eA=="})
        await client.make("/configs/create", {"Name": "c", "Data": "eA=="})
        await client.make("/services/create", SPEC)
        cluster.resume()
        while not len(cluster.store.view.tasks):
            await cluster.store.update(lambda _: None)
        yield cluster


def test_every_route_of_viewers_is_thought_of() -> None:
    assert {*SECRETIVE, *OPEN, *SHAPED, *FOLLOWED, *NUMBERS, *OWN} == VIEWED


@pytest.mark.parametrize("pattern", SECRETIVE)
async def test_a_viewer_sees_no_secret(filled: ApiCluster, pattern: str) -> None:
    path = SECRETIVE[pattern][0]
    assert SECRET in await shown(filled, ADMIN, path)
    seen = await shown(filled, VIEWER, path)
    assert SECRET not in seen
    assert "<hidden>" in seen
    allowed = Caller("viewer", "unix", Role.VIEWER, uid=1000)  # made with --env
    assert SECRET in await shown(filled, allowed, path)


@pytest.mark.parametrize("pattern", OPEN)
async def test_other_answers_are_the_same_for_all(filled: ApiCluster, pattern: str) -> None:
    if pattern in {"/swarm", "/info"}:
        return  # these have join tokens and the time
    path = OPEN[pattern]
    seen, all_of_it = await shown(filled, VIEWER, path), await shown(filled, ADMIN, path)
    assert plain(seen) == plain(all_of_it)
    assert SECRET not in seen


@pytest.mark.parametrize("pattern", SHAPED)
async def test_no_shape_of_the_overview_has_a_secret(filled: ApiCluster, pattern: str) -> None:
    for caller in (ADMIN, VIEWER):
        seen = await shown(filled, caller, SHAPED[pattern])
        assert '"message"' not in seen
        assert SECRET not in seen


def plain(text: str) -> str:
    """Return JSON without spaces, and without what options are."""
    return re.sub(r'"(Options|DriverOpts)":\{[^}]*\}', "", re.sub(r"\s", "", text))


async def test_a_viewer_has_nothing_to_guess_a_secret_by(cluster: ApiCluster, client: Client) -> None:
    """A digest with its salt tells whoever tries short passwords which one it is."""
    made = digest.make(b"x")
    labels = {digest.LABEL: made, "tier": "front"}
    await client.make("/secrets/create", {"Name": "s", "Data": "eA==", "Labels": labels})
    for path in ("/secrets", "/secrets/s"):
        assert made in json.dumps(await client.get(path))
        seen = json.dumps(await Client(cluster.api, VIEWER).get(path))
        assert made not in seen
        assert "front" in seen


async def test_a_networks_options_are_no_secret(filled: ApiCluster) -> None:
    assert '"encrypted"' in await shown(filled, VIEWER, "/networks/net")
    assert "<hidden>" not in await shown(filled, VIEWER, "/networks/net")


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("ENV A=b", "ENV A=<hidden>"),
        ("ENV A=b C=d", "ENV A=<hidden>"),
        ("ENV A b", "ENV A=<hidden>"),
        ("ENV A=multi\nline", "ENV A=<hidden>"),
        ("ARG A", "ARG A"),
        ("ARG A=b", "ARG A=<hidden>"),
        ("/bin/sh -c #(nop)  ENV A=b", "/bin/sh -c #(nop)  ENV A=<hidden>"),
        ('/bin/sh -c #(nop)  CMD ["sh"]', '/bin/sh -c #(nop)  CMD ["sh"]'),
        ("RUN |1 A=b /bin/sh -c make # buildkit", "RUN |1 A=<hidden>"),
        ("|2 A=b C=d /bin/sh -c make", "|2 A=<hidden>"),
        ("RUN /bin/sh -c echo a | tee b=c", "RUN /bin/sh -c echo a | tee b=c"),
        ("COPY ENVIRONMENT=x /y", "COPY ENVIRONMENT=x /y"),
        ("WORKDIR /ENV A=b", "WORKDIR /ENV A=b"),
    ],
)
def test_instructions(text: str, hidden: str) -> None:
    assert instruction(text) == hidden


def test_commands() -> None:
    assert hide({"Cmd": CLASSIC}) == {"Cmd": ["|1", "PASSWORD=<hidden>", "/bin/sh", "-c", "make"]}
    assert hide({"Cmd": ["run", "--a=b"]}) == {"Cmd": ["run", "--a=b"]}
    assert hide({"Cmd": ["|2", "A=b", "C=d", "e=f"]}) == {"Cmd": ["|2", "A=<hidden>", "C=<hidden>", "e=f"]}
    assert hide({"OnBuild": None, "Args": [5, {"Env": ["A=b"]}]}) == {
        "OnBuild": None,
        "Args": [5, {"Env": ["A=<hidden>"]}],
    }
