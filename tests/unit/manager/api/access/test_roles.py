"""Roles: which route needs which, who is refused and how, what each sees."""

import asyncio
import json
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from common.clock import HOUR
from common.errors import PermissionDenied, Unavailable
from common.model import ClientCertificate
from common.model.client import Role
from common.tls import certificate_request, new_key
from manager.api.access.redaction import hide, redact_reply
from manager.api.access.roles import NOBODY, Caller, authorise, caller_of, look_up_caller
from manager.api.app import RESOURCES
from manager.api.call import Answer, Call, Relay, Reply, Stream
from manager.api.context import Context
from manager.api.errors import EngineError
from manager.api.http.answer_memory import MAX_OF_NODE, AnswerMemory
from manager.api.http.json_list import CHUNK
from manager.api.router import Route, Router
from manager.ca.clients import check_client
from manager.store.tables import Tables
from tests.fakes.api_client import Client
from tests.fakes.api_cluster import WORKER1, ApiCluster

ALL_ROUTES = [route for resource in RESOURCES for route in resource.ROUTES]
SPEC = {"Name": "web", "TaskTemplate": {"ContainerSpec": {"Image": "busybox", "Env": ["PASSWORD=x=y", "BARE"]}}}
SHOWN = ["PASSWORD=<hidden>", "BARE"]


def client_of(cluster: ApiCluster, role: Role, **more: Any) -> Client:
    return Client(cluster.api, Caller(role.label, "unix", role, uid=1000, **more))


@pytest.fixture
def viewer(cluster: ApiCluster) -> Client:
    return client_of(cluster, Role.VIEWER, environment=False)


@pytest.fixture
def operator(cluster: ApiCluster) -> Client:
    return client_of(cluster, Role.OPERATOR)


# --- routes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", ALL_ROUTES, ids=lambda route: f"{route.method} {route.pattern}")
async def test_every_route_says_who_may_and_refuses_the_role_below(cluster: ApiCluster, route: Route) -> None:
    assert route.needs is not None, "give this Route the least role that may call it: needs=Role.…"
    path = route.pattern.replace("{", "").replace("+}", "").replace("}", "")
    if route.needs > Role.VIEWER:
        below = client_of(cluster, Role(route.needs - 1))
        status, message = await below.error(route.method, path)
        call = f"{route.method} {route.pattern}"
        expected = f"{below.role} has the role {below.role}, and {call} needs the role {route.needs.label}"
        assert (status, message) == (403, f"permission denied: {expected}")
        assert cluster.audited[-1].status == 403
    nobody = Client(cluster.api, NOBODY)
    status, message = await nobody.error(route.method, path)
    assert status == 403
    assert "the caller is unknown" in message


# What viewers may beyond this list is a decision: each is a GET that shows neither files nor processes of a container,
# asks nothing of the world outside, and starts nothing.
VIEWED = r"""
/
/(_ping|version|info|events|system/df)
/swarm
/(nodes|services|tasks|secrets|configs|networks|volumes)(/\{(id|name\+)\})?
/networks/
/(services|tasks)/\{id\}/logs
/services/\{id\}/history
/swarm/rebalance
/swarm/transfers
/swarm/overview(/(nodes|services|tasks|feed))?
/swarm/timeline
/swarm/caller
/dashboard(/(\{path\+\})?)?
/metrics(/targets)?
/(nodes|services)/\{id\}/usage
/nodes/\{id\}/metrics
/tasks/\{id\}/why
/containers/json
/containers/\{id\}/(json|changes|logs|stats)
/images/json
/images/\{name\+\}/(json|history)
/plugins(/\{name\+\}/json)?
"""
ADMINISTERED = {
    ("POST", "/swarm/init"),
    ("POST", "/swarm/join"),
    ("POST", "/swarm/leave"),
    ("POST", "/swarm/update"),
    ("GET", "/swarm/unlockkey"),
    ("POST", "/swarm/unlock"),
    ("DELETE", "/nodes/{id}"),
    ("GET", "/swarm/audit"),
    ("GET", "/swarm/client-certificates"),
    ("GET", "/swarm/dashboard-tokens"),
    ("POST", "/swarm/dashboard-tokens/create"),
    ("DELETE", "/swarm/dashboard-tokens/{id}"),
    ("POST", "/swarm/client-certificates/create"),
    ("DELETE", "/swarm/client-certificates/{id}"),
}


def test_viewers_may_only_look() -> None:
    seen = [route for route in ALL_ROUTES if route.needs is Role.VIEWER]
    assert {route.method for route in seen} == {"GET", "HEAD"}
    patterns = [re.compile(line) for line in VIEWED.split()]
    assert [route.pattern for route in seen if not any(each.fullmatch(route.pattern) for each in patterns)] == []


def test_administrators_alone_may_manage_the_cluster_itself() -> None:
    assert {(route.method, route.pattern) for route in ALL_ROUTES if route.needs is Role.ADMIN} == ADMINISTERED


async def test_a_route_that_says_nothing_is_nobodys() -> None:
    async def handler(_: Context, __: Call) -> Reply:
        raise AssertionError("never reached")

    needs = Router([Route("GET", "/new", handler)]).match("GET", "/new").needs
    for role in Role:
        with pytest.raises(EngineError, match="its route declares none") as caught:
            authorise(Caller("alice", "unix", role), needs, "GET /new")
        assert caught.value.answered == 403


# --- what each role may -----------------------------------------------------------------------------------------------


async def test_an_operator_runs_services_and_changes_no_nodes_roles(operator: Client) -> None:
    await operator.make("/services/create", SPEC)
    node = await operator.get(f"/nodes/{WORKER1}")
    update = f"/nodes/{WORKER1}/update?version={node['Version']['Index']}"
    promoted = {**node["Spec"], "Role": "manager"}
    assert await operator.error("POST", update, promoted) == (
        403,
        "permission denied: operator has the role operator, and changing a node's role needs the role admin",
    )
    status, _ = await operator.ask("POST", update, {**node["Spec"], "Availability": "drain"})
    assert status == 200


async def test_a_role_can_be_lowered(cluster: ApiCluster, operator: Client) -> None:
    await operator.make("/services/create", SPEC)
    lowered = {"swarm-role": "viewer"}
    status, answer = await operator.ask("GET", "/services/web", headers=lowered)
    assert status == 200
    assert answer["Spec"]["TaskTemplate"]["ContainerSpec"]["Env"] == SHOWN
    status, message = await operator.error("DELETE", "/services/web", headers=lowered)
    assert (status, message) == (
        403,
        "permission denied: operator has the role viewer, and DELETE /services/{id} needs the role operator",
    )
    # Audited as what it was.
    assert (cluster.audited[-1].role, cluster.audited[-1].status) == ("operator", 403)


async def test_a_role_is_never_raised(cluster: ApiCluster, viewer: Client) -> None:
    for asked in ("operator", "admin"):
        status, message = await viewer.error("DELETE", "/services/web", headers={"swarm-role": asked})
        assert status == 403
        assert "viewer has the role viewer" in message
    seeing = client_of(cluster, Role.VIEWER, environment=True)
    await client_of(cluster, Role.OPERATOR).make("/services/create", SPEC)
    status, answer = await seeing.ask("GET", "/services/web", headers={"swarm-role": "viewer"})
    assert answer["Spec"]["TaskTemplate"]["ContainerSpec"]["Env"] == SPEC["TaskTemplate"]["ContainerSpec"]["Env"]


async def test_a_role_that_does_not_exist_is_refused(operator: Client) -> None:
    assert await operator.error("GET", "/services", headers={"swarm-role": "root"}) == (
        400,
        "Swarm-Role: 'root': expected one of viewer, operator, admin",
    )


async def test_join_tokens_are_for_administrators(client: Client, operator: Client, viewer: Client) -> None:
    assert (await client.get("/swarm"))["JoinTokens"]["Worker"].startswith("SWMTKN-1-")
    for other in (operator, viewer):
        assert (await other.get("/swarm"))["JoinTokens"] == {"Worker": "", "Manager": ""}
        assert "SWMTKN" not in json.dumps(await other.get("/info"))


async def test_a_viewer_sees_no_environment(client: Client, viewer: Client, cluster: ApiCluster) -> None:
    cluster.resume()
    await client.make("/services/create", SPEC)
    while not len(cluster.store.view.tasks):
        await cluster.store.update(lambda _: None)
    for path in ("/services", "/services/web", "/services/web?insertDefaults=true", "/tasks"):
        text = json.dumps(await viewer.get(path))
        assert "x=y" not in text
        assert "PASSWORD=<hidden>" in text
        assert "PASSWORD=x=y" in json.dumps(await client.get(path))


async def test_a_viewer_sees_no_environment_in_long_lists(client: Client, viewer: Client) -> None:
    for number in range(CHUNK + 20):
        await client.make("/services/create", {**SPEC, "Name": f"s{number}"})
    services = await viewer.get("/services")
    assert len(services) == CHUNK + 20
    assert all(each["Spec"]["TaskTemplate"]["ContainerSpec"]["Env"] == SHOWN for each in services)
    assert "x=y" in json.dumps(await client.get("/services"))  # what is shared and cached is as it was


# --- hiding -----------------------------------------------------------------------------------------------------------

VIEWER = Caller("v", "unix", Role.VIEWER, environment=False)


def shown_to_viewer(reply: Reply) -> Reply:
    return redact_reply(VIEWER, reply, AnswerMemory().lease())


LINE = b'{"Config":{"Env":["A=1"]},"Labels":{"Env":"kept"}}'
HIDDEN_LINE = b'{"Config":{"Env":["A=<hidden>"]},"Labels":{"Env":"kept"}}'


def test_hiding_reaches_any_depth_and_nothing_else() -> None:
    value = {"a": [{"Env": ["A=1", "B"]}], "Env": None, "env": ["A=1"], "Labels": {"Env": "A=1"}}
    hidden = {"a": [{"Env": ["A=<hidden>", "B"]}], "Env": None, "env": ["A=1"], "Labels": {"Env": "A=1"}}
    assert hide(value) == hidden


def test_an_answer_that_is_bytes() -> None:
    shown = shown_to_viewer(Answer(value=LINE))
    assert isinstance(shown, Answer)
    assert shown.value == HIDDEN_LINE
    text = Answer(value=b"OK", content_type="text/plain")
    assert shown_to_viewer(text) == text


def test_those_who_may_see_it_get_the_very_same_reply() -> None:
    answer = Answer(value=LINE)
    assert redact_reply(Caller("v", "unix", Role.VIEWER), answer, AnswerMemory().lease()) is answer


class Recorder:
    """The client's end of a relayed request."""

    has_body = False

    def __init__(self) -> None:
        self.headers: Any = None
        self.sent = b""

    def body(self) -> Any:
        raise AssertionError

    async def start(self, status: int, headers: Any) -> None:
        self.headers = headers

    async def send(self, data: bytes) -> None:
        self.sent += data

    async def take_over(self, head: bytes) -> Any:
        return head


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_what_an_engine_answers_is_hidden_line_by_line(size: int) -> None:
    body = LINE + b"\n" + LINE

    async def run(exchange: Any) -> None:
        await exchange.start(200, {"Content-Type": "application/json", "Content-Length": str(len(body))})
        for at in range(0, len(body), size):
            await exchange.send(body[at : at + size])

    relay = shown_to_viewer(Relay(run))
    assert isinstance(relay, Relay)
    recorder = Recorder()
    await relay.run(recorder)
    assert recorder.sent == HIDDEN_LINE + b"\n" + HIDDEN_LINE
    assert recorder.headers == {"Content-Type": "application/json"}


async def test_a_line_that_is_kept_takes_of_the_requests_room() -> None:
    """An engine may say much before a line ends."""
    memory = AnswerMemory()

    async def produce(send: Any) -> None:
        for _ in range(5 * 1024):
            await send(b"x" * 1024)
        held.append(memory.held)
        await send(b"x" * (16 * 1024 * 1024))

    held: list[int] = []
    with memory.lease() as lease:
        stream = redact_reply(VIEWER, Stream(produce), lease)
        assert isinstance(stream, Stream)
        with pytest.raises(Unavailable, match="a line of it is too long"):
            await stream.produce(Recorder().send)
    assert 5 * 1024 * 1024 <= held[0] <= MAX_OF_NODE
    assert memory.held == 0


async def test_logs_of_an_engine_are_passed_on_as_they_are() -> None:
    async def run(exchange: Any) -> None:
        await exchange.start(200, {"Content-Type": "application/vnd.docker.raw-stream"})
        await exchange.send(b"\x01\xff no json")

    relay = shown_to_viewer(Relay(run))
    assert isinstance(relay, Relay)
    recorder = Recorder()
    await relay.run(recorder)
    assert recorder.sent == b"\x01\xff no json"


async def test_a_stream_of_json_is_hidden_too() -> None:
    async def produce(send: Any) -> None:
        await send(LINE + b"\n")

    stream = shown_to_viewer(Stream(produce))
    assert isinstance(stream, Stream)
    recorder = Recorder()
    await stream.produce(recorder.send)
    assert recorder.sent == HIDDEN_LINE + b"\n"


# --- certificates -----------------------------------------------------------------------------------------------------

CREATE = "/swarm/client-certificates/create"


def order(**changes: Any) -> dict[str, Any]:
    request = certificate_request(new_key()).decode()
    return {"Name": "alice", "Role": "viewer", "CertificateRequest": request, **changes}


async def test_a_certificate_is_made_listed_and_revoked(client: Client, cluster: ApiCluster) -> None:
    status, made = await client.ask("POST", CREATE, order(Lifetime=2 * HOUR))
    assert status == 201
    assert made["Certificate"].count("BEGIN CERTIFICATE") == made["CA"].count("BEGIN CERTIFICATE") == 1
    assert made["Hosts"] == ["tcp://10.1.0.1:2376"]
    (listed,) = await client.get("/swarm/client-certificates")
    assert (listed["ID"], listed["Name"], listed["Role"]) == (made["ID"], "alice", "viewer")
    assert listed["IssuedBy"] == "tester at unix"
    assert await client.ask("DELETE", f"/swarm/client-certificates/{made['ID'][:8]}") == (
        200,
        [{"ID": made["ID"], "Name": "alice"}],
    )
    (listed,) = await client.get("/swarm/client-certificates")
    assert listed["RevokedBy"] == "tester at unix"
    status, message = await client.error("DELETE", "/swarm/client-certificates/alice")
    assert (status, message[:35]) == (404, "client certificate alice not found:")
    assert [entry.status for entry in cluster.audited if entry.method != "GET"] == [201, 200, 404]


async def test_all_certificates_of_a_name_are_revoked(client: Client) -> None:
    for name in ("alice", "alice", "bob"):
        await client.ask("POST", CREATE, order(Name=name))
    _, revoked = await client.ask("DELETE", "/swarm/client-certificates/alice")
    assert [each["Name"] for each in revoked] == ["alice", "alice"]
    left = [each for each in await client.get("/swarm/client-certificates") if each["RevokedBy"] == ""]
    assert [each["Name"] for each in left] == ["bob"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"Name": ""}, "name ''"),
        ({"Name": "a b"}, "1 to 64 letters"),
        ({"Name": "x" * 65}, "1 to 64 letters"),
        ({"Role": "root"}, "role 'root': expected one of viewer, operator, admin"),
        ({"Role": "swarm-manager"}, "expected one of"),
        ({"Lifetime": 1}, "expected between 1m and 87600h"),
        ({"Lifetime": -1}, "expected between 1m"),
        ({"CertificateRequest": "nonsense"}, "not a certificate request in PEM"),
    ],
)
async def test_orders_that_cannot_be(client: Client, changes: dict[str, Any], words: str) -> None:
    status, message = await client.error("POST", CREATE, order(**changes))
    assert status == 400
    assert words in message
    assert await client.get("/swarm/client-certificates") == []


async def test_old_records_go_when_a_certificate_is_made(client: Client, cluster: ApiCluster) -> None:
    now = cluster.clock.now()
    old = ClientCertificate(id="1", name="old", role="viewer", not_after=now - 91 * 86400)
    recent = ClientCertificate(id="2", name="recent", role="viewer", not_after=now - 89 * 86400)
    await cluster.store.update(lambda tx: [tx.put(each) for each in (old, recent)])
    await client.ask("POST", CREATE, order())
    assert {each["Name"] for each in await client.get("/swarm/client-certificates")} == {"recent", "alice"}


# --- callers ----------------------------------------------------------------------------------------------------------

RECORD = ClientCertificate(id="ab12", name="alice", role="viewer", not_after=2000.0)


def tables(record: ClientCertificate = RECORD) -> Tables:
    result = Tables()
    result.of(ClientCertificate).put(record)
    return result


def test_the_role_is_the_records() -> None:
    shown = Caller("alice", "10.0.0.9:1", Role.ADMIN, serial="ab12")
    caller = look_up_caller(shown, tables(), 1000.0)
    assert (caller.role, caller.environment) == (Role.VIEWER, False)
    seeing = msgspec.structs.replace(RECORD, environment=True)
    assert look_up_caller(shown, tables(seeing), 1000.0).environment
    operator = msgspec.structs.replace(RECORD, role="operator")
    assert look_up_caller(shown, tables(operator), 1000.0).environment


@pytest.mark.parametrize(
    ("record", "now", "words"),
    [
        (msgspec.structs.replace(RECORD, id="ff"), 1000.0, "does not belong to a client of this cluster"),
        (msgspec.structs.replace(RECORD, revoked_at=900.0), 1000.0, r"was revoked at 1970-01-01T00:15:00"),
        (RECORD, 2001.0, "expired at 1970-01-01T00:33:20"),
    ],
)
def test_certificates_that_are_good_no_more(record: ClientCertificate, now: float, words: str) -> None:
    with pytest.raises(PermissionDenied, match=words):
        check_client(tables(record), "ab12", "alice", now)
    with pytest.raises(EngineError, match=words) as caught:
        look_up_caller(Caller("alice", "10.0.0.9:1", Role.VIEWER, serial="ab12"), tables(record), now)
    assert caught.value.answered == 403


class Transport:
    """What asyncio tells of a connection."""

    def __init__(self, **extra: object) -> None:
        self._extra = extra

    def get_extra_info(self, name: str) -> Any:
        return self._extra.get(name)


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        client.connect(str(tmp_path / "s"))
        served, _ = listener.accept()
        with served:
            yield served, client


def test_whoever_could_open_the_socket_is_an_administrator(ends: tuple[socket.socket, socket.socket]) -> None:
    caller, until = caller_of(Transport(socket=ends[0]))  # type: ignore[arg-type]
    assert (caller.role, caller.uid, caller.pid, until) == (Role.ADMIN, os.getuid(), os.getpid(), 0.0)


def test_a_connection_without_a_certificate_is_nobodys() -> None:
    with socket.socket(socket.AF_INET) as tcp:
        assert caller_of(Transport(socket=tcp)) == (NOBODY, 0.0)  # type: ignore[arg-type]
    assert caller_of(Transport()) == (NOBODY, 0.0)  # type: ignore[arg-type]


class Tls:
    def getpeercert(self, *, binary_form: bool) -> bytes | None:
        assert binary_form
        return None


def test_a_tls_peer_that_showed_no_certificate_is_nobody() -> None:
    transport: asyncio.BaseTransport = Transport(ssl_object=Tls(), peername=("10.0.0.9", 5))  # type: ignore[assignment]
    assert caller_of(transport) == (Caller("nobody", "10.0.0.9:5"), 0.0)
