"""One of two nodes has an engine that means harm: what it says costs its own part of an answer, and says so."""

import asyncio
import gzip
import json
import logging
import resource
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest

from common.model import ImageName, Task
from common.model.service import TaskSpec
from common.model.task import ContainerStatus, TaskState, TaskStatus
from manager.api.call import Answer, Call, Relay, Stream
from manager.api.http import answer_memory
from manager.api.http.answer_memory import MIB
from manager.api.http.server import serve
from manager.api.logs.stream import FrameReader
from manager.store.transaction import Transaction
from tests.fakes.api_client import ADMIN, Client
from tests.fakes.api_cluster import WORKER1, WORKER2, ApiCluster
from tests.fakes.container_engine import ContainerEngine, Engines, Request
from tests.fakes.engine_answers import CONTAINER, EVENTS, IMAGE, USAGE, VOLUME
from tests.hostile.evil_engine import EvilEngine, frame, response

HONEST, EVIL, SHARED = "a" * 64, "e" * 64, "abcdefabcdef" + "0" * 52
Say = Callable[[Request], bytes]


class Evil(EvilEngine):
    """An evil engine that has been told nothing yet: it answers as an honest one that has one container."""

    def __init__(self, engine: ContainerEngine) -> None:
        super().__init__(engine.path, chance=0)

    def says(self, value: Any, status: int = 200, *headers: str) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.say = lambda _: response(status, body, *headers)


@pytest.fixture
async def engines(cluster: ApiCluster) -> AsyncIterator[Engines]:
    engines = Engines(cluster)
    engines.two = Evil(engines.two)
    engines._by_node[WORKER2] = engines.two
    engines.one.add(HONEST, "honest")
    async with engines:
        yield engines


@pytest.fixture
def evil(engines: Engines) -> Evil:
    assert isinstance(engines.two, Evil)
    return engines.two


async def answer(cluster: ApiCluster, method: str, path: str) -> Answer:
    path, _, query = path.partition("?")
    given = dict(pair.split("=", 1) for pair in query.split("&") if pair)
    reply = await cluster.api.answer(Call(method, path, query=given, caller=ADMIN))
    assert isinstance(reply, Answer)
    return reply


# --- lists: the other node's part is there, and the warning names the node --------------------------------------------

WRONG = {
    "no JSON": b"<html>",
    "a number without end": json.dumps([CONTAINER]).replace("1796052518", "1e999").encode(),
    "an integer of 400 digits": json.dumps([CONTAINER]).replace("1796052518", "1" * 400).encode(),
    "no number": json.dumps([CONTAINER]).replace("1796052518", "NaN").encode(),
    "another kind": b'{"a":1,"Volumes":5,"Images":5}',
    "lists for entries": b"[[]]",
    "nothing for entries": b"[null]",
    "a list for the labels": json.dumps([{**CONTAINER, "Labels": ["a"]}]).encode(),
    "nested 200,000 deep": b"[" * 200_000,
    "an entry nested 200,000 deep": b'[{"Id":' + b"[" * 200_000 + b"]" * 200_000 + b"}]",
    "half of a surrogate pair": json.dumps([{**CONTAINER, "Command": "\ud800"}]).encode(),
    "no UTF-8": b'["\xff"]',
    "nothing": b"",
}


@pytest.mark.parametrize("body", [pytest.param(value, id=name) for name, value in WRONG.items() if name != "nothing"])
@pytest.mark.parametrize("path", ["/containers/json", "/images/json", "/volumes", "/system/df"])
async def test_a_list_is_without_the_node_that_says_nonsense(
    cluster: ApiCluster, engines: Engines, evil: Evil, path: str, body: bytes
) -> None:
    engines.one.answers |= {"GET /images/json": (200, [IMAGE]), "GET /system/df": (200, USAGE)}
    engines.one.volumes.add("v")
    evil.says(body)
    reply = await answer(cluster, "GET", path)
    assert reply.status == 200
    warning = reply.headers["Warning"]
    assert "w2: the engine of node w2 gave a wrong answer" in warning
    assert "w1" not in warning
    text = msgspec.json.encode(reply.value)
    assert {"/containers/json": HONEST, "/images/json": IMAGE["Id"], "/volumes": '"v"', "/system/df": "vol"}[
        path
    ].encode() in text


@pytest.mark.parametrize("path", ["/containers/prune", "/build/prune"])
async def test_a_prune_is_without_it(cluster: ApiCluster, engines: Engines, evil: Evil, path: str) -> None:
    engines.one.answers[f"POST {path}"] = (200, {"ContainersDeleted": ["a" * 64], "SpaceReclaimed": 7})
    for wrong in (
        {"SpaceReclaimed": "x"},
        {"ContainersDeleted": [5], "VolumesDeleted": 5, "CachesDeleted": 5},
        [],
        2**70,
    ):
        evil.says(wrong)
        reply = await answer(cluster, "POST", path)
        assert (reply.status, reply.value["SpaceReclaimed"]) == (200, 7)
        assert "w2: the engine of node w2 gave a wrong answer" in reply.headers["Warning"]


async def test_a_refusal_of_one_node_is_not_the_answer_of_all(cluster: ApiCluster, evil: Evil) -> None:
    evil.says({"message": "the engine \x1b[31mis\r\nburning"}, 500)
    reply = await answer(cluster, "GET", "/containers/json")
    assert ([each["Id"] for each in reply.value], reply.status) == ([HONEST], 200)
    assert reply.headers["Warning"].isprintable()
    assert "w2: the engine" in reply.headers["Warning"]


async def test_the_cluster_reports_info_though_every_engine_refuses(client: Client, engines: Engines) -> None:
    refusing = {"GET /info": (500, {"message": "no"})}
    engines.one.answers |= refusing
    engines.two.answers |= refusing
    info = await client.get("/info")
    assert info["Containers"] == 0
    assert [warning for warning in info["Warnings"] if warning.endswith(": no")]


async def test_an_engines_words_do_nothing_to_a_terminal(cluster: ApiCluster, client: Client, evil: Evil) -> None:
    cluster.api.context.containers.put(EVIL, WORKER2)
    evil.says({"message": "line\x1b[2J\x07\nline\u202e"}, 409)
    assert await client.error("POST", f"/containers/{EVIL}/exec", {"Cmd": []}) == (
        409,
        "line\ufffd[2J\ufffd\nline\ufffd",
    )


async def test_numbers_that_are_added_up_stay_numbers(cluster: ApiCluster, evil: Evil) -> None:
    evil.says({"LayersSize": 2**53, "Images": [{**IMAGE, "Size": 2**53}]})
    reply = await answer(cluster, "GET", "/system/df")
    assert reply.value["LayersSize"] == 2**53


async def test_a_warning_has_an_end(cluster: ApiCluster, evil: Evil) -> None:
    evil.says({"message": "é" * 100_000}, 503)
    reply = await answer(cluster, "GET", "/containers/json")
    assert len(reply.headers["Warning"]) < 8192
    assert reply.headers["Warning"].endswith('"')


# --- requests to that one node ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in WRONG if name != "nothing"])
async def test_its_own_container_is_a_502_that_names_the_node(
    client: Client, evil: Evil, name: str, engines: Engines
) -> None:
    evil.say = lambda request: (
        response(200, json.dumps({"Id": EVIL, "Name": "/evil"}).encode())
        if "first" in shown
        else response(200, WRONG[name])
    )
    shown = {"first"}
    await client.get(f"/containers/{EVIL}/json")
    shown.clear()
    for method, path, body in (
        ("GET", f"/containers/{EVIL}/json", None),
        ("POST", f"/containers/{EVIL}/exec", {"Cmd": ["x"]}),
    ):
        status, message = await client.error(method, path, body)
        assert (status, message[:46]) == (502, "the engine of node w2 gave a wrong answer: it ")


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\r\n\r\n",
        b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 X\r\nLocation: /v1.51/containers/json\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 X\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 X\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 409 X\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"HTTP/1.1 \xb2\xb2\xb2 X\r\n\r\n",
        b"HTTP/1.1 200 X\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\n123456789",
        b"X" * 200_000 + b"\r\n\r\n",
    ],
)
async def test_heads_of_answers_that_are_none(
    cluster: ApiCluster, engines: Engines, evil: Evil, method: str, said: bytes
) -> None:
    cluster.api.context.containers.put(EVIL, WORKER2)
    evil.say = lambda _: said
    path = f"/containers/{EVIL}/{'changes' if method == 'GET' else 'attach'}"
    headers = {} if method == "GET" else {"Connection": "Upgrade", "Upgrade": "tcp"}
    async with served(cluster) as session, session.request(method, path, headers=headers) as reply:
        assert reply.status in {502, 503}
        assert "the engine of node w2" in (await reply.json())["message"]


@asynccontextmanager
async def served(cluster: ApiCluster) -> AsyncIterator[aiohttp.ClientSession]:
    """Serve the API over HTTP, and give a session with it."""
    path = str(cluster.folder / "docker.sock")
    connector = aiohttp.UnixConnector(path)
    async with (
        serve(cluster.api, [f"unix://{path}"]),
        aiohttp.ClientSession("http://x", connector=connector) as session,
    ):
        yield session


ALLOWED = {"content-type", "content-length", "api-version", "docker-experimental", "ostype", "server", "date"}
# What it says of itself a browser does not follow.
OURS = {"content-security-policy", "x-content-type-options"}
INJECTED = (
    "Content-Security-Policy: script-src *",
    "Set-Cookie: a=b",
    'Warning: 199 swarm-manager "w1: gone"',
    "Api-Version: 9.9",
    "Trailer: Z",
    "X-Docker-Container-Path-Stat: \x1b]0;x",
    "Access-Control-Allow-Origin: *",
    "X-Long: " + "x" * 7000,
    "Swarm: inactive",
)


@pytest.mark.parametrize("path", ["/containers/{id}/changes", "/images/busybox/history", "/containers/{id}/update"])
async def test_an_engines_headers_are_not_a_clients(
    cluster: ApiCluster, engines: Engines, evil: Evil, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.api.context.containers.put(EVIL, WORKER2)
    evil.says([], 200, "Content-Type: text/html; x=<script>", *INJECTED)
    method = "POST" if path.endswith("update") else "GET"
    if "history" in path:

        async def holders(_: str) -> dict[str, str]:
            return {WORKER2: IMAGE["Id"]}

        monkeypatch.setattr(engines, "image_holders", holders)
        name = ImageName(id="busybox:latest", image_id=IMAGE["Id"])
        await cluster.store.update(lambda tx: tx.put(name))
    async with served(cluster) as session, session.request(method, path.format(id=EVIL)) as reply:
        assert reply.status == 200
        assert {name.lower() for name in reply.headers} <= ALLOWED | OURS
        assert reply.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Api-Version"] != "9.9"
        assert reply.headers["Content-Type"] == "application/octet-stream"


async def test_the_head_of_a_stream_is_written_anew(cluster: ApiCluster, engines: Engines, evil: Evil) -> None:
    cluster.api.context.containers.put(EVIL, WORKER2)
    lines = ("HTTP/1.1 101 \x1b[31mX", *INJECTED, "Upgrade: tcp", "Connection: close, Upgrade", "", "hello")
    evil.say = lambda _: "\r\n".join(lines).encode()
    async with served(cluster) as session:
        path = f"/containers/{EVIL}/attach"
        async with session.post(path, headers={"Connection": "Upgrade", "Upgrade": "tcp"}) as reply:
            assert reply.status == 101
            assert reply.reason == "UPGRADED"
            assert dict(reply.headers) == {"Connection": "Upgrade", "Upgrade": "tcp"}


async def test_what_can_be_compressed_to_nothing_is_not_opened(cluster: ApiCluster, evil: Evil) -> None:
    evil.says(gzip.compress(b"[" + b"0," * 100_000_000 + b"0]", 1), 200, "Content-Encoding: gzip")
    made = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reply = await answer(cluster, "GET", "/containers/json")
    assert "its body is encoded as 'gzip'" in reply.headers["Warning"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - made < 64 * 1024


# --- how much memory --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("item", [b"{},", b"0,", b'"abc",', json.dumps(CONTAINER).encode() + b","])
async def test_long_answers_at_once_take_a_bounded_amount(cluster: ApiCluster, evil: Evil, item: bytes) -> None:
    evil.says(b"[" + item * (15 * MIB // len(item)) + b"{}]")
    await answer(cluster, "GET", "/containers/json")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    replies = await asyncio.gather(*(answer(cluster, "GET", "/containers/json") for _ in range(8)))
    assert all([each["Id"] for each in reply.value] == [HONEST] for reply in replies)
    assert all("w2: the engine of node w2 " in reply.headers["Warning"] for reply in replies)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < answer_memory.MAX_TOTAL // 1024
    assert cluster.api.lease()._memory.held == 0


async def test_an_answer_that_does_not_end(cluster: ApiCluster, evil: Evil) -> None:
    evil.says(b"[" + b" " * (17 * MIB))
    reply = await answer(cluster, "GET", "/containers/json")
    assert "w2: the engine of node w2 gave an answer of more than 16 MiB" in reply.headers["Warning"]


# --- who has what -----------------------------------------------------------------------------------------------------


def listing(*ids: str, **more: Any) -> list[dict[str, Any]]:
    return [{**CONTAINER, "Id": full_id, "Names": [f"/{full_id[:3]}"], **more} for full_id in ids]


def echo(request: Request) -> bytes:
    """Say of everything that is asked for that it is here."""
    name = request.path.split("/")[2] if request.path.count("/") > 1 else ""
    if request.path == "/containers/json":
        return response(200, json.dumps(listing(HONEST, SHARED)).encode())
    full_id = (name + EVIL)[:64] if set(name) <= set("0123456789abcdef") else EVIL
    return response(200, json.dumps({"Id": full_id, "ID": full_id, "Name": f"/{name}", "Config": {}}).encode())


async def test_what_one_node_was_seen_with_another_does_not_get(
    client: Client, cluster: ApiCluster, evil: Evil, engines: Engines
) -> None:
    evil.says([])
    await client.get("/containers/json?all=1")
    evil.say = echo
    for path in ("/containers/json?all=1", "/containers/json"):
        reply = await answer(cluster, "GET", path)
        shown = [(each["Id"], each["Labels"]["swarm.x.node"]) for each in reply.value]
        assert sorted(shown) == [(HONEST, "w1"), (SHARED, "w2")]
        assert f"w2: it lists container {HONEST[:12]}, which is on node w1" in reply.headers["Warning"]
    before = len(evil.requests)
    for reference in (HONEST, HONEST[:12], HONEST[:20]):
        assert (await client.get(f"/containers/{reference}/json"))["Node"]["Name"] == "w1"
    assert len(evil.requests) == before


async def test_an_id_that_begins_like_anothers_does_not_hide_it(client: Client, evil: Evil) -> None:
    await client.get("/containers/json?all=1")
    evil.says(listing(HONEST[:12] + "0" * 52))
    await client.get("/containers/json?all=1")
    assert (await client.get(f"/containers/{HONEST}/json"))["Node"]["Name"] == "w1"


async def test_an_id_that_both_claim_from_the_start_is_nobodys(client: Client, evil: Evil, cluster: ApiCluster) -> None:
    evil.say = echo
    reply = await answer(cluster, "GET", "/containers/json?all=1")
    assert sorted(each["Id"] for each in reply.value) == [HONEST, HONEST, SHARED]
    status, message = await client.error("GET", f"/containers/{HONEST}/json")
    assert (status, "nodes w1, w2 all claim container aaaaaaaaaaaa" in message) == (409, True)
    status, message = await client.error("GET", f"/containers/{HONEST[:12]}/json")
    assert (status, f"{HONEST[:12]} on w1, aaaaaaaaaaaa on w2" in message) == (400, True)


async def test_what_was_made_through_the_api_is_known_by_name(client: Client, engines: Engines, evil: Evil) -> None:
    evil.says({"message": "no"}, 500)
    status, made = await client.ask("POST", "/containers/create?name=db", {"Image": "busybox"})
    assert status == 201
    evil.say = echo
    full_id = json.loads(made)["Id"]
    for reference in ("db", full_id, full_id[:12]):
        assert (await client.get(f"/containers/{reference}/json"))["Node"]["Name"] == "w1"
    evil.says({"message": "No such container"}, 404)
    await client.ask("POST", "/containers/db/rename?name=db2")
    evil.say = echo
    engines.one.containers[full_id]["Names"] = ["/db2"]
    assert (await client.get("/containers/db2/json"))["Node"]["Name"] == "w1"
    engines.one.containers[full_id]["Names"] = ["/db3"]  # behind the manager's back
    evil.says({"message": "No such container"}, 404)
    assert (await client.error("GET", "/containers/db2/json"))[0] == 404
    assert (await client.get("/containers/db3/json"))["Id"] == full_id


async def test_a_claim_that_comes_alone_first_is_not_believed_for_ever(
    client: Client, engines: Engines, evil: Evil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the other node is silent, it may have the container, too."""
    monkeypatch.setattr("manager.api.containers.locate.GRACE_SECONDS", 0.05)
    engines.one.silent = True
    evil.say = echo
    assert (await client.get("/containers/honest/json"))["Node"]["Name"] == "w2"
    engines.one.silent = False
    assert (await client.error("GET", "/containers/honest/json"))[0] == 400


async def test_an_engine_cannot_make_what_is_another_nodes(client: Client, engines: Engines, evil: Evil) -> None:
    await client.get("/containers/json?all=1")
    engines.cut.add(WORKER1)

    def say(request: Request) -> bytes:
        if request.path == "/containers/create":
            return response(201, json.dumps({"Id": HONEST, "Warnings": []}).encode())
        return evil.__class__.answer(Evil(evil), request)

    evil.say = say
    status, message = await client.error("POST", "/containers/create?name=db", {"Image": "busybox"})
    assert (status, "the new container has the id aaaaaaaaaaaa" in message) == (502, True)
    engines.cut.clear()
    assert (await client.get(f"/containers/{HONEST}/json"))["Node"]["Name"] == "w1"


async def test_an_exec_instance_that_both_claim(client: Client, engines: Engines, evil: Evil) -> None:
    exec_id = "d" * 64
    engines.one.answers[f"GET /exec/{exec_id}/json"] = (200, {"ID": exec_id})
    evil.say = echo
    status, message = await client.error("GET", f"/exec/{exec_id}/json")
    assert (status, "nodes w1, w2 all claim" in message) == (409, True)
    evil.says({"ID": "f" * 64})
    reply = await client._api.answer(Call("GET", f"/exec/{exec_id}/json", caller=ADMIN))
    assert isinstance(reply, Relay)


def has_task(node_id: str, full_id: str, slot: int = 1) -> Callable[[Transaction], None]:
    def write(tx: Transaction) -> None:
        status = TaskStatus(state=TaskState.RUNNING, container_status=ContainerStatus(container_id=full_id))
        name = f"t{slot}".ljust(25, "t")
        task = Task(id=name, spec=TaskSpec(), service_id="s" * 25, service_name="web", slot=slot, node_id=node_id)
        tx.put(msgspec.structs.replace(task, status=status))

    return write


async def test_a_tasks_container_is_its_nodes(
    client: Client, cluster: ApiCluster, evil: Evil, engines: Engines
) -> None:
    await cluster.store.update(has_task(WORKER1, SHARED))
    evil.say = echo  # lists it, while its own node does not
    reply = await answer(cluster, "GET", "/containers/json?all=1")
    assert SHARED not in [each["Id"] for each in reply.value]
    assert "which is on node w1" in reply.headers["Warning"]
    engines.one.add(SHARED, "web")
    assert (await client.get(f"/containers/{SHARED}/json"))["Node"]["Name"] == "w1"


async def test_a_container_seen_elsewhere_is_not_that_of_a_later_task(
    client: Client, cluster: ApiCluster, engines: Engines, evil: Evil
) -> None:
    engines.one.add(SHARED, "box")
    await client.get("/containers/json?all=1")
    await cluster.store.update(has_task(WORKER2, SHARED))
    evil.says(listing(SHARED))
    for reference in (SHARED, SHARED[:12]):
        assert (await client.get(f"/containers/{reference}/json"))["Node"]["Name"] == "w1"
    reply = await answer(cluster, "GET", "/containers/json?all=1")
    assert [each["Labels"]["swarm.x.node"] for each in reply.value if each["Id"] == SHARED] == ["w1"]


async def test_a_container_that_two_tasks_claim_is_named_by_its_task(client: Client, cluster: ApiCluster) -> None:
    await cluster.store.update(has_task(WORKER1, SHARED))
    await cluster.store.update(has_task(WORKER2, SHARED, 2))
    status, message = await client.error("GET", f"/containers/{SHARED}/json")
    assert (status, message.endswith("use the name of its task")) == (409, True)


async def test_a_container_that_is_gone_may_be_another_nodes(client: Client, engines: Engines, evil: Evil) -> None:
    evil.says([])
    await client.get("/containers/json?all=1")
    engines.one.containers.clear()
    evil.says(listing(HONEST))
    for _ in range(2):
        (entry,) = await client.get("/containers/json?all=1")
        assert entry["Labels"]["swarm.x.node"] == "w2"


async def test_labels_of_nodes_are_the_managers(client: Client, evil: Evil) -> None:
    evil.say = lambda request: response(
        200,
        json.dumps(
            listing(EVIL, Labels={"swarm.x.node": "w1"})
            if request.path == "/containers/json"
            else {"Volumes": [{**VOLUME, "Labels": {"swarm.x.node": "w1"}}]}
        ).encode(),
    )
    shown = {each["Id"]: each["Labels"]["swarm.x.node"] for each in await client.get("/containers/json")}
    assert shown == {HONEST: "w1", EVIL: "w2"}
    volumes = (await client.get("/volumes"))["Volumes"]
    assert [each["Labels"]["swarm.x.node"] for each in volumes] == ["w2"]


# --- events and logs --------------------------------------------------------------------------------------------------


def events(*lines: bytes) -> Say:
    head = b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\n\r\n"
    return lambda _: head + b"".join(line + b"\n" for line in lines)


GOOD = json.dumps(EVENTS[0]).encode()
BAD_EVENTS = [
    b"{",
    b"[" * 200_000,
    b'{"Type":"container"}',
    GOOD.replace(b"1796052519057380227", b"1e999"),
    GOOD.replace(b"1796052519057380227", b"-1"),
    GOOD.replace(b'"container"', b'"node"'),
    GOOD.replace(b'"container"', b'"service"').replace(b'"local"', b'"swarm"'),
    GOOD.replace(b'{"image"', b'{"a":5,"image"'),
]


@pytest.mark.parametrize("line", BAD_EVENTS)
async def test_past_events_are_without_the_node_that_says_nonsense(
    client: Client, engines: Engines, evil: Evil, caplog: pytest.LogCaptureFixture, line: bytes
) -> None:
    engines.one.answers["GET /events"] = (200, GOOD + b"\n")
    evil.say = events(GOOD, line)
    _, told = await client.ask("GET", "/events?since=1&until=2")
    (event,) = [json.loads(each) for each in told.splitlines()]
    assert event["Actor"]["Attributes"]["node.name"] == "w1"
    assert "past events of node w2 are missing: its engine sent an invalid event" in caplog.text


@pytest.mark.parametrize("line", [*BAD_EVENTS, b"x" * 1_200_000])
async def test_a_bad_event_ends_that_nodes_stream_alone(
    cluster: ApiCluster, engines: Engines, evil: Evil, caplog: pytest.LogCaptureFixture, line: bytes
) -> None:
    caplog.set_level(logging.WARNING)
    evil.say = events(GOOD, line, GOOD.replace(b"start", b"never"))
    reply = await cluster.api.answer(Call("GET", "/events", caller=ADMIN))
    assert isinstance(reply, Stream)
    told: asyncio.Queue[bytes] = asyncio.Queue()
    following = asyncio.ensure_future(reply.produce(told.put))
    assert await told.get() == b""
    seen = json.loads(await told.get())
    assert (seen["Action"], seen["Actor"]["Attributes"]["node.name"]) == ("start", "w2")
    while "events of node w2 are missing" not in caplog.text:
        await asyncio.sleep(0.01)
    engines.one.answers["GET /events"] = (200, GOOD.replace(b"start", b"honest") + b"\n")
    while (event := json.loads(await told.get()))["Action"] != "honest":
        assert event["Action"] == "start"  # told again after the engine was asked anew
    following.cancel()
    await asyncio.wait({following})
    assert following.cancelled()


@pytest.mark.parametrize(
    "said",
    [
        frame(1, b"9999-99-99T99:99:99.999999999Z x\n"),
        frame(9, b"x"),
        b"\x01\x00\x00\x00\xff\xff\xff\xff",
        b"HTTP",
    ],
)
@pytest.mark.parametrize("follow", ["", "&follow=1"])
async def test_a_log_that_is_none_costs_that_tasks_alone(
    cluster: ApiCluster, engines: Engines, evil: Evil, said: bytes, follow: str
) -> None:
    cluster.resume()
    client = Client(cluster.api)
    spec = {"Name": "web", "TaskTemplate": {"ContainerSpec": {"Image": "busybox"}}, "Mode": {"Global": {}}}
    await client.make("/services/create", spec)
    while sum(task.status.state is TaskState.RUNNING for task in cluster.store.view.tasks) < 2:
        await cluster.store.update(lambda _: None)
    head = b"HTTP/1.1 200 X\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\n\r\n"
    evil.say = lambda _: head + said
    honest = frame(1, b"2026-11-30T15:28:39.000000000Z fine\n")
    for task in cluster.store.view.tasks:
        container = task.status.container_status
        assert container is not None
        engines.one.answers[f"GET /{container.container_id}/logs"] = (200, honest)
    engines.one._answer = lambda _: (200, honest)  # type: ignore[method-assign]
    reply = await cluster.api.answer(Call("GET", "/services/web/logs", query={"stdout": "1"}, caller=ADMIN))
    assert isinstance(reply, Stream)
    sent = bytearray()

    async def send(data: bytes) -> None:
        sent.extend(data)

    await reply.produce(send)
    assert b"fine" in b"".join(each.payload for each in FrameReader().feed(bytes(sent)))
