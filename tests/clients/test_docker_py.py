"""PyPI's `docker` on a cluster: what its documentation shows, page by page."""

import gc
import io
import json
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import docker
import pytest
from docker.types import (
    ConfigReference,
    ContainerSpec,
    EndpointSpec,
    Healthcheck,
    LogConfig,
    Mount,
    NetworkAttachmentConfig,
    Placement,
    PlacementPreference,
    Resources,
    RestartPolicy,
    RollbackConfig,
    SecretReference,
    ServiceMode,
    TaskTemplate,
    Ulimit,
    UpdateConfig,
)

from tests.e2e.cluster import Cluster
from tests.fakes.archives import tar_of

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # it does not close what it streamed
]

IMAGE = "busybox:lab"
DOCKERFILE = f"FROM {IMAGE}\nARG WORD=built\nRUN echo $WORD > /made\nLABEL of=sdk\n"
SLEEP = ["sh", "-c", "trap exit TERM; while :; do sleep 1 & wait; done"]


@pytest.fixture(scope="module")
def client(cluster: Cluster) -> Iterator[Any]:
    client = docker.DockerClient(base_url=cluster.api, version="auto")
    yield client
    client.close()
    gc.collect()  # streams that the SDK leaves open are closed now, not in another test


@pytest.fixture
def box(client: Any) -> Iterator[Any]:
    """A container that runs; its program writes two lines, and ends when told to.

    They are for two pipes, which the engine reads independently of each other: only time between them orders them.
    """
    command = ["sh", "-c", "trap exit TERM; echo one; sleep 0.2; echo two >&2; while :; do sleep 1 & wait; done"]
    box = client.containers.run(IMAGE, command, detach=True, labels={"of": "sdk"})
    yield box
    box.remove(force=True)


def until(ready: Callable[[], Any]) -> Any:
    """Wait until something is true: nobody is told when a task changes."""
    deadline = time.monotonic() + 40
    while not (found := ready()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


# --- the client -------------------------------------------------------------------------------------------------------


def test_the_client(client: Any, cluster: Cluster) -> None:
    assert client.ping()
    assert client.version()["ApiVersion"] == "1.51"
    info = client.info()
    assert (info["Swarm"]["Nodes"], info["Driver"] != "", info["Images"] >= 3) == (3, True, True)
    assert client.df()["Images"]
    with closing(docker.from_env(environment={"DOCKER_HOST": cluster.api})) as other:
        assert other.ping()
    with pytest.raises(docker.errors.APIError, match="connection refused"):
        client.login("x", "y", registry="127.0.0.1:9")


def test_plugins_are_each_engines(client: Any) -> None:
    assert client.plugins.list() == []
    with pytest.raises(docker.errors.NotFound):
        client.plugins.get("none")
    with pytest.raises(docker.errors.APIError, match="the cluster has no plugins of its own"):
        client.plugins.install("none/such")


def test_events_are_told_and_remembered(client: Any) -> None:
    began = int(time.time()) - 1
    stream = client.events(decode=True, filters={"type": "container"})
    client.containers.run(IMAGE, ["true"], remove=True)
    told = []
    for event in stream:
        told.append(event["Action"])
        if event["Action"] == "destroy":
            break
    stream.close()
    assert [each for each in told if each in {"create", "start", "die", "destroy"}] == [
        "create",
        "start",
        "die",
        "destroy",
    ]
    client.volumes.create("evented").remove()
    past = {(e["Type"], e["Action"]) for e in client.events(since=began, until=int(time.time()) + 1, decode=True)}
    assert {("container", "start"), ("volume", "create"), ("volume", "destroy")} <= past


# --- containers -------------------------------------------------------------------------------------------------------


def test_running_containers(client: Any) -> None:
    assert client.containers.run(IMAGE, ["echo", "hello"], remove=True) == b"hello\n"
    both = client.containers.run(IMAGE, "sh -c 'echo out; echo err >&2'", stderr=True, remove=True)
    assert sorted(both.splitlines()) == [b"err", b"out"]  # engines read each by itself, in any order
    with pytest.raises(docker.errors.ContainerError) as failed:
        client.containers.run(IMAGE, ["sh", "-c", "echo wrong >&2; exit 3"], remove=True)
    assert (failed.value.exit_status, failed.value.stderr) == (3, b"wrong\n")
    with pytest.raises(docker.errors.ImageNotFound):
        client.containers.create("none:such")
    assert b"".join(client.containers.run(IMAGE, ["seq", "3"], stream=True, remove=True)) == b"1\n2\n3\n"


def test_everything_that_run_can_be_told(client: Any) -> None:
    """The arguments of `containers.run`, as far as three engines in one kernel can fulfil them."""
    client.networks.create("given", driver="overlay", attachable=True)
    volume = client.volumes.create("given")
    box = client.containers.create(
        IMAGE, SLEEP, name="given", hostname="own", domainname="example.org", user="0", working_dir="/tmp",
        environment={"A": "b"}, entrypoint=["/bin/env", "E=f"], labels={"k": "v"}, stop_signal="SIGTERM",
        network="given", dns_search=["example.org"], extra_hosts={"other": "192.0.2.7"}, ports={"80/tcp": 8099},
        volumes={"given": {"bind": "/data", "mode": "rw"}}, tmpfs={"/scratch": "size=1m"}, read_only=False,
        mem_limit="64m", mem_reservation="32m", nano_cpus=500_000_000, pids_limit=50, shm_size="1m", oom_score_adj=100,
        cap_add=["SYS_TIME"], cap_drop=["MKNOD"], security_opt=["no-new-privileges"],
        sysctls={"net.core.somaxconn": "99"},
        ulimits=[Ulimit(name="nofile", soft=100, hard=200)], init=True, tty=False, stdin_open=True,
        restart_policy={"Name": "on-failure", "MaximumRetryCount": 2}, group_add=["10"], auto_remove=False,
        log_config=LogConfig(type="json-file", config={"max-size": "1m"}), ipc_mode="private", platform="linux/amd64",
        healthcheck={"test": ["CMD", "true"], "interval": 10**9, "retries": 2},
    )  # fmt: skip
    try:
        box.start()
        box.reload()
        config, host = box.attrs["Config"], box.attrs["HostConfig"]
        assert (config["Hostname"], config["Domainname"], config["WorkingDir"]) == ("own", "example.org", "/tmp")
        assert {"A=b"} <= set(config["Env"])
        assert (host["Memory"], host["NanoCpus"], host["PidsLimit"]) == (64 << 20, 500_000_000, 50)
        assert (host["Init"], host["RestartPolicy"]["Name"]) == (True, "on-failure")
        assert (box.name, box.status, box.labels["k"], box.image.tags) == ("given", "running", "v", [IMAGE])
        assert box.ports["80/tcp"][0]["HostPort"] == "8099"
        assert list(box.attrs["NetworkSettings"]["Networks"]) == ["given"]
        assert "192.0.2.7\tother" in box.exec_run(["cat", "/etc/hosts"]).output.decode()
        assert box.exec_run(["cat", "/proc/sys/net/core/somaxconn"]).output == b"99\n"
        assert box.exec_run(["sh", "-c", "ulimit -n"]).output == b"100\n"
    finally:
        box.remove(force=True)
        client.networks.get("given").remove()
        volume.remove()


def test_lists_of_containers(client: Any, box: Any) -> None:
    other = client.containers.create(IMAGE, ["true"], name="listed", labels={"of": "sdk"})
    try:
        found = client.containers.list
        assert client.containers.get(box.id[:12]) == box
        assert box in found()
        assert other not in found()
        # Lists of several engines tell seconds: of one second, any may be first. With a limit it is the newest.
        assert {each.name for each in found(all=True, filters={"label": ["of=sdk"]})} == {"listed", box.name}
        assert found(all=True, limit=1, filters={"label": "of=sdk"}) == [other]
        assert found(all=True, filters={"since": box.id}) == [other]
        assert box in found(filters={"before": other.id})
        assert found(filters={"status": "running", "name": box.name, "ancestor": IMAGE}) == [box]
        assert found(all=True, filters={"is-task": "true"}) == []
        assert box in found(filters={"is-task": False})
        assert found(sparse=True, filters={"id": box.id})[0].attrs["Names"] == [f"/{box.name}"]
        with pytest.raises(docker.errors.NotFound):
            client.containers.get("none")
    finally:
        other.remove()


def test_a_containers_output(box: Any) -> None:
    stream = box.logs(stream=True, follow=True)
    assert b"".join(next(stream) for _ in range(2)) == b"one\ntwo\n"
    stream.close()
    assert box.logs(stdout=True, stderr=False) == b"one\n"
    assert box.logs(tail=1, timestamps=True).endswith(b"Z two\n")
    assert box.logs(since=int(time.time()) + 60) == b""
    until(lambda: box.attach(logs=True) == b"one\ntwo\n")  # it loses what is read together with the answer's head
    assert box.top()["Titles"]
    assert box.top(ps_args="aux")["Processes"]
    assert box.stats(stream=False)["name"] == f"/{box.name}"
    stats = box.stats(decode=True)
    assert next(stats)["memory_stats"]
    stats.close()


def test_a_containers_life(client: Any, box: Any) -> None:
    box.pause()
    box.reload()
    assert box.status == "paused"
    box.unpause()
    box.rename("renamed")
    assert client.containers.get("renamed").id == box.id
    box.restart(timeout=1)
    box.resize(height=40, width=120)
    box.update(mem_limit="128m", memswap_limit="128m")
    box.reload()
    assert box.attrs["HostConfig"]["Memory"] == 128 << 20
    until(lambda: box.logs().count(b"one") == 2)  # from then on the program hears signals
    box.kill(signal="SIGTERM")
    assert box.wait(timeout=10)["StatusCode"] in {0, 143}
    brief = client.containers.run(IMAGE, ["sleep", "2"], detach=True, auto_remove=True)
    assert brief.wait(condition="removed", timeout=20)["StatusCode"] == 0
    with pytest.raises(docker.errors.NotFound):
        brief.reload()
    box.start()
    box.stop(timeout=1)
    assert "Error" not in box.wait(condition="not-running")
    with pytest.raises(docker.errors.APIError, match="is not running"):
        box.kill()


def test_programs_inside(client: Any, box: Any) -> None:
    assert box.exec_run(["sh", "-c", "echo out; exit 4"]) == (4, b"out\n")
    _, (out, err) = box.exec_run(["sh", "-c", "echo out; echo err >&2"], demux=True)
    assert (out, err) == (b"out\n", b"err\n")
    assert b"".join(box.exec_run(["seq", "3"], stream=True).output) == b"1\n2\n3\n"
    environment = box.exec_run(["sh", "-c", "echo $A; id -u; pwd"], environment={"A": "b"}, user="2", workdir="/tmp")
    assert environment.output == b"b\n2\n/tmp\n"
    assert not box.exec_run(["true"], detach=True).output
    socket = box.exec_run(["cat"], stdin=True, socket=True).output
    socket._sock.sendall(b"said\n")
    assert b"said" in socket.read(64)
    socket.close()
    made = client.api.exec_create(box.id, ["sleep", "0"], tty=True)
    assert client.api.exec_start(made["Id"]) == b""
    assert client.api.exec_inspect(made["Id"])["ExitCode"] == 0


def test_attached_sockets(client: Any) -> None:
    box = client.containers.create(IMAGE, ["sh", "-c", "read said; echo heard $said"], stdin_open=True)
    socket = box.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    box.start()
    socket._sock.sendall(b"this\n")
    assert b"heard this" in socket.read(64)
    socket.close()
    box.wait(timeout=10)
    box.remove()


def test_files_of_containers(box: Any) -> None:
    assert box.put_archive("/tmp", tar_of(("there", tarfile.REGTYPE, "carried")))
    chunks, seen = box.get_archive("/tmp/there")
    assert seen["size"] == len(b"carried")
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        assert tar.extractfile("there").read() == b"carried"  # type: ignore[union-attr]
    chunks, _ = box.get_archive("/tmp/there", encode_stream=True)
    assert b"".join(chunks)
    assert {"Path": "/tmp/there", "Kind": 1} in box.diff()
    with tarfile.open(fileobj=io.BytesIO(b"".join(box.export()))) as tar:
        assert "tmp/there" in tar.getnames()
    with pytest.raises(docker.errors.NotFound):
        box.get_archive("/none")


def test_commit_keeps_every_change(client: Any, box: Any) -> None:
    box.exec_run(["touch", "/new"])
    image = box.commit(
        "committed", "1", message="m", author="a", changes=["ENV A=b", "LABEL c=d", 'CMD ["ls", "/new"]']
    )
    config = image.attrs["Config"]
    assert ("A=b" in config["Env"], config["Labels"]["c"], config["Cmd"]) == (True, "d", ["ls", "/new"])
    assert client.containers.run("committed:1", remove=True) == b"/new\n"
    client.images.remove("committed:1")


def test_links(client: Any, box: Any) -> None:
    assert b"0% packet loss" in client.containers.run(
        IMAGE, ["ping", "-c1", "other"], links={box.name: "other"}, remove=True
    )
    with pytest.raises(docker.errors.APIError, match="No such container: nobody") as refused:
        client.containers.run(IMAGE, ["true"], links={"nobody": "x"})
    assert refused.value.status_code == 400


def test_prune_of_containers(client: Any) -> None:
    ended = client.containers.create(IMAGE, ["true"], labels={"of": "prune"})
    assert client.containers.prune(filters={"label": "of=prune"})["ContainersDeleted"] == [ended.id]


# --- images -----------------------------------------------------------------------------------------------------------


def test_building_images(client: Any) -> None:
    image, said = client.images.build(
        fileobj=io.BytesIO(DOCKERFILE.encode()), tag="sdk:1", buildargs={"WORD": "said"}, labels={"l": "1"}, rm=True
    )
    assert any("Step 2/5" in each.get("stream", "") for each in said)
    assert client.images.get("sdk:1").id == image.id
    assert (image.labels, image.tags, len(image.short_id)) == ({"of": "sdk", "l": "1"}, ["sdk:1"], 19)
    assert image.history()[0]["CreatedBy"]
    assert client.containers.run("sdk:1", ["cat", "/made"], remove=True) == b"said\n"
    with pytest.raises(docker.errors.BuildError, match="non-zero code"):
        client.images.build(fileobj=io.BytesIO(f"FROM {IMAGE}\nRUN false\n".encode()))
    client.images.remove("sdk:1")


@pytest.mark.parametrize("gzip", [False, True])
def test_building_from_an_archive(client: Any, gzip: bool) -> None:
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w:gz" if gzip else "w") as tar:
        for name, content in (("Dockerfile", f"FROM {IMAGE}\nCOPY word /word\n".encode()), ("word", b"carried")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    context.seek(0)
    encoding = {"encoding": "gzip"} if gzip else {}
    client.images.build(fileobj=context, custom_context=True, tag="sdk:context", **encoding)
    assert client.containers.run("sdk:context", ["cat", "/word"], remove=True) == b"carried"
    client.images.remove("sdk:context")


def test_names_of_images(client: Any) -> None:
    image = client.images.get(IMAGE)
    assert image.tag("sdk/one", "2")
    assert image.tag("registry.example:5000/sdk/one:3")
    assert [each.id for each in client.images.list("sdk/one")] == [image.id]
    assert client.images.list(filters={"reference": "registry.example:5000/*/*"}) == [image]
    image.reload()
    assert {"sdk/one:2", "registry.example:5000/sdk/one:3"} <= set(image.tags)
    for tag in ("sdk/one:2", "registry.example:5000/sdk/one:3"):
        client.images.remove(tag)
    with pytest.raises(docker.errors.ImageNotFound):
        client.images.get("sdk/one:2")
    assert image not in client.images.list(filters={"dangling": True})


def test_archives_of_images(client: Any) -> None:
    image, _ = client.images.build(fileobj=io.BytesIO(DOCKERFILE.encode()), tag="sdk:saved")
    whole = b"".join(image.save(named=True))
    client.images.remove("sdk:saved", force=True)
    (loaded,) = client.images.load(whole)
    assert loaded.tags == ["sdk:saved"]
    assert client.containers.run("sdk:saved", ["cat", "/made"], remove=True) == b"built\n"
    client.images.remove("sdk:saved")
    box = client.containers.create(IMAGE, ["true"])
    client.api.import_image_from_data(b"".join(box.export()), repository="sdk", tag="imported")
    box.remove()
    assert client.containers.run("sdk:imported", ["/bin/echo", "runs"], remove=True) == b"runs\n"
    client.images.remove("sdk:imported")
    assert "ImagesDeleted" in client.images.prune(filters={"dangling": True})
    assert "SpaceReclaimed" in client.images.prune_builds()


def test_registries_that_cannot_be_reached(client: Any) -> None:
    """Nothing listens there: the engine's own words come back, as errors of the SDK."""
    with pytest.raises(docker.errors.APIError):
        client.images.pull("127.0.0.1:9/none", tag="1")
    client.images.get(IMAGE).tag("127.0.0.1:9/none", "1")
    said = list(client.images.push("127.0.0.1:9/none", tag="1", stream=True, decode=True))
    assert "error" in said[-1]
    with pytest.raises(docker.errors.APIError):
        client.images.get_registry_data("127.0.0.1:9/other:1", auth_config={"username": "x", "password": "y"})
    client.images.remove("127.0.0.1:9/none:1")


# --- networks and volumes ---------------------------------------------------------------------------------------------


def test_networks(client: Any, box: Any) -> None:
    """One without a driver is attachable too: tools make such, and put containers in."""
    pool = docker.types.IPAMPool(subnet="10.123.0.0/16", gateway="10.123.0.1")
    network = client.networks.create("sdk", ipam=docker.types.IPAMConfig(pool_configs=[pool]), labels={"a": "b"})
    assert (network.attrs["Driver"], network.attrs["Attachable"], network.name) == ("overlay", True, "sdk")
    assert client.networks.list(names=["sdk"]) == client.networks.list(ids=[network.id]) == [network]
    assert network in client.networks.list(filters={"label": "a=b", "driver": "overlay"}, greedy=True)
    network.connect(box, aliases=["known"], ipv4_address="10.123.16.9")
    network.reload()
    assert network.containers == [box]
    assert client.networks.get("sdk", verbose=True).attrs["Services"][""]["Tasks"][0]["EndpointIP"] == "10.123.16.9"
    pinged = client.containers.run(IMAGE, ["ping", "-c1", "known"], network="sdk", remove=True)
    assert b"(10.123.16.9)" in pinged
    with pytest.raises(docker.errors.APIError, match="in use"):
        network.remove()
    network.disconnect(box, force=True)
    network.remove()
    with pytest.raises(docker.errors.NotFound):
        client.networks.get("sdk")
    config = client.api.create_networking_config({"sdk2": client.api.create_endpoint_config(aliases=["x"])})
    client.networks.create("sdk2", labels={"a": "b"})
    made = client.api.create_container(IMAGE, SLEEP, networking_config=config)
    shown = client.api.inspect_container(made["Id"])["NetworkSettings"]["Networks"]["sdk2"]
    assert "x" in shown["Aliases"]
    client.api.remove_container(made["Id"])
    assert client.networks.prune(filters={"label": "a=b"})["NetworksDeleted"] == ["sdk2"]


def test_volumes(client: Any) -> None:
    volume = client.volumes.create(
        "sdk", driver="local", driver_opts={"type": "tmpfs", "device": "tmpfs"}, labels={"a": "b"}
    )
    assert client.volumes.get("sdk") == volume
    assert volume in client.volumes.list(filters={"label": "a=b"})
    told = [each.attrs["Labels"]["swarm.x.node"] for each in (volume, client.volumes.get("sdk"))]
    assert told[0] == told[1] != ""
    mount = Mount("/data", "sdk", type="volume")
    assert client.containers.run(IMAGE, ["ls", "-d", "/data"], mounts=[mount], remove=True) == b"/data\n"
    volume.remove()
    with pytest.raises(docker.errors.NotFound):
        client.volumes.get("sdk")
    assert client.volumes.prune(filters={"label": "none"})["VolumesDeleted"] == []


# --- the cluster ------------------------------------------------------------------------------------------------------


def running(service: Any, count: int) -> Any:
    def settled() -> list[Any]:
        tasks = service.tasks(filters={"desired-state": "running"})
        return tasks if len(tasks) == count and all(t["Status"]["State"] == "running" for t in tasks) else []

    return until(settled)


def test_nodes(client: Any) -> None:
    nodes = client.nodes.list()
    assert len(nodes) == 3
    worker = client.nodes.list(filters={"role": "worker"})[0]
    spec = {**worker.attrs["Spec"], "Labels": {"disk": "ssd"}}
    assert worker.update(spec)
    worker.reload()
    assert worker.attrs["Spec"]["Labels"] == {"disk": "ssd"}
    assert client.nodes.get(worker.id) == worker
    assert worker.version
    with pytest.raises(docker.errors.APIError, match="is not down"):
        client.api.remove_node(worker.id)


def test_secrets_and_configs(client: Any) -> None:
    secret = client.secrets.create(name="sdk", data=b"hush", labels={"a": "b"})
    config = client.configs.create(name="sdk", data=b"plain", labels={"a": "b"})
    assert client.secrets.get(secret.id).name == "sdk"
    assert client.secrets.list(filters={"names": ["sdk"]}) == [secret]
    assert client.configs.list(filters={"label": "a=b"}) == [config]
    assert client.configs.get(config.id).attrs["Spec"]["Data"] == "cGxhaW4="
    assert "Data" not in client.secrets.get(secret.id).attrs["Spec"]
    secret.remove()
    config.remove()


def test_services(client: Any) -> None:
    """A service with all that `services.create` can be told, on an image that only the cluster has."""
    client.images.build(fileobj=io.BytesIO(DOCKERFILE.encode()), tag="sdk:service")
    network = client.networks.create("sdk-services", driver="overlay")
    secret = client.secrets.create(name="s1", data=b"hush")
    config = client.configs.create(name="c1", data=b"plain")
    service = client.services.create(
        "sdk:service", ["sh", "-c", "echo started; cat /run/secrets/s1 /c1; echo; exec sleep 1000"], name="sdk",
        mode=ServiceMode("replicated", 3), stop_grace_period=0, labels={"a": "b"}, container_labels={"c": "d"},
        env=["A=b"], workdir="/tmp", user="0", hostname="{{.Node.Hostname}}", networks=["sdk-services"], tty=False,
        endpoint_spec=EndpointSpec(ports={8085: 80}), secrets=[SecretReference(secret.id, "s1")],
        configs=[ConfigReference(config.id, "c1", filename="/c1")], mounts=["sdk-data:/data:rw"],
        resources=Resources(mem_limit=50_000_000, mem_reservation=10_000_000), init=True, read_only=False,
        restart_policy=RestartPolicy("any", delay=0), update_config=UpdateConfig(parallelism=3, monitor=1),
        rollback_config=RollbackConfig(parallelism=3, monitor=1), constraints=["node.platform.os==linux"],
        preferences=[PlacementPreference("spread", "node.labels.disk")], maxreplicas=2,
        healthcheck=Healthcheck(test=["CMD", "true"], interval=10**9), hosts={"other": "192.0.2.7"},
    )  # fmt: skip
    tasks = running(service, 3)
    assert {task["Status"]["State"] for task in tasks} == {"running"}
    until(lambda: b"".join(service.logs(stdout=True)).count(b"hushplain") == 3)
    own = client.containers.list(filters={"label": "com.docker.swarm.service.name=sdk"})
    assert {box.exec_run(["cat", "/made"]).output for box in own} == {b"built\n"}
    assert len(client.containers.list(filters={"is-task": "true"})) == 3
    service.reload()
    addresses = service.attrs["Endpoint"]["VirtualIPs"]
    assert {each["Addr"].count("/") for each in addresses} == {1}
    assert network.id in {each["NetworkID"] for each in addresses}
    assert client.services.list(filters={"name": "sdk", "mode": "replicated"}, status=True) == [service]
    assert client.api.inspect_task(tasks[0]["ID"])["ServiceID"] == service.id
    assert service.scale(1)
    running(service, 1)
    changed_at_once(client, service)
    service.remove()
    with pytest.raises(docker.errors.NotFound):
        client.services.get("sdk")
    for each in (secret, config):
        each.remove()
    until(lambda: not client.containers.list(sparse=True, filters={"label": "com.docker.swarm.service.name=sdk"}))
    network.remove()
    client.images.remove("sdk:service", force=True)


def changed_at_once(client: Any, service: Any) -> None:
    """Each change is read, and the next one sent while the manager notes the progress of that before."""
    for number in range(12):
        service.reload()
        service.update(env=[f"A={number}"])
        service.reload()
        assert service.scale(2 - number % 2)
    service.reload()
    assert service.attrs["Spec"]["TaskTemplate"]["ContainerSpec"]["Env"] == ["A=11"]
    assert service.force_update()
    service.reload()
    client.api.update_service(
        service.id,
        service.version,
        service.attrs["Spec"]["TaskTemplate"],
        name="sdk",
        mode=ServiceMode("replicated", 1),
    )


def test_services_of_other_modes(client: Any) -> None:
    every = client.services.create(IMAGE, SLEEP, name="every", mode=ServiceMode("global"), stop_grace_period=0)
    job = client.services.create(IMAGE, ["true"], name="job", mode=ServiceMode("replicated-job", 2, 1))
    running(every, 3)
    until(lambda: [t["Status"]["State"] for t in job.tasks()] == ["complete"] * 2)
    template = TaskTemplate(
        ContainerSpec(IMAGE, SLEEP), placement=Placement(constraints=["node.role==manager"]),
        networks=[NetworkAttachmentConfig("host")],
    )  # fmt: skip
    low = client.api.create_service(template, name="low", labels={"a": "b"})
    running(client.services.get(low["ID"]), 1)
    for name in ("every", "job", "low"):
        client.services.get(name).remove()


def test_a_task_waits_for_a_node_with_its_named_generic_resource(client: Any) -> None:
    service = client.services.create(IMAGE, SLEEP, name="gpu", resources=Resources(generic_resources={"gpu": "GPU-1"}))
    until(lambda: any("insufficient resources" in t["Status"].get("Err", "") for t in service.tasks()))
    reserved = service.attrs["Spec"]["TaskTemplate"]["Resources"]["Reservations"]["GenericResources"]
    assert reserved == [{"NamedResourceSpec": {"Kind": "gpu", "Value": "GPU-1"}}]
    service.remove()


def test_the_swarm(client: Any) -> None:
    client.swarm.reload()
    before = client.swarm.attrs["JoinTokens"]["Worker"]
    assert client.swarm.version
    assert client.swarm.update(rotate_worker_token=True, task_history_retention_limit=4)
    client.swarm.reload()
    assert client.swarm.attrs["JoinTokens"]["Worker"] != before
    assert client.swarm.attrs["Spec"]["Orchestration"]["TaskHistoryRetentionLimit"] == 4
    assert client.swarm.get_unlock_key() == {"UnlockKey": ""}
    with pytest.raises(docker.errors.APIError, match="not locked"):
        client.swarm.unlock("SWMKEY-1-7c37Cc8654o6p38HnroywCi19pllOnGtbdZEgtKxZu8")
    with pytest.raises(docker.errors.APIError, match="already part of a swarm"):
        client.swarm.init()
    with pytest.raises(docker.errors.APIError, match="swarm-worker join"):
        client.swarm.join(["10.0.0.9:2377"], "token")
    for force in (False, True):
        with pytest.raises(docker.errors.APIError, match="swarm-worker leave"):
            client.swarm.leave(force=force)
    assert len(client.nodes.list()) == 3


def test_the_low_level_client(client: Any) -> None:
    api = client.api
    made = api.create_container(IMAGE, SLEEP, host_config=api.create_host_config(privileged=False), detach=True)
    api.start(made["Id"])
    assert api.inspect_container(made)["State"]["Running"]
    assert api.port(made, 80) is None
    assert json.loads(next(iter(api.stats(made, stream=True))))["id"] == made["Id"]
    assert api.containers(quiet=True)[0]["Id"]
    api.remove_container(made, force=True, v=True)
    assert api.inspect_distribution(IMAGE)["Descriptor"]["digest"].startswith("sha256:")
    with pytest.raises(docker.errors.APIError, match="config cannot be empty"):
        api.create_container_from_config({})
