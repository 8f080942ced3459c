"""The same requests to a Docker engine in swarm mode and to the manager's API: the same statuses, words and objects.

What differs on purpose is listed here with its reason, and in docs/api.md.
"""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from manager.api.http.server import serve
from tests.e2e.ci import long
from tests.fakes.api_cluster import ApiCluster
from tests.lab import plain_engine

pytestmark = long

SAME = ""


@dataclass(frozen=True)
class Case:
    """A request. `why` says why the answers differ on purpose; without one they must be the same."""

    method: str
    path: str
    body: Any = None
    why: str = SAME


def spec(name: str = "diff", container: Any = None, template: Any = None, **more: Any) -> Any:
    container_spec = {"Image": "busybox", **(container or {})}
    return {"Name": name, "TaskTemplate": {"ContainerSpec": container_spec, **(template or {})}, **more}


def create(body: Any, why: str = SAME) -> Case:
    return Case("POST", "/services/create", body, why)


NOT_500 = "a mistake of the client's is 400 here, the engine says 500"
CHECKED_AT_ONCE = "refused when it is said; the engine stores it and its tasks are rejected"
OWN_WORDS = "worded here to name the field and what was expected"
NAMES_THE_COMMAND = "names the command that does it here, after the engine's words"
DATA = "aGVsbG8="

ERRORS = (
    Case("GET", "/nope"),
    Case("PUT", "/info"),
    Case("GET", "/v1.23/info"),
    Case("GET", "/services/no.such"),
    Case("GET", "/nodes/no.such"),
    Case("GET", "/tasks/no.such"),
    Case("GET", "/secrets/no.such"),
    Case("GET", "/configs/no.such"),
    Case("GET", "/networks/no.such"),
    Case("DELETE", "/services/no.such"),
    Case("DELETE", "/nodes/no.such"),
    Case("DELETE", "/secrets/no.such"),
    Case("DELETE", "/configs/no.such"),
    Case("DELETE", "/networks/no.such"),
    Case("DELETE", "/networks/host"),
    Case("POST", "/services/no.such/update", {}),
    Case("POST", "/services/no.such/update?version=1", spec("x")),
    Case("POST", "/services/no.such/update?version=y", {}),
    Case("POST", "/nodes/no.such/update", {"Role": "worker", "Availability": "active"}),
    Case("POST", "/nodes/no.such/update?version=1", {"Role": "nope", "Availability": "active"}),
    Case("POST", "/nodes/no.such/update?version=1", {"Role": "worker", "Availability": "nope"}),
    Case("POST", "/nodes/no.such/update?version=1", {"Role": "worker", "Availability": "active"}),
    Case("POST", "/secrets/no.such/update?version=1", {}),
    Case("POST", "/configs/no.such/update?version=1", {}),
    Case("POST", "/secrets/no.such/update", {}),
    Case("GET", "/services/no.such/logs?stdout=1"),
    Case("GET", "/tasks/no.such/logs?stdout=1"),
    Case("GET", "/services/no.such/logs", why=NOT_500),
    Case("GET", '/services?filters={"nope":["x"]}'),
    Case("GET", '/tasks?filters={"nope":["x"]}'),
    Case("GET", '/nodes?filters={"nope":["x"]}'),
    Case("GET", '/secrets?filters={"nope":["x"]}'),
    Case("GET", '/configs?filters={"nope":["x"]}'),
    Case("GET", '/networks?filters={"nope":["x"]}'),
    Case("GET", "/services?filters=zzz"),
    Case("GET", "/services?filters=[]"),
    Case("GET", '/services?filters={"name":"x"}'),
    Case("GET", '/tasks?filters={"service":["x"]}'),
    Case("GET", '/tasks?filters={"node":["x"]}'),
    Case("GET", '/tasks?filters={"desired-state":["x"]}', why=NOT_500),
    Case("GET", '/nodes?filters={"role":["x"]}', why=NOT_500),
    Case("POST", "/swarm/init", {}, NAMES_THE_COMMAND),
    Case("POST", "/swarm/join", {}, NAMES_THE_COMMAND),
    Case("POST", "/swarm/leave", why=NAMES_THE_COMMAND),
    Case("POST", "/swarm/unlock", {"UnlockKey": "x"}),
    Case("POST", "/swarm/update", {"Name": "default"}),
    Case("POST", "/swarm/update?version=99999", {"Name": "default"}),
    Case("POST", "/swarm/update?version=x", {"Name": "default"}),
    create(None),
    create({"Name": "a b"}),
    create({"Name": "diff", "TaskTemplate": {"Runtime": "nope"}}),
    create(spec(container={"Image": ""})),
    create(spec(container={"Image": "UPPER CASE"})),
    create(spec("bad name")),
    create(spec("-b")),
    create(spec("a" * 64)),
    create(spec(template={"Networks": [{"Target": "nonet"}]}), NOT_500),
    create(spec(container={"Secrets": [{"SecretID": "s", "SecretName": "s", "File": {"Name": "s"}}]})),
    create(spec(container={"Configs": [{"ConfigID": "s", "ConfigName": "s", "File": {"Name": "s"}}]})),
    create(spec(container={"Secrets": [{"SecretID": "s", "SecretName": "s"}]})),
    create(spec(Mode={"Replicated": {}, "Global": {}})),
    create(spec(Mode={"Replicated": {"Replicas": -1}}), OWN_WORDS),
    create(spec(template={"Placement": {"Constraints": ["x"]}}), NOT_500),
    create(
        spec("never", template={"Placement": {"Constraints": ["nope==1"]}}),
        "what can never match is refused, not pending",
    ),
    create(spec(template={"Resources": {"Limits": {"MemoryBytes": 5}}})),
    create(spec(template={"Resources": {"Limits": {"NanoCPUs": 5}}})),
    create(spec(template={"Resources": {"Reservations": {"NanoCPUs": -5}}})),
    create(spec(template={"RestartPolicy": {"Condition": "nope"}})),
    create(spec(template={"RestartPolicy": {"Delay": -1}})),
    create(spec(template={"RestartPolicy": {"Window": -1}})),
    create(spec(UpdateConfig={"FailureAction": "nope"})),
    create(spec(UpdateConfig={"Order": "nope"})),
    create(spec(UpdateConfig={"MaxFailureRatio": 2})),
    create(spec(UpdateConfig={"Delay": -1})),
    create(spec(UpdateConfig={"Monitor": -1})),
    create(spec(EndpointSpec={"Mode": "nope"})),
    create(spec(EndpointSpec={"Mode": "dnsrr", "Ports": [{"TargetPort": 80, "PublishedPort": 8080}]})),
    create(spec(EndpointSpec={"Ports": [{"TargetPort": n, "PublishedPort": 8080} for n in (80, 81)]})),
    create(spec(container={"Mounts": [{"Type": "nope", "Target": "/x"}]})),
    create(spec(container={"Mounts": [{"Type": "tmpfs", "Target": "/a"}] * 2})),
    create(spec(container={"Healthcheck": {"Interval": 5}})),
    create(spec("isolation", container={"Isolation": "nope"}), CHECKED_AT_ONCE),
    create(spec("bind", container={"Mounts": [{"Type": "bind", "Target": "/x"}]}), CHECKED_AT_ONCE),
    create(spec("notarget", container={"Mounts": [{"Type": "volume"}]}), CHECKED_AT_ONCE),
    create(spec("port0", EndpointSpec={"Ports": [{"PublishedPort": 8081}]}), CHECKED_AT_ONCE),
    create(spec("port9", EndpointSpec={"Ports": [{"TargetPort": 1, "PublishedPort": 99999}]}), CHECKED_AT_ONCE),
    create(spec("job", Mode={"ReplicatedJob": {}})),
    Case("POST", "/secrets/create", {"Name": "s2"}),
    Case("POST", "/secrets/create", {"Name": "", "Data": DATA}),
    Case("POST", "/secrets/create", {"Name": "a b", "Data": DATA}),
    Case("POST", "/configs/create", {"Name": "c2"}),
    Case("POST", "/networks/create", {"Name": "", "Driver": "overlay"}),
    Case("POST", "/networks/create", {"Name": "host", "Driver": "overlay"}),
    Case("POST", "/networks/create", {"Name": "a b", "Driver": "overlay"}),
    Case("POST", "/networks/create", {"Name": "x", "Driver": "overlay", "IPAM": {"Config": [{"Subnet": "nope"}]}}),
    Case(
        "POST", "/networks/create", {"Name": "x", "Driver": "overlay", "IPAM": {"Config": [{"Subnet": "10.9.0.5/24"}]}}
    ),
)

FILE_TARGET = {"Name": "f", "UID": "0", "GID": "0", "Mode": 292}
OBJECTS: tuple[tuple[str, Any], ...] = (
    ("minimal", spec()),
    ("global", spec(Mode={"Global": {}})),
    ("empty sections", spec(template={"RestartPolicy": {}, "Resources": {}, "Placement": {}}, EndpointSpec={})),
    (
        "full",
        spec(
            container={
                "Args": ["sleep", "1000"],
                "Env": ["A=b"],
                "Hosts": ["1.2.3.4 foo"],
                "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1000000000},
                "Mounts": [
                    {"Type": "volume", "Target": "/v", "Source": "vv"},
                    {"Type": "tmpfs", "Target": "/t"},
                    {"Type": "bind", "Source": "/tmp", "Target": "/b", "BindOptions": {"Propagation": "rprivate"}},
                ],
                "Privileges": {"SELinuxContext": {"Disable": True}},
                "Sysctls": {"a": "b"},
                "CapabilityAdd": ["CAP_NET_ADMIN"],
                "Ulimits": [{"Name": "nofile", "Hard": 5, "Soft": 4}],
                "DNSConfig": {"Nameservers": ["1.1.1.1"]},
                "TTY": True,
                "Init": False,
                "StopGracePeriod": 0,
            },
            template={
                "RestartPolicy": {"Condition": "on-failure", "Delay": 0, "MaxAttempts": 3},
                "Placement": {
                    "Constraints": ["node.role==worker"],
                    "Preferences": [{"Spread": {"SpreadDescriptor": "node.labels.z"}}],
                    "MaxReplicas": 1,
                },
                "LogDriver": {"Name": "json-file", "Options": {"max-size": "1m"}},
                "Resources": {"Limits": {"NanoCPUs": 100000000, "Pids": 5}, "Reservations": {"MemoryBytes": 4194304}},
                "ForceUpdate": 2,
            },
            Labels={"a": "b"},
            Mode={"Replicated": {"Replicas": 0}},
            UpdateConfig={
                "Parallelism": 2,
                "Delay": 5,
                "Monitor": 7000000000,
                "FailureAction": "rollback",
                "MaxFailureRatio": 0.25,
                "Order": "start-first",
            },
            EndpointSpec={
                "Ports": [{"TargetPort": 80, "PublishedPort": 8080, "PublishMode": "host", "Protocol": "udp"}]
            },
        ),
    ),
)


class Both:
    """The engine and the manager, asked the same."""

    def __init__(self, engine: aiohttp.ClientSession, manager: aiohttp.ClientSession) -> None:
        self._sessions = engine, manager

    async def ask(self, method: str, path: Any, body: Any = None) -> list[tuple[int, Any]]:
        answers = []
        for number, session in enumerate(self._sessions):
            own = path[number] if isinstance(path, list) else path
            async with session.request(method, own, json=body) as response:
                text = await response.text()
                answers.append((response.status, json.loads(text) if text.strip() else None))
        return answers

    async def texts(self, path: str) -> list[str]:
        """Return both whole answers to a GET as they came."""
        read = []
        for session in self._sessions:
            async with session.get(path) as response:
                read.append(await response.text())
        return read


@pytest.fixture
async def cluster() -> AsyncIterator[ApiCluster]:
    async with ApiCluster(idle=True) as cluster:
        yield cluster


@pytest.fixture
async def both(cluster: ApiCluster) -> AsyncIterator[Both]:
    async with plain_engine() as host:
        await host.docker("swarm", "init", "--advertise-addr", "127.0.0.1")
        path = cluster.folder / "api.sock"
        async with (
            serve(cluster.api, [f"unix://{path}"]),
            session(host.docker_sock) as engine,
            session(path) as manager,
        ):
            yield Both(engine, manager)


def session(path: Path) -> aiohttp.ClientSession:
    return aiohttp.ClientSession("http://docker", connector=aiohttp.UnixConnector(str(path)))


def plain(value: Any) -> Any:
    """Take ids, times and version numbers out of an answer."""
    if isinstance(value, dict):
        gone = {"ID", "Id", "CreatedAt", "UpdatedAt", "Created", "Version"}
        return {key: plain(inner) for key, inner in value.items() if key not in gone}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return re.sub(r"\b[a-z0-9]{25}\b", "ID", value) if isinstance(value, str) else value


async def test_errors(both: Both) -> None:
    """All at once: an engine costs seconds."""
    different = []
    for case in ERRORS:
        engine, manager = await both.ask(case.method, case.path, case.body)
        if case.why:
            assert 400 <= manager[0] < 600, (case, manager)
            assert list(manager[1]) == ["message"], (case, manager)
            if plain(engine) == plain(manager):
                different.append(f"{case}: the same now, take the reason away")
        elif plain(engine) != plain(manager):
            different.append(f"{case}: engine {engine}, manager {manager}")
    assert not different, "\n".join(different)


async def test_services(both: Both) -> None:
    different = []
    for title, body in OBJECTS:
        for status, _ in await both.ask("POST", "/services/create", body):
            assert status == 201, title
        for path in ("/services/diff", "/services/diff?insertDefaults=true"):
            engine, manager = await both.ask("GET", path)
            if (theirs := plain(engine[1]["Spec"])) != (ours := plain(manager[1]["Spec"])):
                different.append(f"{title} {path}:\n  engine  {theirs}\n  manager {ours}")
        await both.ask("DELETE", "/services/diff")
    assert not different, "\n".join(different)


async def test_the_life_of_a_service(both: Both) -> None:
    await both.ask("POST", "/services/create", spec())
    same(await both.ask("POST", "/services/create", spec()))

    async def update(body: Any, query: str = "") -> list[tuple[int, Any]]:
        shown = await both.ask("GET", "/services/diff")
        paths = [f"/services/diff/update?version={s['Version']['Index']}{query}" for _, s in shown]
        return await both.ask("POST", paths, body)

    same(await update(spec(), "&rollback=previous"))
    same(await update(spec("other")))
    same(await update(spec(Mode={"Global": {}})))
    same(await update({}))
    same(await both.ask("POST", "/services/diff/update?version=1", spec()))
    same(await update(spec(container={"Args": ["x"]}, Mode={"Replicated": {"Replicas": 0}})))
    keys: Callable[[Any], Any] = lambda service: plain({k: service[k] for k in ("Spec", "PreviousSpec")})  # noqa: E731
    shown = await both.ask("GET", "/services/diff")
    assert keys(shown[0][1]) == keys(shown[1][1])
    same(await update(spec(), "&rollback=previous"))
    shown = await both.ask("GET", "/services/diff")
    assert keys(shown[0][1]) == keys(shown[1][1])
    same(await both.ask("DELETE", "/services/diff"))
    same(await both.ask("GET", "/services/diff"))


@pytest.mark.parametrize("path", ["secrets", "configs"])
async def test_files(both: Both, path: str) -> None:
    body = {"Name": "s1", "Data": DATA, "Labels": {"k": "v"}}
    same(await both.ask("POST", f"/{path}/create", body))
    same(await both.ask("POST", f"/{path}/create", body))
    same(await both.ask("GET", f"/{path}/s1"))
    same(await both.ask("GET", f'/{path}?filters={{"name":["s"]}}'))
    same(await both.ask("POST", f"/{path}/s1/update?version=1", {}))
    same(await both.ask("POST", f"/{path}/s1/update?version=1", {"Name": "s1", "Labels": {}}))
    key = path[:-1].capitalize()
    container = {f"{key}s": [{"File": FILE_TARGET, f"{key}Name": "s1", f"{key}ID": ""}]}
    shown = await both.ask("GET", f"/{path}/s1")
    for number, (_, each) in enumerate(shown):
        container[f"{key}s"][0][f"{key}ID"] = each["ID"]
        answers = await both.ask(
            "POST", "/services/create", spec(container=container, Mode={"Replicated": {"Replicas": 0}})
        )
        assert answers[number][0] == 201, answers
    same(await both.ask("DELETE", f"/{path}/s1"))
    await both.ask("DELETE", "/services/diff")
    same(await both.ask("DELETE", f"/{path}/s1"))


async def test_networks(both: Both) -> None:
    body = {
        "Name": "on1",
        "Driver": "overlay",
        "Internal": True,
        "Attachable": True,
        "Labels": {"a": "b"},
        "IPAM": {"Driver": "default", "Config": [{"Subnet": "10.99.0.0/24", "Gateway": "10.99.0.7"}]},
    }
    same(await both.ask("POST", "/networks/create", body))
    same(await both.ask("POST", "/networks/create", body))
    engine, manager = await both.ask("GET", "/networks/on1")
    # The engine says null where nothing is attached; an empty object is read the same by every client. EnableIPv4 came
    # with Docker 28, in all versions of the API.
    assert {"EnableIPv4": True} | plain(engine[1]) | {"Containers": {}} == plain(manager[1])
    template = {"Networks": [{"Target": "on1", "Aliases": ["al"]}]}
    await both.ask("POST", "/services/create", spec(template=template, Mode={"Replicated": {"Replicas": 0}}))
    engine, manager = await both.ask("DELETE", "/networks/on1")
    # Ours names the service, too: `stack rm` shows it to people.
    said = plain(engine[1]["message"]) + " (diff)"
    assert (engine[0], said) == (manager[0], plain(manager[1]["message"]))
    shown = await both.ask("GET", "/services/diff")
    assert plain(shown[0][1]["Spec"]) == plain(shown[1][1]["Spec"])
    await both.ask("DELETE", "/services/diff")
    same(await both.ask("DELETE", "/networks/on1"))


async def test_swarm_and_version(both: Both) -> None:
    engine, manager = await both.ask("GET", "/swarm")
    theirs, ours = plain(engine[1]), plain(manager[1])
    theirs["Spec"]["Dispatcher"] = ours["Spec"]["Dispatcher"]  # heartbeats are 1 s here
    assert theirs.keys() == ours.keys()
    assert theirs["Spec"] == ours["Spec"]
    assert ours["TLSInfo"].keys() == theirs["TLSInfo"].keys()
    same(await both.ask("GET", "/swarm/unlockkey"))
    engine, manager = await both.ask("GET", "/info")
    assert engine[1]["Swarm"].keys() == manager[1]["Swarm"].keys()


# Fields that an engine has of its own host's hardware, and a key that our nodes have besides.
HOSTS_OWN = frozenset({"Engine", "Resources", "Platform", "TLSInfo", "Hostname", "Addr", "Encryption"})


async def test_nodes(both: Both) -> None:
    """A node's keys, down to the last, and how one is changed."""
    shown = await both.ask("GET", "/nodes")
    (theirs,) = shown[0][1]
    ours = next(node for node in shown[1][1] if node.get("ManagerStatus"))
    assert theirs.keys() == ours.keys()
    assert theirs["Spec"].keys() == ours["Spec"].keys()
    assert theirs["Description"].keys() - HOSTS_OWN == ours["Description"].keys() - HOSTS_OWN
    assert theirs["ManagerStatus"].keys() == ours["ManagerStatus"].keys()
    ids = [theirs["ID"], ours["ID"]]
    for spec_of_node in (
        {"Role": "manager", "Availability": "drain", "Labels": {"a": "b"}},
        {"Role": "manager", "Availability": "active"},
        {"Role": "worker", "Availability": "active"},
    ):
        now = [(await both.ask("GET", f"/nodes/{each}"))[number][1] for number, each in enumerate(ids)]
        paths = [f"/nodes/{node['ID']}/update?version={node['Version']['Index']}" for node in now]
        same(await both.ask("POST", paths, spec_of_node))
        changed = await both.ask("GET", [f"/nodes/{each}" for each in ids])
        assert changed[0][1]["Spec"] == changed[1][1]["Spec"]
    same(await both.ask("DELETE", [f"/nodes/{each}" for each in ids]))


async def test_tasks(both: Both, cluster: ApiCluster) -> None:
    """A task that runs has the same keys, its spec and its status the same values."""
    cluster.resume()
    body = spec(container={"Image": "busybox:lab", "Args": ["sleep", "1000"], "Env": ["A=b"]})
    for status, made in await both.ask("POST", "/services/create", body):
        assert status == 201, made
    path = '/tasks?filters={"service":["diff"],"desired-state":["running"]}'
    async with asyncio.timeout(30):
        while True:
            (_, theirs), (_, ours) = await both.ask("GET", path)
            if all(tasks and tasks[0]["Status"]["State"] == "running" for tasks in (theirs, ours)):
                break
            await asyncio.sleep(0.05)
    (engine,), (manager,) = theirs, ours
    assert engine.keys() == manager.keys()
    # The engine has it in the service's template alone; here a task's is the same object.
    assert plain(engine["Spec"]) | {"Runtime": "container"} == plain(manager["Spec"])
    assert engine["Status"].keys() == manager["Status"].keys()
    for key in ("State", "Message"):
        assert engine["Status"][key] == manager["Status"][key]
    up_to_date = ('{"_up-to-date":["true"]}', '{"_up-to-date":["false"]}')
    for filters in ('{"name":["diff"]}', '{"label":["x=y"]}', '{"desired-state":["shutdown"]}', *up_to_date):
        counts = [len(tasks) for _, tasks in await both.ask("GET", f"/tasks?filters={filters}")]
        assert counts[0] == counts[1], filters
    same(await both.ask("DELETE", "/services/diff"))


async def test_events(both: Both) -> None:
    """The same life makes the same events: type, action, scope, and what they say of the object."""
    began = time.time()
    for method, path, body in (
        ("POST", "/secrets/create", {"Name": "e1", "Data": DATA}),
        ("POST", "/configs/create", {"Name": "e1", "Data": DATA}),
        ("POST", "/networks/create", {"Name": "e1", "Driver": "overlay"}),
        ("POST", "/services/create", spec("e1", Mode={"Replicated": {"Replicas": 0}})),
        ("DELETE", "/services/e1", None),
        ("DELETE", "/secrets/e1", None),
        ("DELETE", "/configs/e1", None),
        ("DELETE", "/networks/e1", None),
    ):
        answers = await both.ask(method, path, body)
        assert {status for status, _ in answers} <= {200, 201, 204}, answers
    await asyncio.sleep(0.3)  # an engine puts events among the past ones when it has sent them
    # Not updates: an engine tells of a network when it has allocated it, which nobody does in an idle cluster.
    kinds = '{"type":["service","secret","config","network"],"scope":["swarm"],"event":["create","remove"]}'
    query = f"since={began:.3f}&until={time.time():.3f}&filters={kinds}"
    theirs, ours = [sorted(told(text)) for text in await both.texts(f"/events?{query}")]
    assert theirs == ours
    assert len(theirs) == 8


def told(text: str) -> list[tuple[str, ...]]:
    events = [json.loads(line) for line in text.splitlines()]
    return [
        (event["Type"], event["Action"], event["scope"], *sorted(event["Actor"].get("Attributes") or {}))
        for event in events
    ]


def same(answers: list[tuple[int, Any]]) -> None:
    engine, manager = (plain(answer) for answer in answers)
    assert engine == manager
