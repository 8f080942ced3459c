"""What an operator is forbidden: each way from a container to its host, under its word, and the ways around it."""

import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from common.http.dashboard_token import new_token
from common.model import Task
from common.model.client import Forbidden, Role
from common.model.service import TaskSpec
from common.model.task import ContainerStatus, TaskState, TaskStatus
from common.model.update import UpdateState, UpdateStatus
from common.tls import certificate_request, new_key
from manager.api.access.roles import Caller
from manager.api.call import Call, Relay
from manager.store.transaction import Transaction
from tests.fakes.api_client import Client
from tests.fakes.api_cluster import WORKER1, ApiCluster
from tests.fakes.container_engine import Engines

BOX, EXEC = "b" * 64, "e" * 64
ALL = tuple(Forbidden)


def operator(cluster: ApiCluster, *words: str) -> Client:
    return Client(cluster.api, Caller("alice", "unix", Role.OPERATOR, uid=1000, forbidden=words))


@pytest.fixture
async def engines(cluster: ApiCluster) -> AsyncIterator[Engines]:
    async with Engines(cluster) as engines:
        engines.one.add(BOX, "box")
        yield engines


def refused(word: str, reply: tuple[int, Any], noun: str = "certificate") -> bool:
    status, answer = reply
    return status == 403 and f"the {noun} of alice forbids {word}, and" in answer["message"]


# --- plain containers -------------------------------------------------------------------------------------------------

# What is asked for in `HostConfig`, by the word that forbids it.
HOST: list[tuple[str, dict[str, Any]]] = [
    ("privileged", {"Privileged": True}),
    ("privileged", {"privileged": True}),
    ("privileged", {"PRIVILEGED": 1}),
    ("capabilities", {"CapAdd": ["SYS_ADMIN"]}),
    ("capabilities", {"CapAdd": ["cap_sys_ptrace"]}),
    ("capabilities", {"CapAdd": ["ALL"]}),
    ("devices", {"Devices": [{"PathOnHost": "/dev/sda", "PathInContainer": "/dev/sda", "CgroupPermissions": "r"}]}),
    ("devices", {"DeviceCgroupRules": ["b *:* rwm"]}),
    ("devices", {"DeviceRequests": [{"Count": -1, "Capabilities": [["gpu"]]}]}),
    ("host-namespaces", {"NetworkMode": "host"}),
    ("host-namespaces", {"NetworkMode": "container:box"}),
    ("host-namespaces", {"PidMode": "host"}),
    ("host-namespaces", {"PidMode": "container:box"}),
    ("host-namespaces", {"IpcMode": "host"}),
    ("host-namespaces", {"IpcMode": "container:box"}),
    ("host-namespaces", {"UTSMode": "host"}),
    ("host-namespaces", {"UsernsMode": "host"}),
    ("host-namespaces", {"CgroupnsMode": "host"}),
    ("host-namespaces", {"LogConfig": {"Type": "syslog", "Config": {"syslog-address": "unix:///run/docker.sock"}}}),
    ("host-namespaces", {"logconfig": {"type": "fluentd"}}),
    ("host-namespaces", {"LogConfig": {"Type": "some/plugin:1"}}),
    ("host-mounts", {"Binds": ["/:/host"]}),
    ("host-mounts", {"Binds": ["/var/run/docker.sock:/var/run/docker.sock:ro"]}),
    ("host-mounts", {"Binds": ["v:/v", "../x:/y"]}),
    ("host-mounts", {"bind\u017f": ["/:/host"]}),  # what Go's decoder takes for `Binds`
    ("host-mounts", {"Mounts": [{"Type": "bind", "Source": "/", "Target": "/host"}]}),
    ("host-mounts", {"Mounts": [{"type": "bind", "Source": "/", "Target": "/host"}]}),
    ("host-mounts", {"Mounts": [{"Type": "npipe", "Source": "x", "Target": "/host"}]}),
    ("host-mounts", {"Mounts": [{"Source": "/", "Target": "/host"}]}),
    ("host-mounts", {"VolumesFrom": ["box"]}),
    ("host-mounts", {"VolumeDriver": "sshfs"}),
    ("unconfined", {"SecurityOpt": ["seccomp=unconfined"]}),
    ("unconfined", {"SecurityOpt": ["apparmor:unconfined"]}),
    ("unconfined", {"SecurityOpt": ["no-new-privileges", "label=disable"]}),
    ("unconfined", {"SecurityOpt": ["systempaths=unconfined"]}),
    ("unconfined", {"MaskedPaths": []}),
    ("unconfined", {"ReadonlyPaths": ["/x"]}),
    ("unconfined", {"Runtime": "other"}),
    ("unconfined", {"CgroupParent": "/"}),
    ("unconfined", {"Annotations": {"run.oci.hooks": "x"}}),
]
DRIVERS: list[dict[str, Any]] = [
    {"Name": "local", "Options": {"type": "none", "o": "bind", "device": "/"}},
    {"Name": "", "Options": {"type": "tmpfs", "o": "ro,Bind", "device": "/"}},
    {"Name": "local", "Options": {"type": "nfs", "o": "addr=192.0.2.1,rbind", "device": "/"}},
    {"Name": "local", "Options": {"type": "ext4", "device": "/dev/sda1"}},
    {"Name": "local", "Options": {"type": "overlay", "o": "lowerdir=/", "device": "overlay"}},
    {"Name": "local", "Options": {"device": "/"}},
    {"name": "local", "oPtions": {"type": "none", "o": "bind", "device": "/"}},
    {"Name": "sshfs", "Options": {}},
]
# What is nobody's way to a host: allowed under all words.
FINE: list[dict[str, Any]] = [
    {},
    {"Privileged": False, "CapAdd": ["NET_BIND_SERVICE", "CAP_CHOWN"], "CapDrop": ["ALL"]},
    {"Binds": ["v:/v", "v2:/w:ro"], "Mounts": [{"Type": "tmpfs", "Target": "/t"}]},
    {"Mounts": [{"Type": "volume", "Source": "v", "Target": "/v", "VolumeOptions": {"NoCopy": True}}]},
    {
        "Mounts": [
            {
                "Type": "volume",
                "Source": "v",
                "Target": "/v",
                "VolumeOptions": {
                    "DriverConfig": {"Options": {"type": "nfs", "o": "addr=192.0.2.1,rw", "device": ":/x"}}
                },
            }
        ]
    },
    {"NetworkMode": "bridge", "IpcMode": "private", "CgroupnsMode": "private", "Runtime": "runc"},
    {"LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}}},
    {"LogConfig": {"Type": "", "Config": {}}},
    {
        "SecurityOpt": ["no-new-privileges:true", "seccomp=builtin"],
        "Memory": 50_000_000,
        "Sysctls": {"net.core.x": "1"},
    },
]


def others(word: str) -> tuple[str, ...]:
    return tuple(each for each in ALL if each != word)


@pytest.mark.parametrize(("word", "host"), HOST)
async def test_a_container(cluster: ApiCluster, engines: Engines, word: str, host: dict[str, Any]) -> None:
    path, body = "/containers/create", {"Image": "busybox", "HostConfig": host}
    assert refused(word, await operator(cluster, word).ask("POST", path, body))
    assert not any(request.path == path for request in engines.one.requests + engines.two.requests)
    # Not refused for another word's sake, and a client that is forbidden nothing gets what the engine makes of it.
    for client in (operator(cluster, *others(word)), operator(cluster)):
        status, answer = await client.ask("POST", path, body)
        assert status in {201, 400}, answer


@pytest.mark.parametrize("driver", DRIVERS)
async def test_volumes_that_are_the_host(cluster: ApiCluster, engines: Engines, driver: dict[str, Any]) -> None:
    alice = operator(cluster, "host-mounts")
    mount = {"Type": "volume", "Source": "v", "Target": "/v", "VolumeOptions": {"DriverConfig": driver}}
    body = {"Image": "busybox", "HostConfig": {"Mounts": [mount]}}
    assert refused("host-mounts", await alice.ask("POST", "/containers/create", body))
    lower = {key.lower(): value for key, value in driver.items()}
    made = {"Name": "v", "Driver": lower["name"], "DriverOpts": lower["options"]}
    assert refused("host-mounts", await alice.ask("POST", "/volumes/create", made))
    assert engines.one.requests == engines.two.requests == []


@pytest.mark.parametrize("host", FINE)
async def test_what_is_fine_under_all_words(cluster: ApiCluster, engines: Engines, host: dict[str, Any]) -> None:
    body = {"Image": "busybox", "HostConfig": host}
    status, answer = await operator(cluster, *ALL).ask("POST", "/containers/create", body)
    assert status == 201, answer


@pytest.mark.parametrize(
    "body",
    [
        {"HostConfig": {"Privileged": True}, "hostconfig": {}},
        {"HostConfig": {}, "hostConfig": {"Privileged": True}},
        {"HostConfig": {"Privileged": False, "privileged": True}},
        {"ho\u017ftconfig": {"Privileged": True}, "HostConfig": {}},
        {"HostConfig": {"Mounts": [{"Type": "volume", "type": "bind", "Source": "/", "Target": "/x"}]}},
    ],
)
async def test_a_field_in_two_spellings(cluster: ApiCluster, engines: Engines, body: dict[str, Any]) -> None:
    """Engines merge them, or take the last: nobody can tell."""
    status, answer = await operator(cluster, *ALL).ask("POST", "/containers/create", {"Image": "busybox", **body})
    assert (status, "more than once, in different spellings" in answer["message"]) == (400, True)


@pytest.mark.parametrize(
    ("word", "body"),
    [
        ("privileged", {"Privileged": True}),  # engines before 23 take it from here
        ("host-mounts", {"Binds": ["/:/host"], "HostConfig": None}),
        ("host-namespaces", {"NetworkMode": "host"}),
        ("host-namespaces", {"NetworkMode": "67e6c07cf913"}),
        ("host-namespaces", {"NetworkingConfig": {"EndpointsConfig": {"host": {}}}}),
    ],
)
async def test_beside_the_host_config(cluster: ApiCluster, engines: Engines, word: str, body: dict[str, Any]) -> None:
    reply = await operator(cluster, word).ask("POST", "/containers/create", {"Image": "busybox", **body})
    assert refused(word, reply)


async def test_a_containers_limits_are_no_way_in(cluster: ApiCluster, engines: Engines) -> None:
    alice = operator(cluster, *ALL)
    path = f"/containers/{BOX}/update"
    assert refused("devices", await alice.ask("POST", path, {"Devices": [{"PathOnHost": "/dev/sda"}]}))
    assert refused("unconfined", await alice.ask("POST", path, {"CgroupParent": "/x"}))
    reply = await cluster.api.answer(call("POST", path, {"Memory": 1}))
    assert isinstance(reply, Relay)


def call(method: str, path: str, body: Any = None, *words: str, query: str = "") -> Call:
    data = b"" if body is None else json.dumps(body).encode()
    caller = Caller("alice", "unix", Role.OPERATOR, uid=1000, forbidden=words or ALL)
    headers = {"content-type": "application/json"} if data else {}
    return Call(method, path, headers=headers, body=data, caller=caller, raw_query=query)


# --- containers that are there ----------------------------------------------------------------------------------------

ENTERING = [
    ("POST", f"/containers/{BOX}/exec", {"Cmd": ["sh"]}),
    ("POST", f"/exec/{EXEC}/start", {"Detach": False}),
    ("POST", f"/containers/{BOX}/attach", None),
    ("GET", f"/containers/{BOX}/attach/ws", None),
    ("PUT", f"/containers/{BOX}/archive", None),
    ("GET", f"/containers/{BOX}/archive", None),
    ("HEAD", "/containers/box/archive", None),
]


def shows(engines: Engines, host: dict[str, Any]) -> None:
    shown = {"Id": BOX, "Name": "/box", "Config": {"Labels": {}}, "HostConfig": host}
    for reference in (BOX, "box"):
        engines.one.answers[f"GET /containers/{reference}/json"] = (200, shown)
    made = {"ID": EXEC, "ContainerID": BOX, "ProcessConfig": {"privileged": False}}
    engines.one.answers[f"GET /exec/{EXEC}/json"] = (200, made)
    engines.one.answers[f"POST /containers/{BOX}/exec"] = (201, {"Id": EXEC})


@pytest.mark.parametrize(("method", "path", "body"), ENTERING)
async def test_a_container_that_others_have_made_is_not_entered(
    cluster: ApiCluster, engines: Engines, method: str, path: str, body: Any
) -> None:
    for word, host in (
        ("privileged", {"Privileged": True}),
        ("host-mounts", {"Binds": ["/:/host"]}),
        ("host-namespaces", {"PidMode": "host"}),
        ("capabilities", {"CapAdd": ["SYS_ADMIN"]}),
        ("unconfined", {"MaskedPaths": []}),
    ):
        shows(engines, host)
        assert refused(word, await operator(cluster, word).ask(method, path, body))
    shows(engines, {"Runtime": "crun", "CgroupnsMode": "host", "MaskedPaths": ["/proc/x"], "NetworkMode": "bridge"})
    reply = await cluster.api.answer(call(method, path, body))
    assert isinstance(reply, Relay) or reply.status == 201


async def test_an_exec_instance_is_not_privileged(cluster: ApiCluster, engines: Engines) -> None:
    shows(engines, {})
    alice = operator(cluster, "privileged")
    assert refused("privileged", await alice.ask("POST", f"/containers/{BOX}/exec", {"pRivileged": True}))
    engines.one.answers[f"GET /exec/{EXEC}/json"] = (
        200,
        {"ID": EXEC, "ContainerID": BOX, "ProcessConfig": {"privileged": True}},
    )
    assert refused("privileged", await alice.ask("POST", f"/exec/{EXEC}/start", {"Detach": True}))


async def test_what_an_engine_gets_is_what_was_looked_at(cluster: ApiCluster, engines: Engines) -> None:
    shows(engines, {})
    twice = b'{"Privileged":true,"Cmd":["sh"],"Privileged":false}'
    status, _ = await operator(cluster, *ALL).ask("POST", "/containers/box/exec", twice)
    assert status == 201
    asked = engines.one.requests[-1]
    assert (asked.path, asked.body.count(b"rivileged")) == (f"/containers/{BOX}/exec", 1)


def task_with(spec: dict[str, Any]) -> Any:
    def write(tx: Transaction) -> None:
        status = TaskStatus(state=TaskState.RUNNING, container_status=ContainerStatus(container_id=BOX))
        task = Task(id="t" * 25, spec=msgspec.convert(spec, TaskSpec), service_name="web", slot=1, node_id=WORKER1)
        tx.put(msgspec.structs.replace(task, status=status))

    return write


async def test_a_tasks_container_has_what_its_specification_says(cluster: ApiCluster, engines: Engines) -> None:
    """Its engine shows mounts of files that the worker has made: these are no way to the host."""
    shows(engines, {"Mounts": [{"Type": "bind", "Source": "/run/swarm/secrets/x", "Target": "/run/secrets/x"}]})
    alice, path = operator(cluster, *ALL), f"/containers/{BOX}/exec"
    await cluster.store.update(task_with({"ContainerSpec": {"Image": "x"}}))
    assert (await alice.ask("POST", path, {"Cmd": ["sh"]}))[0] == 201
    bind = {"Type": "bind", "Source": "/", "Target": "/x"}
    await cluster.store.update(task_with({"ContainerSpec": {"Image": "x", "Mounts": [bind]}}))
    assert refused("host-mounts", await alice.ask("POST", path, {"Cmd": ["sh"]}))


# --- builds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "query"),
    [
        ("host-namespaces", "networkmode=host"),
        ("host-namespaces", "networkmode=container%3Abox"),
        ("host-namespaces", "networkmode=bridge&networkmode=host"),
        ("host-namespaces", "t=x&networkmode=hos%74&version=2"),
        ("unconfined", "cgroupparent=%2F"),
        ("unconfined", "securityopt=%5B%22seccomp%3Dunconfined%22%5D"),
    ],
)
async def test_builds(cluster: ApiCluster, engines: Engines, word: str, query: str) -> None:
    reply = await cluster.api.answer(call("POST", "/build", None, word, query=query))
    assert refused(word, (reply.status, reply.value))
    assert isinstance(await cluster.api.answer(call("POST", "/build", None, word, query="t=x")), Relay)


async def test_buildkits_own_interface_is_closed(cluster: ApiCluster, engines: Engines) -> None:
    status, message = await operator(cluster, "devices").error("POST", "/grpc")
    assert (status, "DOCKER_BUILDKIT=0" in message) == (403, True)
    assert isinstance(await cluster.api.answer(call("POST", "/session")), Relay)


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded; a=b", "Multipart/form-data; boundary=x"])
async def test_parameters_do_not_come_as_a_form(cluster: ApiCluster, engines: Engines, kind: str) -> None:
    """An engine takes its fields before those of the query."""
    asked = call("POST", "/build", None, query="t=x")
    reply = await cluster.api.answer(msgspec.structs.replace(asked, headers={"content-type": kind}))
    assert (reply.status, "form bodies" in reply.value["message"]) == (400, True)


# --- services ---------------------------------------------------------------------------------------------------------


def spec(engine: dict[str, Any] | None = None, log_driver: str = "", **container: Any) -> dict[str, Any]:
    labels = {"swarm.x.engine": json.dumps(engine)} if engine else {}
    logs = {"LogDriver": {"Name": log_driver}} if log_driver else {}
    task = {"ContainerSpec": {"Image": "busybox", "Labels": labels, **container}, **logs}
    return {"Name": "web", "TaskTemplate": task}


SERVICES: list[tuple[str, dict[str, Any]]] = [
    ("privileged", spec({"Privileged": True})),
    ("capabilities", spec(CapabilityAdd=["CAP_NET_ADMIN"])),
    ("devices", spec({"Devices": [{"PathOnHost": "/dev/sda", "PathInContainer": "/dev/sda"}]})),
    ("devices", spec({"DeviceRequests": [{"Count": -1, "Capabilities": [["gpu"]]}]})),
    ("devices", spec({"DeviceCgroupRules": ["b *:* rwm"]})),
    ("host-namespaces", spec({"PidMode": "host"})),
    ("host-namespaces", spec({"IpcMode": "host"})),
    ("host-namespaces", spec({"UTSMode": "host"})),
    ("host-namespaces", spec({"UsernsMode": "host"})),
    ("host-namespaces", spec({"CgroupnsMode": "host"})),
    ("host-namespaces", {**spec(), "Networks": [{"Target": "host"}]}),
    ("host-namespaces", spec(log_driver="gelf")),
    ("host-mounts", spec(Mounts=[{"Type": "bind", "Source": "/", "Target": "/host"}])),
    ("host-mounts", spec(Mounts=[{"Type": "bind", "Source": "/var/run/docker.sock", "Target": "/d"}])),
    ("unconfined", spec({"SecurityOpt": ["seccomp=unconfined"]})),
    ("unconfined", spec({"SecurityOpt": ["systempaths=unconfined"]})),
    ("unconfined", spec({"Runtime": "other"})),
    ("unconfined", spec({"CgroupParent": "/x"})),
    ("unconfined", spec(Privileges={"Seccomp": {"Mode": "unconfined"}})),
    ("unconfined", spec(Privileges={"AppArmor": {"Mode": "disabled"}})),
    ("unconfined", spec(Privileges={"SELinuxContext": {"Disable": True}})),
    *(
        (
            "host-mounts",
            spec(Mounts=[{"Type": "volume", "Source": "v", "Target": "/v", "VolumeOptions": {"DriverConfig": driver}}]),
        )
        for driver in (
            *DRIVERS,
            {"Name": "local", "Options": {"type": "nfs", "o": '{{if true}}bi{{"nd"}}{{end}}', "device": "/"}},
        )
    ),
]


@pytest.mark.parametrize(("word", "body"), SERVICES)
async def test_a_service(cluster: ApiCluster, client: Client, word: str, body: dict[str, Any]) -> None:
    alice = operator(cluster, word)
    assert refused(word, await alice.ask("POST", "/services/create", body))
    assert not len(cluster.store.view.services)
    # One that is there, made by somebody else, is not updated to it, nor anything else in it changed.
    await client.make("/services/create", spec())
    shown = await client.get("/services/web")
    path = f"/services/web/update?version={shown['Version']['Index']}"
    assert refused(word, await alice.ask("POST", path, body))
    await client.ask("POST", path, body)
    shown = await client.get("/services/web")
    path = f"/services/web/update?version={shown['Version']['Index']}"
    assert refused(word, await alice.ask("POST", path, {**shown["Spec"], "Labels": {"a": "b"}}))
    assert (await operator(cluster, *others(word)).ask("POST", path, {**shown["Spec"], "Labels": {"a": "b"}}))[0] == 200
    # What is less is fine.
    shown = await client.get("/services/web")
    path = f"/services/web/update?version={shown['Version']['Index']}"
    assert (await alice.ask("POST", path, spec()))[0] == 200


def in_the_middle_of_its_update(tx: Transaction) -> None:
    (service,) = tx.services
    tx.put(msgspec.structs.replace(service, update_status=UpdateStatus(state=UpdateState.UPDATING, started_at=tx.now)))


@pytest.mark.parametrize(
    "way",
    [
        "update?rollback=previous&version={}",
        "update?rollback=previous&revision=1&version={}",
        "rollout?action=abort&version={}",
    ],
)
async def test_a_service_does_not_go_back_to_it(cluster: ApiCluster, client: Client, way: str) -> None:
    await client.make("/services/create", spec({"Privileged": True}))
    shown = await client.get("/services/web")
    await client.ask("POST", f"/services/web/update?version={shown['Version']['Index']}", spec())
    await cluster.store.update(in_the_middle_of_its_update)
    shown = await client.get("/services/web")
    path = f"/services/web/{way.format(shown['Version']['Index'])}"
    body = shown["Spec"] if "update" in way else None
    assert refused("privileged", await operator(cluster, *ALL).ask("POST", path, body))
    assert (await client.get("/services/web"))["Spec"] == shown["Spec"]
    assert (await operator(cluster, "devices").ask("POST", path, body))[0] == 200


@pytest.mark.parametrize("noun", ["secret", "config"])
async def test_a_file_of_such_a_service_is_not_changed(cluster: ApiCluster, client: Client, noun: str) -> None:
    """Its program would be given what the operator likes."""
    file_id = await client.make(f"/{noun}s/create", {"Name": "f", "Data": "eA=="})
    kind = noun.title()
    reference = {"File": {"Name": "f", "UID": "0", "GID": "0", "Mode": 292}, f"{kind}ID": file_id, f"{kind}Name": "f"}
    files: dict[str, Any] = {f"{kind}s": [reference]}
    await client.make("/services/create", spec({"Privileged": True}, **files))
    index = (await client.get(f"/{noun}s/f"))["Version"]["Index"]
    path, body = f"/{noun}s/f/update?version={index}", {"Name": "f", "Data": "eQ=="}
    assert refused("privileged", await operator(cluster, "privileged").ask("POST", path, body))
    assert (await operator(cluster, "devices").ask("POST", path, body))[0] == 200


async def test_what_changes_no_specification_is_allowed(cluster: ApiCluster, client: Client) -> None:
    await client.make("/services/create", {**spec({"Privileged": True}), "Mode": {"Replicated": {"Replicas": 2}}})
    alice = operator(cluster, *ALL)
    assert (await alice.ask("POST", "/services/web/rebalance"))[0] == 202
    assert (await alice.ask("DELETE", "/services/web"))[0] == 200


# --- certificates and routes ------------------------------------------------------------------------------------------


def order_of(kind: str) -> dict[str, Any]:
    """Order a credential for an operator."""
    if kind == "client-certificates":
        return {"CertificateRequest": certificate_request(new_key()).decode()}
    token = new_token()
    return {"ID": token.id, "Digest": token.digest}


@pytest.mark.parametrize(
    ("kind", "noun"), [("client-certificates", "certificate"), ("dashboard-tokens", "dashboard token")]
)
async def test_the_words_are_the_credentials(cluster: ApiCluster, client: Client, kind: str, noun: str) -> None:
    order = {**order_of(kind), "Name": "alice", "Role": "operator"}
    path = f"/swarm/{kind}/create"
    status, made = await client.ask("POST", path, {**order, "Forbidden": ["unconfined", "privileged"]})
    assert status == 201
    (listed,) = await client.get(f"/swarm/{kind}")
    assert listed["Forbidden"] == ["privileged", "unconfined"]
    alice = Client(cluster.api, Caller("alice", "10.0.0.9:1", Role.OPERATOR, serial=made["ID"]))
    assert refused("privileged", await alice.ask("POST", "/services/create", spec({"Privileged": True})), noun)
    assert (await alice.get("/swarm/caller"))["Forbidden"] == ["privileged", "unconfined"]
    assert (await alice.ask("POST", "/services/create", spec({"PidMode": "host"})))[0] == 201
    for changes, words in (
        ({"Forbidden": ["everything"]}, "forbidden 'everything': expected some of privileged, host-mounts"),
        ({"Forbidden": ["devices"], "Role": "admin"}, "only an operator can be forbidden something"),
        ({"Forbidden": ["devices"], "Role": "viewer"}, "not the role viewer"),
    ):
        status, message = await client.error("POST", path, {**order, **order_of(kind), **changes})
        assert (status, words in message) == (400, True)
