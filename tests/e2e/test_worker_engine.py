"""The worker on a real engine: what a container gets, and what survives the agent and the engine."""

import asyncio
import signal

import msgspec
import pytest

from common.clock import SECOND
from common.model.container import (
    AppArmor,
    BindOptions,
    ConfigReference,
    ContainerSpec,
    DnsConfig,
    DriverConfig,
    FileTarget,
    HealthConfig,
    Mount,
    Privileges,
    Seccomp,
    SecretReference,
    TmpfsOptions,
    Ulimit,
    VolumeOptions,
)
from common.model.network import Network, NetworkSpec
from common.model.secret import Config, ConfigSpec, Secret, SecretSpec
from common.model.service import (
    GenericResource,
    Limits,
    NamedResourceSpec,
    NetworkAttachmentConfig,
    PortConfig,
    Reservations,
    Resources,
    TaskSpec,
)
from common.model.task import Task, TaskState, TaskStatus
from tests.e2e.engine_worker import NODE, EngineWorker
from tests.lab import plain_engine

S = TaskState
SLEEP = ("sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait")


@pytest.fixture
async def worker():
    async with plain_engine() as host, EngineWorker.on(host) as worker:
        yield worker


def make(
    task_id="task1", image="busybox:lab", desired=S.RUNNING, *, resources=None, networks=(), ports=(), **container
):
    container.setdefault("command", SLEEP)
    return Task(
        id=task_id,
        service_id="service1",
        service_name="web",
        slot=2,
        node_id=NODE,
        labels={"tier": "front"},
        ports=ports,
        desired_state=desired,
        status=TaskStatus(state=S.ASSIGNED),
        generic_resources=(GenericResource(named_resource_spec=NamedResourceSpec(kind="gpu", value="u1")),),
        spec=TaskSpec(
            container_spec=ContainerSpec(image=image, **container),
            resources=resources,
            networks=networks,
            log_driver=DriverConfig(name="json-file", options={"max-size": "1m"}),
        ),
    )


def want(task, desired):
    return msgspec.structs.replace(task, desired_state=desired)


async def test_everything_of_a_specification_reaches_the_container(worker):
    folder = worker.host.folder / "bound"
    folder.mkdir()
    (folder / "file").write_text("from the host")
    task = make(
        labels={"mine": "1"},
        hostname="{{.Service.Name}}-{{.Task.Slot}}",
        env=("WHERE={{.Node.Hostname}}", "PLAIN=1"),
        dir="/tmp",
        user="1000:1000",
        groups=("44",),
        init=True,
        tty=True,
        open_stdin=True,
        read_only=True,
        stop_signal="SIGINT",
        stop_grace_period=3 * SECOND,
        hosts=("10.9.8.7 db db.example",),
        dns_config=DnsConfig(nameservers=("10.1.1.1",), search=("example.org",), options=("ndots:2",)),
        sysctls={"net.ipv4.ip_unprivileged_port_start": "80"},
        capability_add=("CAP_NET_ADMIN",),
        capability_drop=("CAP_CHOWN",),
        ulimits=(Ulimit(name="nofile", soft=1000, hard=2000),),
        oom_score_adj=300,
        healthcheck=HealthConfig(test=("CMD", "true"), interval=SECOND, timeout=2 * SECOND, retries=4),
        privileges=Privileges(
            no_new_privileges=True, seccomp=Seccomp(mode="unconfined"), apparmor=AppArmor(mode="disabled")
        ),
        mounts=(
            Mount(type="bind", source=str(folder), target="/bound", read_only=True,
                  bind_options=BindOptions(propagation="private")),
            Mount(type="bind", source=str(folder), target="/slave", bind_options=BindOptions(propagation="rslave")),
            Mount(type="volume", source="{{.Service.Name}}-data", target="/data",
                  volume_options=VolumeOptions(labels={"v": "1"}, driver_config=DriverConfig(name="local"))),
            Mount(type="volume", target="/anonymous"),
            Mount(type="tmpfs", target="/scratch", tmpfs_options=TmpfsOptions(size_bytes=1 << 20, mode=0o1777)),
        ),
        resources=Resources(
            limits=Limits(nano_cpus=500_000_000, memory_bytes=64 << 20, pids=50),
            reservations=Reservations(memory_bytes=32 << 20),
        ),
    )  # fmt: skip
    await worker.assign(task)
    status = await worker.until(task, S.RUNNING)
    assert status.state is S.RUNNING, status
    found = await worker.inspect(task)
    config, host = found["Config"], found["HostConfig"]

    assert found["Name"] == "/web.2.task1"
    assert status.container_status.container_id == found["Id"]
    assert status.container_status.pid > 0
    assert (
        config["Labels"].items()
        >= {
            "mine": "1",
            "com.docker.swarm.task": "",
            "com.docker.swarm.task.id": "task1",
            "com.docker.swarm.task.name": "web.2.task1",
            "com.docker.swarm.service.id": "service1",
            "com.docker.swarm.service.name": "web",
            "com.docker.swarm.node.id": NODE,
        }.items()
    )
    assert (config["Hostname"], config["WorkingDir"], config["User"]) == ("web-2", "/tmp", "1000:1000")
    assert {"WHERE=h1", "PLAIN=1", "DOCKER_RESOURCE_GPU=u1"} <= set(config["Env"])
    assert (config["Tty"], config["OpenStdin"]) == (True, True)
    assert (config["StopSignal"], config["StopTimeout"]) == ("SIGINT", 3)
    assert config["Healthcheck"] == {
        "Test": ["CMD", "true"], "Interval": SECOND, "Timeout": 2 * SECOND, "Retries": 4,
    }  # fmt: skip
    assert host["RestartPolicy"]["Name"] == "no"
    assert (host["Init"], host["ReadonlyRootfs"], host["GroupAdd"]) == (True, True, ["44"])
    assert host["ExtraHosts"] == ["db:10.9.8.7", "db.example:10.9.8.7"]
    assert (host["Dns"], host["DnsSearch"], host["DnsOptions"]) == (["10.1.1.1"], ["example.org"], ["ndots:2"])
    assert host["Sysctls"] == {"net.ipv4.ip_unprivileged_port_start": "80"}
    assert (host["CapAdd"], host["CapDrop"]) == (["CAP_NET_ADMIN"], ["CAP_CHOWN"])
    assert host["Ulimits"] == [{"Name": "nofile", "Hard": 2000, "Soft": 1000}]
    assert host["OomScoreAdj"] == 300
    assert host["SecurityOpt"] == ["no-new-privileges=true", "seccomp=unconfined", "apparmor=unconfined"]
    assert (host["NanoCpus"], host["Memory"], host["MemoryReservation"], host["PidsLimit"]) == (
        500_000_000, 64 << 20, 32 << 20, 50,
    )  # fmt: skip
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "1m"}}
    assert await worker.shell(
        task, "hostname; cat /bound/file; echo; id -u; df -k /scratch | tail -1 | awk '{print $2}'"
    ) == ("web-2\nfrom the host\n1000\n1024")
    volume = msgspec.json.decode(await worker.host.docker("volume", "inspect", "web-data"))[0]
    assert volume["Labels"] == {"v": "1"}
    assert len((await worker.host.docker("volume", "ls", "-q")).split()) == 2

    await worker.assign(want(task, S.REMOVE))
    await worker.until(task, S.SHUTDOWN)
    assert await worker.containers() == []
    # The anonymous volume goes with its container, the named one stays.
    assert (await worker.host.docker("volume", "ls", "-q")).split() == ["web-data"]


async def started_at(worker, task):
    found = await worker.inspect(task)
    return found["Id"], found["State"]["StartedAt"], found["State"]["Pid"]


SECRET = Secret(id="s", spec=SecretSpec(name="key", data=b"the-very-secret-value-of-this-test"))
CONFIG = Config(
    id="c", spec=ConfigSpec(name="conf", data=b"slot={{.Task.Slot}}", templating=DriverConfig(name="golang"))
)
FILES = {
    "secrets": (
        SecretReference(
            secret_id="s", secret_name="key", file=FileTarget(name="key", uid="1000", gid="44", mode=0o440)
        ),
    ),
    "configs": (ConfigReference(config_id="c", config_name="conf", file=FileTarget(name="/etc/app/conf")),),
}


async def test_secrets_live_in_memory_only_and_go_with_the_task(worker):
    task = make(**FILES)
    await worker.assign(task, secrets=(SECRET,), configs=(CONFIG,))
    status = await worker.until(task, S.RUNNING)
    assert status.state is S.RUNNING, status
    look = "for f in /run/secrets/key /etc/app/conf; do cat $f; stat -c ' %u:%g %a' $f; done"
    assert await worker.shell(task, look) == ("the-very-secret-value-of-this-test 1000:44 440\nslot=2 0:0 444")
    assert "Read-only file system" in await worker.shell(task, "(echo x > /run/secrets/key) 2>&1 || true")
    mounts = (await worker.host.run("cat", "/proc/mounts")).stdout
    assert mounts.count(f"{worker.host.folder}/files/task1 tmpfs") == 1
    # What the folder holds on disk, with the tmpfs mounts left out, and what dockerd wrote.
    found = await worker.host.run("grep", "-rlaF", "the-very-secret-value", str(worker.host.folder), check=False)
    assert found.stdout.split() == [f"{worker.host.folder}/files/task1/0"]
    assert "very-secret" not in await worker.host.docker("inspect", task.name)
    assert "very-secret" not in worker.process.output()

    # The agent's death leaves the mounts to the container.
    await worker.kill()
    assert (await worker.shell(task, "cat /run/secrets/key")).startswith("the-very-secret")
    await worker.start()
    await worker.assign(want(task, S.SHUTDOWN))
    await worker.until(task, S.SHUTDOWN)
    await worker.assign()
    await worker.until_containers()
    assert str(worker.host.folder / "files") not in (await worker.host.run("cat", "/proc/mounts")).stdout
    assert list((worker.host.folder / "files").iterdir()) == []


async def test_a_killed_agent_leaves_containers_alone_and_adopts_them(worker):
    running, ready, ended = make("t1"), make("t2", desired=S.READY), make("t3")
    await worker.assign(running, ready, ended)
    for task, state in ((running, S.RUNNING), (ready, S.READY), (ended, S.RUNNING)):
        await worker.until(task, state)
    before = await started_at(worker, running)

    await worker.kill()
    await worker.host.docker("kill", ended.name)
    await worker.start()
    await worker.assign(running, ready, ended)
    assert (await worker.until(ended, S.FAILED)).err == "task: non-zero exit (137)"
    await worker.assign(running, want(ready, S.RUNNING), ended)
    await worker.until(ready, S.RUNNING)
    assert await started_at(worker, running) == before
    assert worker.state(running) is S.RUNNING


async def test_only_containers_of_unassigned_tasks_are_stopped(worker):
    task = make("t1")
    stranger = await worker.host.docker("run", "-d", "--name", "stranger", "busybox:lab", "sleep", "1000")
    await worker.assign(task, make("t2"))
    await worker.until(task, S.RUNNING)
    await worker.kill()
    await worker.host.run("sh", "-c", f"rm {worker.host.folder}/state.db*")
    await worker.start()
    await worker.assign(task)
    await worker.until_containers("stranger", task.name)
    assert stranger in await worker.host.docker("ps", "-q", "--no-trunc")


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGKILL])
async def test_an_engine_restart_is_survived(worker, sig):
    """SIGTERM ends the containers with the engine; SIGKILL leaves them to dockerd, which ends them when it is back."""
    task, later = make("t1"), make("t2")
    await worker.assign(task)
    await worker.until(task, S.RUNNING)
    await worker.host.restart_engine(sig)
    failed = await worker.until(task, S.COMPLETE, seconds=30)
    assert failed.state is S.FAILED, failed
    await worker.assign(task, later)
    assert (await worker.until(later, S.RUNNING)).state is S.RUNNING


async def test_live_restore_keeps_tasks_running_without_the_engine():
    async with plain_engine(engine_options=("--live-restore",)) as host, EngineWorker.on(host) as worker:
        task, later = make("t1"), make("t2")
        await worker.assign(task)
        await worker.until(task, S.RUNNING)
        before = await started_at(worker, task)
        await host.restart_engine(signal.SIGTERM)
        await worker.assign(task, later)
        await worker.until(later, S.RUNNING, seconds=30)
        assert await started_at(worker, task) == before
        assert worker.state(task) is S.RUNNING


async def test_stopping_signals_waits_for_the_grace_and_then_kills(worker):
    polite = make("t1", command=("sh", "-c", "trap 'exit 7' USR1; sleep 1000 & wait"), stop_signal="SIGUSR1")
    stubborn = make("t2", command=("sh", "-c", "trap '' TERM; sleep 1000"), stop_grace_period=5 * SECOND)
    await worker.assign(polite, stubborn)
    for task in (polite, stubborn):
        await worker.until(task, S.RUNNING)
    begun = asyncio.get_running_loop().time()
    await worker.assign(want(polite, S.SHUTDOWN), want(stubborn, S.SHUTDOWN))
    assert (await worker.until(polite, S.SHUTDOWN)).container_status.exit_code == 7
    assert worker.state(stubborn) is S.RUNNING, "one does not wait for the other's grace"
    assert (await worker.until(stubborn, S.SHUTDOWN)).container_status.exit_code == 137
    assert asyncio.get_running_loop().time() - begun >= 5.0
    assert await worker.containers() == ["web.2.t1", "web.2.t2"]


async def test_health_holds_back_and_fails(worker):
    test = ("CMD-SHELL", "test -e /tmp/well || { echo it is not well; exit 1; }")
    check = HealthConfig(test=test, interval=SECOND // 2, timeout=SECOND, retries=2)
    start = HealthConfig(test=check.test, interval=check.interval, timeout=SECOND, retries=2, start_period=30 * SECOND)
    task, never = make("t1", healthcheck=start), make("t2", healthcheck=check)
    await worker.assign(task, never)
    failed = await worker.until(never, S.FAILED)
    assert (failed.state, failed.err) == (S.FAILED, "task: unhealthy container: it is not well")
    assert worker.state(task) is S.STARTING
    await worker.shell(task, "touch /tmp/well")
    assert (await worker.until(task, S.RUNNING)).state is S.RUNNING
    await worker.shell(task, "rm /tmp/well")
    assert (await worker.until(task, S.FAILED)).err == "task: unhealthy container: it is not well"


async def test_a_health_check_that_hangs_is_told_as_such(worker):
    check = HealthConfig(test=("CMD", "sleep", "1000"), interval=SECOND // 2, timeout=SECOND, retries=1)
    task = make("t1", healthcheck=check)
    await worker.assign(task)
    err = (await worker.until(task, S.FAILED)).err
    assert err == "task: unhealthy container: Health check exceeded timeout (1s)"


async def test_ends_and_refusals_are_told_apart(worker):
    done = make("t1", command=("true",))
    failed = make("t2", command=("sh", "-c", "exit 3"))
    no_program = make("t3", command=("/no/such/program",))
    no_image = make("t4", image="nothing:here")
    bad_mount = make("t5", mounts=(Mount(type="bind", source="/no/such/folder", target="/x"),))
    bad_template = make("t6", env=("X={{.Service.Nmae}}",))
    hungry = make(
        "t7",
        command=("sh", "-c", "x=a; while :; do x=$x$x; done"),
        resources=Resources(limits=Limits(memory_bytes=16 << 20)),
    )
    await worker.assign(done, failed, no_program, no_image, bad_mount, bad_template, hungry)
    ends = {}
    for task in (done, failed, no_program, no_image, bad_mount, bad_template, hungry):
        status = await worker.until(task, S.COMPLETE, seconds=40)
        ends[task.id] = (status.state, status.err)
    assert ends["t1"] == (S.COMPLETE, "")
    assert ends["t2"] == (S.FAILED, "task: non-zero exit (3)")
    assert ends["t3"][0] is S.FAILED
    assert ends["t3"][1].startswith("starting container failed: ")
    assert "no such file or directory" in ends["t3"][1]
    assert ends["t4"][0] is S.REJECTED
    assert ends["t4"][1].startswith("No such image: nothing:here; pulling it failed: ")
    assert ends["t5"] == (
        S.REJECTED,
        'invalid mount config for type "bind": bind source path does not exist: /no/such/folder',
    )
    assert ends["t6"][0] is S.REJECTED
    assert "map has no entry for key 'Nmae'" in ends["t6"][1]
    assert ends["t7"] == (S.FAILED, "task: non-zero exit (137): out of memory")


async def test_a_container_stopped_by_hand_has_failed(worker):
    task = make()
    await worker.assign(task)
    await worker.until(task, S.RUNNING)
    await worker.host.docker("stop", task.name)
    failed = await worker.until(task, S.COMPLETE)
    assert (failed.state, failed.err) == (S.FAILED, "task: stopped from outside the cluster (signal 15)")


async def test_bridges_stand_in_for_networks_and_host_ports_are_bound(worker):
    network = Network(id="n1", spec=NetworkSpec(name="back", labels={"k": "v"}))
    other = Network(id="n2", spec=NetworkSpec(name="front"))
    attached = (NetworkAttachmentConfig(target="n1", aliases=("db",)), NetworkAttachmentConfig(target="n2"))
    ports = (PortConfig(target_port=80, published_port=8080, publish_mode="host"),)
    server = make("t1", image="web:lab", command=("/web",), networks=attached, ports=ports)
    client = make("t2", networks=(NetworkAttachmentConfig(target="n1"),))
    plain = make("t3", networks=(NetworkAttachmentConfig(target="host"),))
    await worker.assign(server, client, plain, networks=(network, other))
    for task in (server, client, plain):
        status = await worker.until(task, S.RUNNING)
        assert status.state is S.RUNNING, status
    status = await worker.until(server, S.RUNNING)
    assert status.addresses == {}, "no other host can use them"
    assert status.ports == ports
    ends = (await worker.inspect(server))["NetworkSettings"]["Networks"]
    for name in ("db", ends[f"back.{NODE}"]["IPAddress"]):
        assert '"host"' in await worker.shell(client, f"wget -qO- http://{name}/")
    assert '"host"' in (await worker.host.run("wget", "-qO-", "http://127.0.0.1:8080/")).stdout
    assert (await worker.inspect(plain))["HostConfig"]["NetworkMode"] == "host"
    await worker.assign(want(server, S.REMOVE), want(client, S.REMOVE), want(plain, S.REMOVE))
    await worker.until_containers()
    for task in (server, client, plain):
        await worker.until(task, S.SHUTDOWN)
    assert (await worker.host.docker("network", "ls", "-q", "--filter", "type=custom")) == ""
