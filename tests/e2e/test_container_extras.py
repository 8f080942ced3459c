"""What an engine can do for a container reaches it from files, flags and labels: read back from real engines."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.cluster import Cluster

pytestmark = [pytest.mark.timeout(60), pytest.mark.asyncio(loop_scope="module")]

COMPOSE = """
services:
  box:
    image: busybox:lab
    command: sleep 600
    stop_signal: SIGKILL
    init: true
    privileged: true
    devices:
      - /dev/fuse:/dev/inside:r
      - {source: /dev/zero, target: /dev/nil}
    device_cgroup_rules: ["c 1:3 mr"]
    shm_size: 32M
    pid: host
    ipc: shareable
    userns_mode: host
    cgroupns_mode: private
    cpuset: "0"
    cpu_shares: 512
    oom_score_adj: 150
    memswap_limit: 96M
    security_opt: ["seccomp=unconfined", "apparmor=unconfined", systempaths=unconfined]
    group_add: [7]
    domainname: lab.example
    mac_address: 02:42:00:78:00:42
    runtime: runc
    tmpfs: ["/scratch:size=1m,mode=1770"]
    volumes:
      - {type: tmpfs, target: /fast, tmpfs: {size: 2097152, mode: 0700}}
      - {type: volume, source: data, target: /data, volume: {nocopy: true}}
      - {type: bind, source: /tmp, target: /host, bind: {recursive: disabled}}
    healthcheck:
      test: ["CMD", "true"]
      interval: 30s
      start_period: 20s
      start_interval: 100ms
    deploy:
      update_config: {monitor: 100ms}
      resources:
        limits: {memory: 64M, pids: 50}
volumes:
  data: {}
"""
QUICK = ("--stop-signal", "KILL", "--update-monitor", "100ms", "--rollback-monitor", "100ms")
SLEEP = (*QUICK, "busybox:lab", "sleep", "600")
GIVEN = {
    "Privileged": True,
    "DeviceCgroupRules": ["c 1:3 mr"],
    "ShmSize": 32 << 20,
    "PidMode": "host",
    "IpcMode": "shareable",
    "UsernsMode": "host",
    "CgroupnsMode": "private",
    "CpusetCpus": "0",
    "CpuShares": 512,
    "OomScoreAdj": 150,
    "Memory": 64 << 20,
    "MemorySwap": 96 << 20,
    "PidsLimit": 50,
    # What joins the host's processes is not confined by SELinux: the engine's own word.
    "SecurityOpt": ["seccomp=unconfined", "apparmor=unconfined", "label=disable"],
    "MaskedPaths": [],
    "ReadonlyPaths": [],
    "GroupAdd": ["7"],
    "Runtime": "runc",
    "Init": True,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster() -> AsyncIterator[Cluster]:
    options = ("--node-generic-resource", "console=/dev/full", "--node-generic-resource", "console=/dev/random")
    async with Cluster("extras", hosts=1, engine_options=options) as cluster:
        yield cluster


async def container_of(cluster: Cluster, service: str) -> dict[str, Any]:
    """Return the running container of a service of one task, as its engine inspects it."""
    (task,) = await cluster.running(service, 1)
    (found,) = [c for c in await cluster.containers(cluster.manager_host) if c["Id"] == container_id(task)]
    return found


def container_id(task: dict[str, Any]) -> str:
    return str(task["Status"]["ContainerStatus"]["ContainerID"])


async def test_a_compose_file_gets_all_it_asks_for(cluster: Cluster) -> None:
    done = await cluster.swarm("stack", "deploy", "--timeout", "20s", "-c", "-", "all", stdin=COMPOSE)
    assert "Ignoring" not in done.stderr
    box = await container_of(cluster, "all_box")
    host = box["HostConfig"]
    assert {name: host[name] for name in GIVEN} == GIVEN
    assert box["Config"]["Domainname"] == "lab.example"
    assert "02:42:00:78:00:42" in [network["MacAddress"] for network in box["NetworkSettings"]["Networks"].values()]
    assert box["Config"]["Healthcheck"]["StartInterval"] == 100_000_000
    inside = await in_container(cluster, box, "stat -c %t:%T /dev/inside /dev/nil; df -k /dev/shm /fast /scratch")
    assert inside.split()[:2] == ["a:e5", "1:5"]
    assert [line.split()[1] for line in inside.splitlines()[3:]] == ["32768", "2048", "1024"]
    modes = await in_container(cluster, box, "stat -c %a /fast /scratch; cat /proc/sys/kernel/domainname")
    assert modes.split() == ["700", "1770", "lab.example"]


async def in_container(cluster: Cluster, container: dict[str, Any], script: str) -> str:
    return await cluster.manager_host.docker("exec", container["Id"], "sh", "-c", script)


async def test_flags_set_and_take_back_single_options(cluster: Cluster) -> None:
    await cluster.swarm(
        *(
            "service",
            "create",
            "--name",
            "flags",
            "--device",
            "/dev/fuse",
            "--shm-size",
            "16m",
            "--pid",
            "host",
            "--uts",
            "host",
        ),
        *("--security-opt", "no-new-privileges", *SLEEP),
    )
    before = await container_of(cluster, "flags")
    assert before["HostConfig"]["Devices"] == [
        {"PathOnHost": "/dev/fuse", "PathInContainer": "/dev/fuse", "CgroupPermissions": "rwm"}
    ]
    assert before["HostConfig"]["UTSMode"] == "host"
    assert before["HostConfig"]["SecurityOpt"] == ["no-new-privileges", "label=disable"]
    await cluster.swarm("service", "update", "--device-rm", "/dev/fuse", "--pid", "", "--shm-size", "8m", "flags")
    after = await container_of(cluster, "flags")
    assert (after["HostConfig"]["Devices"], after["HostConfig"]["PidMode"]) in (([], ""), (None, ""))
    assert after["HostConfig"]["ShmSize"] == 8 << 20
    await cluster.swarm("service", "rollback", "flags")
    assert (await container_of(cluster, "flags"))["HostConfig"]["PidMode"] == "host"


async def test_named_resources_become_a_variable_and_a_device(cluster: Cluster) -> None:
    create = ("service", "create", "--generic-resource", "console=1")
    await cluster.swarm(*create, "--name", "one", "--replicas", "2", *SLEEP)
    tasks = await cluster.running("one", 2)
    given = set()
    for container in await cluster.containers(cluster.manager_host):
        if container["Id"] in map(container_id, tasks):
            (name,) = [
                e.partition("=")[2] for e in container["Config"]["Env"] if e.startswith("DOCKER_RESOURCE_CONSOLE=")
            ]
            assert [device["PathOnHost"] for device in container["HostConfig"]["Devices"]] == [name]
            given.add(name)
    assert given == {"/dev/full", "/dev/random"}
    await cluster.swarm(*create, "--detach", "--name", "late", *SLEEP)
    waiting = await cluster.tasks_when("late", lambda tasks: bool(tasks and tasks[0]["Status"].get("Err")))
    assert "insufficient resources on 1 node" in waiting[0]["Status"]["Err"]
    await cluster.swarm("service", "scale", "one=1")
    await container_of(cluster, "late")


async def test_requests_for_devices_reach_the_engine(cluster: Cluster) -> None:
    """There is no GPU here: that the engine looks for one, and says so, is the proof."""
    compose = (
        "services:\n  gpu:\n    image: busybox:lab\n    deploy:\n      resources:\n        reservations:\n"
        "          devices: [{driver: nvidia, count: 1, capabilities: [gpu]}]\n"
    )
    await cluster.swarm("stack", "deploy", "--detach", "-c", "-", "want", stdin=compose)

    async def refused() -> bool:
        tasks = await cluster.tasks("want_gpu", desired="")
        return any('could not select device driver "nvidia"' in t["Status"].get("Err", "") for t in tasks)

    await cluster.until(refused, 20, lambda: "the engine was never asked for a GPU")
    await cluster.swarm("stack", "rm", "want")


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ({"PidMode": "container:x"}, "pid mode: expected host"),
        ({"Privilege": True}, "unknown field `Privilege`"),
        ({"Devices": [{"PathOnHost": "fuse", "PathInContainer": "/f"}]}, "an absolute path"),
    ],
)
async def test_what_cannot_be_is_refused_at_once(cluster: Cluster, label: dict[str, Any], words: str) -> None:
    option = f"swarm.x.engine={json.dumps(label)}"
    done = await cluster.swarm("service", "create", "--container-label", option, "busybox:lab", check=False)
    assert done.returncode == 1
    assert words in done.stderr
