from random import Random

import pytest

from common.errors import FailedPrecondition
from common.model.service import PortConfig
from worker.engine import api as engine_api
from worker.engine.driver import DockerEngine
from worker.interfaces.engine import Container, ContainerEvent, EngineDown, Image, Phase


@pytest.mark.parametrize(
    ("answer", "spoken"),
    [
        ({"ApiVersion": "1.41", "MinAPIVersion": "1.12"}, (1, 41)),
        ({"ApiVersion": "1.45", "MinAPIVersion": "1.24"}, (1, 45)),
        ({"ApiVersion": "1.99", "MinAPIVersion": "1.44"}, (1, 47)),
        ({"ApiVersion": "1.99", "MinAPIVersion": "1.50"}, (1, 50)),
        ({"ApiVersion": "1.41"}, (1, 41)),
    ],
)
def test_the_version_is_the_newest_that_both_speak(answer, spoken):
    assert engine_api.negotiate(answer) == spoken


async def test_a_missing_engine_is_named_with_the_systems_error(tmp_path):
    engine = DockerEngine(f"unix://{tmp_path}/docker.sock", Random(0))
    with pytest.raises(EngineDown, match=r"engine answers at unix://\S+/docker.sock: No such file or directory$"):
        await engine.info()
    await engine.close()


def test_an_engine_that_is_too_old_says_so():
    with pytest.raises(FailedPrecondition, match=r"Docker 19.03.5 with API 1.40: upgrade it to Docker 20.10"):
        engine_api.negotiate({"ApiVersion": "1.40", "Version": "19.03.5"})


@pytest.mark.parametrize(
    ("reference", "name", "tag"),
    [
        ("busybox", "busybox", "latest"),
        ("busybox:1.36", "busybox", "1.36"),
        ("registry.example:5000/team/web", "registry.example:5000/team/web", "latest"),
        ("registry.example:5000/team/web:v2", "registry.example:5000/team/web", "v2"),
        (f"web:v2@sha256:{'a' * 64}", "web", f"sha256:{'a' * 64}"),
        (f"host:5000/web@sha256:{'a' * 64}", "host:5000/web", f"sha256:{'a' * 64}"),
    ],
)
def test_references_are_split_for_a_pull(reference, name, tag):
    assert engine_api.split_reference(reference) == (name, tag)


STATE = {"Status": "running", "Pid": 7, "ExitCode": 0, "OOMKilled": False, "Error": ""}


def inspected(**state):
    return {
        "Id": "abc",
        "State": STATE | state,
        "Config": {"Labels": {"com.docker.swarm.task.id": "t1"}, "Hostname": "web-1"},
        "NetworkSettings": {
            "Networks": {
                "back": {"IPAddress": "172.18.0.2", "GlobalIPv6Address": "fd00::2"},
                "idle": {"IPAddress": "", "GlobalIPv6Address": ""},
            },
            "Ports": {
                "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}],
                "53/udp": [{"HostIp": "127.0.0.1", "HostPort": "5353"}],
                "81/tcp": None,
                "82/tcp": [{"HostIp": "", "HostPort": ""}],
            },
        },
    }


def test_a_running_container():
    assert engine_api.read_container(inspected(Health={"Status": "starting"})) == Container(
        id="abc",
        task_id="t1",
        phase=Phase.RUNNING,
        health="starting",
        pid=7,
        hostname="web-1",
        addresses={"back": "172.18.0.2"},
        addresses6={"back": "fd00::2"},
        ports=(
            PortConfig(target_port=80, published_port=8080, publish_mode="host"),
            PortConfig(target_port=53, published_port=5353, publish_mode="host", protocol="udp", host_ip="127.0.0.1"),
        ),
    )


def test_which_of_a_containers_volumes_nobody_has_named() -> None:
    mounts = [
        {"Type": "volume", "Name": "0123456789abcdef" * 4, "Destination": "/a"},
        {"Type": "volume", "Name": "data", "Destination": "/b"},
        {"Type": "bind", "Source": "/x", "Destination": "/c"},
    ]
    read = engine_api.read_container({**inspected(), "Mounts": mounts})
    listed = engine_api.read_summary({"Id": "abc", "State": "exited", "Mounts": mounts})
    assert read.anonymous_volumes == listed.anonymous_volumes == ("0123456789abcdef" * 4,)


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        ("created", Phase.CREATED),
        ("running", Phase.RUNNING),
        ("paused", Phase.RUNNING),
        ("exited", Phase.EXITED),
        ("dead", Phase.EXITED),
        ("removing", Phase.EXITED),
    ],
)
def test_phases(status, phase):
    assert engine_api.read_container(inspected(Status=status)).phase is phase


def test_a_container_without_a_check_has_no_health():
    assert engine_api.read_container(inspected(Health={"Status": "none"})).health == ""


def test_of_a_health_checks_log_the_last_bad_answer_is_read():
    log = [{"ExitCode": 1, "Output": "old"}, {"ExitCode": -1, "Output": "Health check exceeded timeout (2s)"}]
    read = engine_api.read_container(inspected(Health={"Status": "unhealthy", "Log": [*log, {"ExitCode": 0}]}))
    assert read.health_said == "Health check exceeded timeout (2s)"


def test_how_a_container_ended():
    found = engine_api.read_container(inspected(Status="exited", ExitCode=137, OOMKilled=True, Error="e"))
    assert (found.exit_code, found.oom_killed, found.error) == (137, True, "e")


def event(action, **attributes):
    attributes = {"com.docker.swarm.task.id": "t1", **attributes}
    return {"Type": "container", "Action": action, "Actor": {"ID": "abc", "Attributes": attributes}}


def expected(action, **fields):
    return ContainerEvent(container_id="abc", task_id="t1", action=action, **fields)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (event("die", exitCode="3"), expected("die", exit_code=3)),
        (event("kill", signal="15"), expected("kill", signal=15)),
        (event("kill", signal="1"), expected("kill")),
        (event("health_status: unhealthy"), expected("health_status", health="unhealthy")),
        (event("exec_start: sh"), None),
        (
            {"Action": "die", "Actor": {"ID": "abc", "Attributes": {}}},
            ContainerEvent(container_id="abc", task_id="", action="die"),
        ),
        ({"Type": "daemon", "Action": "reload"}, None),
    ],
)
def test_events(given, read):
    assert engine_api.read_event(given) == read


@pytest.mark.parametrize(
    ("labels", "reserved"),
    [
        ({}, (0, 64)),
        ({"swarm.x.cpus": "500", "swarm.x.memory": "128"}, (500, 128)),
        ({"swarm.x.cpus": "-1", "swarm.x.memory": "lots"}, (0, 64)),
    ],
    ids=["of the host", "of the cluster's API", "labels that are no numbers"],
)
def test_what_plain_containers_reserve(labels, reserved):
    answer = inspected() | {"Config": {"Labels": labels}, "HostConfig": {"MemoryReservation": 64, "Memory": 512}}
    found = engine_api.read_container(answer)
    assert (found.reserved_cpus, found.reserved_memory) == reserved


def test_only_events_that_are_asked_for_are_read():
    event = {"Action": "update", "Actor": {"ID": "abc", "Attributes": {"swarm.x.agent": "n1"}}}
    assert engine_api.read_event(event) is None
    assert engine_api.read_event(event, ("update",)) == ContainerEvent(
        container_id="abc", action="update", task_id="", agent="n1"
    )


def test_an_image_without_digests():
    assert engine_api.read_image({"Id": "sha256:1", "RepoDigests": None}) == Image(id="sha256:1")


def test_an_old_engine_connects_further_networks_afterwards():
    body = {"Image": "web", "NetworkingConfig": {"EndpointsConfig": {"a": {"x": 1}, "b": {"y": 2}}}}
    first, others = engine_api.first_network_only(body)
    assert first == {"Image": "web", "NetworkingConfig": {"EndpointsConfig": {"a": {"x": 1}}}}
    assert others == [("b", {"y": 2})]
    assert engine_api.first_network_only({"Image": "web"}) == ({"Image": "web"}, [])


def test_credentials_travel_as_the_engine_wants_them():
    assert engine_api.registry_header("") == {}
    assert engine_api.registry_header('{"a":"ÿ?"}') == {"X-Registry-Auth": "eyJhIjoiw78_In0="}


def test_what_was_loaded_is_told_in_words():
    image_id = "sha256:" + "a" * 64
    assert engine_api.parse_loaded_id({"stream": f"Loaded image ID: {image_id}\n"}) == image_id
    assert engine_api.parse_loaded_id({"stream": "Loaded image: web:1\n"}) == ""
    assert engine_api.parse_loaded_id({"status": "Loading layer"}) == ""


def test_containerds_image_store_is_recognised():
    assert engine_api.has_containerd_store({"DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]})
    assert not engine_api.has_containerd_store({"DriverStatus": [["Backing Filesystem", "extfs"]]})
    assert not engine_api.has_containerd_store({"DriverStatus": None})
