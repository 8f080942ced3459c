"""`swarm-worker` on lab hosts, with a real manager: joining, every way that it fails, running, leaving."""

import asyncio
import json
import sys
import time

import pytest
import pytest_asyncio

from tests.e2e.ci import long
from tests.lab import Host, Lab

# One lab for all. A test starts twenty programs, each of which takes a second or two where others are at work, too.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

DATA = "/var/lib/swarm-worker"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab():
    async with Lab("join", hosts=2, client=False) as lab:
        yield lab


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def token(lab):
    manager = lab.hosts[0]
    await manager.run("swarm-manager", "init", "--advertise-addr", manager.ip, "--listen-addr", f"{manager.ip}:2377")
    return await join_token(lab)


async def join_token(lab, *options):
    answer = await lab.hosts[0].run("swarm-manager", "join-token", "-q", *options, "worker")
    return answer.stdout.strip()


async def nodes(lab):
    answer = await lab.hosts[0].run("swarm-manager", "node", "ls", "--format", "{{.Hostname}} {{.Status}}")
    return sorted(answer.stdout.splitlines())


async def worker(host: Host, *argv: str, check: bool = True, env=None):
    return await host.run("swarm-worker", *argv, check=check, env=env)


async def joined(lab, token, host, *options):
    await worker(host, "join", "--token", token, *options, lab.hosts[0].ip)


async def nothing_left(host):
    assert (await host.run("test", "-e", DATA, check=False)).returncode == 1
    processes = (await host.run("ps", "ax", "-o", "args=")).stdout
    assert "worker.main" not in processes


async def refused(lab, host, token, *options, address=None, env=None):
    """Try a join that is refused; return what it said, after looking that nothing is left of it."""
    begun = time.monotonic()
    answer = await worker(host, "join", "--token", token, *options, address or lab.hosts[0].ip, check=False, env=env)
    assert answer.returncode == 1
    assert answer.stdout == ""
    assert "Traceback" not in answer.stderr
    assert time.monotonic() - begun < 15
    await nothing_left(host)
    return answer.stderr


@pytest.mark.parametrize("number", [0, 1], ids=["the manager's own host", "another host"])
async def test_join_run_leave(lab, token, number):
    host = lab.hosts[number]
    await joined(lab, token, host, "--label", "disk=ssd")
    status = json.loads((await worker(host, "status", "--format", "json")).stdout)
    assert status["running"]
    assert status["manager"] == f"{lab.hosts[0].ip}:2377"
    assert f"{host.name} Ready" in await nodes(lab)
    node = json.loads((await lab.hosts[0].run("swarm-manager", "node", "inspect", status["node_id"])).stdout)[0]
    assert node["Spec"]["Labels"] == {"disk": "ssd"} or number == 0
    modes = (await host.run("sh", "-c", f"stat -c '%a %n' {DATA} {DATA}/* {DATA}/certificates/*")).stdout
    assert {line.split()[0] for line in modes.splitlines()} <= {"600", "700"} | {"644"}, modes

    again = await worker(host, "join", "--token", token, lab.hosts[0].ip, check=False)
    assert (again.returncode, "has already joined cluster" in again.stderr) == (1, True)

    # Killed and started again, it is the same node.
    await host.run("kill", "-9", str(status["pid"]))
    assert (await worker(host, "status", check=False)).returncode == 1
    process = await host.spawn("swarm-worker", "run", ready=15)
    assert json.loads((await worker(host, "status", "--format", "json")).stdout)["node_id"] == status["node_id"]
    assert (await worker(host, "run", check=False)).returncode == 1  # one is enough
    await process.stop()
    await worker(host, "start")
    started = json.loads((await worker(host, "status", "--format", "json")).stdout)
    assert (started["node_id"], bool(started["manager"])) == (status["node_id"], True)
    await worker(host, "start")  # it runs: nothing to do
    assert json.loads((await worker(host, "status", "--format", "json")).stdout)["pid"] == started["pid"]

    assert "left the cluster" in (await worker(host, "leave")).stdout
    await nothing_left(host)
    assert (await worker(host, "status", check=False)).returncode == 1


async def test_two_workers_on_a_host_have_own_directories_and_engines(lab, token):
    host = lab.hosts[1]
    await joined(lab, token, host, "--data-dir", f"{host.folder}/w1")
    second = ("--data-dir", f"{host.folder}/w2")
    twice = await worker(host, "join", "--token", token, *second, lab.hosts[0].ip, check=False)
    assert "another worker of this host runs the engine" in twice.stderr
    await joined(lab, token, host, *second, "--docker-host", lab.hosts[0].docker_host)
    ids = {
        json.loads((await worker(host, "status", "--format", "json", "--data-dir", f"{host.folder}/{name}")).stdout)[
            "node_id"
        ]
        for name in ("w1", "w2")
    }
    assert len(ids) == 2
    for name in ("w1", "w2"):
        await worker(host, "leave", "--data-dir", f"{host.folder}/{name}")


async def test_every_failure_is_told_and_leaves_nothing(lab, token):
    host = lab.hosts[1]
    assert "this is not a join token" in await refused(lab, host, "nonsense")
    digest, _, secret = token.removeprefix("SWMTKN-1-").partition("-")
    assert "is not of the cluster that answers there" in await refused(lab, host, f"SWMTKN-1-{'0' * 50}-{secret}")
    assert "token" in await refused(lab, host, f"SWMTKN-1-{digest}-{'0' * 25}")
    assert "is not the address of a manager" in await refused(lab, host, token, address="10.0.0.1:port")
    assert lab.hosts[1].ip in await refused(lab, host, token, address=f"{lab.hosts[1].ip}:2377")
    no_engine = await refused(lab, host, token, "--docker-host", "unix:///run/no-such.sock")
    assert "no Docker engine answers at unix:///run/no-such.sock" in no_engine
    assert "is not a Docker host" in await refused(lab, host, token, "--docker-host", "docker.sock")
    for address in ("eth0", "0.0.0.0"):
        assert "is not an IP address" in await refused(lab, host, token, "--advertise-addr", address)
    assert "has no name" in await refused(lab, host, token, "--label", "=x")
    before = await nodes(lab)
    for days in (3, -400):
        said = await refused(lab, host, token, env={"PYTHONPATH": str(clock_ahead(lab, days))})
        assert f"the clocks differ by {abs(days)} days and 0.0 hours: the worker's says" in said
    no_place = await refused(lab, host, token, "--data-dir", "/proc/worker")
    assert "cannot make the data directory /proc/worker" in no_place
    broken = {"PYTHONPATH": str(odd_agent(lab, "ends", "sys.exit('the data plane is upside down')"))}
    assert "ended while starting: SystemExit: the data plane is upside down" in await refused(
        lab, host, token, env=broken
    )
    slow = {"PYTHONPATH": str(odd_agent(lab, "hangs", "time.sleep(60)"))}
    join = (sys.executable, "-m", "worker.main", "join", "--token", token, lab.hosts[0].ip)
    for sig in ("INT", "TERM"):
        await host.run("timeout", "--signal", sig, "5", *join, check=False, env=slow)
        await nothing_left(host)
    assert await nodes(lab) == before
    rotated = await join_token(lab, "--rotate")
    assert rotated != token
    assert "token" in await refused(lab, host, token)


def clock_ahead(lab, days):
    """Return a folder of Python's that sets its programs' clocks ahead, as the kernel's is every host's."""
    folder = lab.workdir / f"clock{days}"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        f"import time\nnow = time.time\ntime.time = lambda: now() + {days} * 86400\n"
    )
    return folder


@long
@pytest.mark.usefixtures("token")
async def test_a_clock_that_is_minutes_off_is_told(lab):
    """At the join, in `node ls`, `node inspect` and the timeline; the worker's engine knows the right time."""
    host = lab.hosts[1]
    env = {"PYTHONPATH": str(clock_ahead(lab, -720 / 86400))}
    said = (await worker(host, "join", "--token", await join_token(lab), lab.hosts[0].ip, env=env)).stderr
    assert "the clocks differ by 12 minutes: the worker's says" in said
    manager, clock = lab.hosts[0], "clock is 12 minutes behind the manager's: set the wrong one"
    async with asyncio.timeout(60):
        while clock not in (await manager.run("swarm-manager", "node", "ls")).stderr:
            await asyncio.sleep(1)
    node = json.loads((await worker(host, "status", "--format", "json")).stdout)["node_id"]
    status = json.loads((await manager.run("swarm-manager", "node", "inspect", node)).stdout)[0]["Status"]
    assert (status["State"], round(status["ClockOffset"] / 10)) == ("ready", -72)
    assert f"the clock of {host.name} is 12 minutes behind" in (await manager.run("swarm-manager", "timeline")).stdout
    await worker(host, "leave")


def odd_agent(lab, name, code):
    """Return a folder of Python's that has every agent begin with this; other programs are as ever."""
    folder = lab.workdir / name
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(f"import sys, time\nif 'run' in sys.orig_argv:\n    {code}\n")
    return folder


async def test_leaving_without_a_manager_says_what_is_left_to_do(lab):
    host = lab.hosts[1]
    await joined(lab, await join_token(lab), host)
    await host.cut()
    try:
        said = (await worker(host, "leave")).stdout
        assert "no manager could be told" in said
        assert "node rm --force" in said
        await nothing_left(host)
    finally:
        await host.mend()


async def test_leaving_what_a_node_was_removed_from_before_says_so(lab):
    host = lab.hosts[1]
    await joined(lab, await join_token(lab), host)
    node_id = json.loads((await worker(host, "status", "--format", "json")).stdout)["node_id"]
    await lab.hosts[0].run("swarm-manager", "node", "rm", "--force", node_id)
    left = await worker(host, "leave")
    assert left.stdout.strip() == "This host left the cluster, which had already removed its node."
    assert "does not hear" not in left.stderr
    await nothing_left(host)


async def test_a_docker_swarm_host_is_told_what_to_do_before_any_start(lab):
    host, before = lab.hosts[1], await nodes(lab)
    await host.docker("swarm", "init", "--advertise-addr", host.ip)
    try:
        said = await refused(lab, host, await join_token(lab))
    finally:
        await host.docker("swarm", "leave", "--force")
    assert "leave that swarm first, with 'docker swarm leave'" in said
    assert "swarm-manager init --data-path-port PORT" in said
    assert await nodes(lab) == before


async def test_the_engines_api_is_reached_through_the_manager(lab):
    """Logs of a task go manager → session → stream → the worker's engine."""
    manager, host = lab.hosts
    token = await join_token(lab)
    await joined(lab, token, host)
    await manager.run(
        *("swarm-manager", "service", "create", "--detach", "--name", "talk", "--stop-grace-period", "1s"),
        *("busybox:lab", "sh", "-c", "echo hello; exec sleep 1000"),
    )
    try:
        async with asyncio.timeout(30):
            while "hello" not in (await manager.run("swarm-manager", "service", "logs", "talk", check=False)).stdout:
                await asyncio.sleep(0.2)
    finally:
        await manager.run("swarm-manager", "service", "rm", "talk")
        await worker(host, "leave")


@long
@pytest.mark.timeout(150)  # it starts five daemons
@pytest.mark.usefixtures("token")
async def test_a_manager_on_a_lost_host_is_restored_elsewhere(lab):
    """Containers run on, and the worker comes once it is told where the manager is. The last test: it stays there."""
    first, second = lab.hosts
    await joined(lab, await join_token(lab), second)
    create = ("service", "create", "--detach", "--no-resolve-image", "--name", "web", "--replicas", "2", "web:lab")
    await first.run("swarm-manager", *create)
    before = await containers(second, 2)
    backup = lab.workdir / "swarm.backup"
    await first.run("swarm-manager", "backup", backup)
    await first.power_off()

    said = await second.run("swarm-manager", "restore", "--advertise-addr", second.ip, backup)
    assert f"swarm-worker start --manager {second.ip}:2377" in said.stdout
    rows = ("swarm-manager", "node", "ls", "--format", "{{.Hostname}} {{.Status}} {{.ManagerStatus}}")
    assert f"{second.name} Unknown Leader" in (await second.run(*rows)).stdout
    assert (await worker(second, "start", "--manager", second.ip)).stderr == ""
    assert f"{second.name} Ready Leader" in (await second.run(*rows)).stdout
    await second.run("swarm-manager", "service", "scale", "--detach", "web=3")
    assert before < await containers(second, 3)


async def containers(host: Host, count: int) -> set[str]:
    """Return the ids of the containers that run on a host when there are so many."""
    async with asyncio.timeout(30):
        while len(ids := set((await host.docker("ps", "-q", "--no-trunc")).split())) != count:
            await asyncio.sleep(0.1)
    return ids
