"""The lab does what its tests rely on, and leaves nothing."""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.ci import long
from tests.lab import BareMachine, CommandError, Lab, LabError, Load, SystemdHost, plain_engine
from tests.lab.claim import CGROUPS, FOLDER, Claim


async def reaches(source, target, port=7) -> bool:
    """Whether a TCP connection attempt is answered at all: a refusal is an answer, silence is none."""
    program = f"""
import socket
try:
    socket.create_connection(("{target.ip}", {port}), timeout=1)
except ConnectionRefusedError:
    pass
"""
    return (await source.run(sys.executable, "-c", program, check=False)).returncode == 0


def traces(lab_name: str) -> list[Path]:
    return [
        *FOLDER.glob(f"{lab_name}*"),
        *CGROUPS.glob(f"{lab_name}-*"),
        *CGROUPS.glob(f"*/{lab_name}-*"),
    ]


def exists_here(path: str) -> bool:
    return Path(path).exists()


def links_here() -> bytes:
    return subprocess.check_output(["ip", "-o", "link"])


def memory_limits(lab_name: str) -> list[int]:
    """Return the limits of the lab's containers, from the kernel and not from the engine."""
    files = [*CGROUPS.glob(f"memory/{lab_name}-*/*/memory.limit_in_bytes"), *CGROUPS.glob(f"{lab_name}-*/*/memory.max")]
    return [int(file.read_text()) for file in files]


def processes_in(folder: Path) -> list[str]:
    found = []
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += [line] if str(folder) in (line := command.read_text().replace("\0", " ")) else []
        except OSError:
            continue
    return found


async def test_hosts_and_client_reach_each_other_until_cable_is_cut():
    async with Lab("cable", hosts=2, engine=False) as lab:
        first, second = lab.hosts
        assert await reaches(first, second)
        assert await reaches(lab.client, first)
        await second.cut()
        assert not await reaches(first, second)
        assert not await reaches(second, first)
        await second.mend()
        # A host that got no answer where the other is holds it for unreachable, for a second or three.
        assert any([await reaches(first, second) for _ in range(5)])


@long
async def test_a_cable_that_is_limited_carries_no_more():
    async with Lab("slow", hosts=2, engine=False) as lab:
        first, second = lab.hosts
        await second.limit("1mbit")
        for sender, receiver in ((first, second), (second, first)):
            # Ten times what passes at once, as quickly as the program can.
            program = f"""
import contextlib, socket
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(5000):
    with contextlib.suppress(BlockingIOError):
        sender.sendto(b"x" * 1000, socket.MSG_DONTWAIT, ("{receiver.ip}", 7))
"""
            before = await received(receiver)
            await sender.run(sys.executable, "-c", program)
            assert 100_000 < await received(receiver) - before < 2_500_000


async def received(host) -> int:
    return int((await host.run("cat", "/sys/class/net/eth0/statistics/rx_bytes")).stdout)


async def test_each_host_is_a_machine_of_its_own():
    async with Lab("own", hosts=2, engine=False) as lab:
        first, second = lab.hosts
        assert (await first.run("hostname")).stdout == "h1\n"
        assert first.ip in (await second.run("getent", "hosts", "h1")).stdout
        for path in ("/run/mark", "/etc/mark", "/var/lib/mark"):
            await first.run("touch", path)
            assert not (await second.run("ls", path, check=False)).stdout
            assert not exists_here(path)
        assert int((await first.run("sh", "-c", "ps ax -o pid= | wc -l")).stdout) < 10


async def test_containers_serve_outside_clients_and_see_their_address():
    async with Lab("web", hosts=1) as lab:
        host = lab.hosts[0]
        limits = ("--memory", "50m", "--cpus", "0.5")
        await host.docker("run", "-d", "--name", "web", "-p", "80:80", *limits, "web:lab")
        answer = await lab.client.run("curl", "-sS", "--retry-connrefused", "--retry", "3", f"http://{host.ip}/a?b")
        reply = json.loads(answer.stdout)
        container = json.loads(await host.docker("inspect", "web"))[0]
        assert reply["host"] == container["Id"][:12]
        assert (reply["client"], reply["path"]) == (lab.client.ip, "/a?b")
        assert memory_limits(lab.workdir.name) == [50 * 1024 * 1024]


@long
async def test_web_server_ends_gracefully_and_misbehaves_on_request():
    async with plain_engine() as host:
        await host.docker("run", "-d", "--name", "slow", "-p", "81:80", "web:lab")
        slow = asyncio.create_task(host.run("curl", "-sS", "http://127.0.0.1:81/delay/700", check=False))
        await asyncio.sleep(0.3)  # the request is being answered: that is what the stop must not break
        await host.docker("stop", "slow")
        assert json.loads((await slow).stdout)["path"] == "/delay/700"
        assert await host.docker("inspect", "-f", "{{.State.ExitCode}}", "slow") == "0"

        await host.docker("run", "-d", "--name", "bad", "-p", "82:80", "-e", "WEB_SICK=1", "web:lab")
        assert (await host.run("docker", "exec", "bad", "/web", "check", check=False)).returncode == 1
        await host.run("curl", "-sS", "http://127.0.0.1:82/well")
        assert (await host.run("docker", "exec", "bad", "/web", "check", check=False)).returncode == 0
        await host.run("curl", "-sS", "http://127.0.0.1:82/exit/7")
        assert await host.docker("wait", "bad") == "7"


@long
@pytest.mark.parametrize("connections", ["new", "kept"])
async def test_load_counts_answers_and_failures(connections):
    async with Lab("load", hosts=1) as lab:
        host = lab.hosts[0]
        await host.docker("run", "-d", "--name", "web", "-p", "80:80", "web:lab")
        async with Load(lab.client, f"http://{host.ip}/", rate=200, connections=connections) as load:
            await asyncio.sleep(1)
            report = await load.stop()
        assert report.sent > 150
        assert (report.ok, report.errors) == (report.sent, {})
        assert report.clients == {lab.client.ip: report.ok}
        assert report.quantile(0.99) < 1

        async with Load(lab.client, f"http://{host.ip}/", rate=200, connections=connections) as load:
            await host.docker("kill", "web")
            await asyncio.sleep(0.3)
            report = await load.stop()
        assert report.ok < report.sent
        assert sum(report.errors.values()) == len(report.error_times) == report.sent - report.ok


async def test_a_killed_engine_leaves_containers_and_a_reboot_the_disk():
    async with Lab("reboot", hosts=2, client=False) as lab:
        host, other = lab.hosts
        container = await host.docker("run", "-d", "web:lab")
        pid = await host.docker("inspect", "-f", "{{.State.Pid}}", container)
        await host.stop_engine(signal.SIGKILL)
        assert (await host.run("test", "-d", f"/proc/{pid}", check=False)).returncode == 0
        agent = await host.spawn("sleep", "1000")
        await host.run("touch", "/run/gone", "/var/lib/kept")

        await host.reboot()

        assert await agent.wait() == -signal.SIGKILL
        assert (await host.run("ls", "/run/gone", check=False)).returncode
        await host.run("ls", "/var/lib/kept")
        assert await host.docker("inspect", "-f", "{{.State.Status}}", container) == "exited"
        assert await reaches(host, other)


async def test_signals_reach_the_program_and_its_log_is_kept():
    async with Lab("signals", hosts=1, client=False, engine=False) as lab:
        trap = "trap 'echo caught; exit 3' TERM; echo waiting; while :; do sleep 0.05; done"
        process = await lab.hosts[0].spawn("sh", "-c", trap, name="trap")
        await process.logged("waiting")
        assert await process.stop(signal.SIGTERM) == 3
        assert process.output() == "waiting\ncaught\n"


async def test_a_program_that_is_never_ready_is_an_error_with_its_log():
    async with Lab("ready", hosts=1, client=False, engine=False) as lab:
        with pytest.raises(LabError, match=r"ended with 4(.|\n)*no luck"):
            await lab.hosts[0].spawn("sh", "-c", "echo no luck; exit 4", ready=5)


async def test_a_failing_command_is_an_error_with_its_output():
    async with Lab("fails", hosts=1, client=False, engine=False) as lab:
        with pytest.raises(CommandError, match=r"sh -c .* on h1: exit code 5\nwhy"):
            await lab.hosts[0].run("sh", "-c", "echo why >&2; exit 5")


@long
async def test_two_labs_at_once_do_not_meet():
    async with Lab("one", hosts=1, engine=False) as one, Lab("two", hosts=1, engine=False) as two:
        assert one.workdir != two.workdir
        assert one.subnet != two.subnet
        assert not await reaches(one.client, two.hosts[0])


async def test_nothing_is_left():
    links = links_here()
    async with Lab("gone", hosts=2) as lab:
        folder = lab.workdir
        await lab.hosts[0].docker("run", "-d", "web:lab")
        assert traces(folder.name)
        assert processes_in(folder)
    assert traces(folder.name) == []
    assert processes_in(folder) == []
    assert links_here() == links


async def test_a_killed_test_takes_its_lab_along():
    program = """
import asyncio
from tests.lab import Lab
async def main():
    async with Lab("killed", hosts=1) as lab:
        await lab.hosts[0].docker("run", "-d", "web:lab")
        print(lab.workdir, flush=True)
        await asyncio.sleep(100)
asyncio.run(main())
"""
    victim = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=subprocess.PIPE)
    assert victim.stdout is not None
    folder = Path((await victim.stdout.readline()).decode().strip()).name
    victim.kill()
    await victim.wait()
    for _ in range(500):
        if not processes_in(FOLDER / folder):
            break
        await asyncio.sleep(0.01)
    assert processes_in(FOLDER / folder) == []
    dead = [claim.name for claim in Claim.dead() if not claim.release()]
    assert folder in dead
    assert traces(folder) == []


@long
async def test_a_bare_machine_keeps_what_is_installed_there_to_itself():
    async with Lab("bare", hosts=1, client=False, engine=False, host_type=BareMachine) as lab:
        host = lab.hosts[0]
        await host.run("touch", "/usr/local/bin/lab-mark", "/opt/lab-mark", "/tmp/lab-mark")
        assert not exists_here("/usr/local/bin/lab-mark")
        await host.reboot(engine=False)
        await host.run("ls", "/usr/local/bin/lab-mark", "/opt/lab-mark")
        assert (await host.run("ls", "/tmp/lab-mark", check=False)).returncode


@long
async def test_systemd_host_runs_units_limits_containers_and_reboots():
    unit = "[Service]\nType=oneshot\nExecStart=touch /var/lib/lab-unit\n[Install]\nWantedBy=multi-user.target\n"
    async with Lab("systemd", hosts=1, client=False, host_type=SystemdHost) as lab:
        host = lab.hosts[0]
        assert (await host.run("systemctl", "is-system-running", check=False)).stdout == "running\n"
        container = await host.docker("run", "-d", "--memory", "50m", "--cpus", "0.5", "web:lab")
        assert memory_limits(lab.workdir.name) == [50 * 1024 * 1024]
        await host.restart_engine()
        assert await host.docker("inspect", "-f", "{{.State.Status}}", container) == "exited"

        await host.run("tee", "/etc/systemd/system/lab.service", input=unit)
        await host.run("systemctl", "enable", "lab.service")
        assert isinstance(host, SystemdHost)
        await host.shut_down()
        await host.boot()
        await host.run("ls", "/var/lib/lab-unit")
        assert not exists_here("/var/lib/lab-unit")
