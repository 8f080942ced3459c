"""deploy/install and deploy/quickstart on machines of their own: with systemd and without."""

import re
from pathlib import Path

import pytest

from tests.e2e.ci import long
from tests.lab import BareMachine, Host, Lab, SystemdHost
from tests.lab.wheels import wheelhouse

PROJECT = Path(__file__).parents[2]
INSTALL = PROJECT / "deploy" / "install"
QUICKSTART = PROJECT / "deploy" / "quickstart"
# For one run of a script, which installs packages and starts daemons: nothing here judges how long that takes.
PATIENCE = 240.0
QUICKSTART_STATE = "/var/lib/swarm-quickstart"
QUICKSTART_DOCKER = f"{QUICKSTART_STATE}/docker"
LOCAL_ENGINE = {"DOCKER_HOST": "unix:///run/docker.sock"}
# What a machine consists of here: files that an installation may touch, users, network, rules.
INVENTORY = """
find /opt /usr/local /etc /run /var/lib/swarm* -not -path '/run/*.sock' -not -path '/run/systemd/*' \
    -not -path '/run/udev/*' -not -path '/etc/.pwd.lock' -printf '%p %l\\n' 2>/dev/null | sort
getent group | sort
cat /proc/sys/net/ipv4/ip_forward
ip -br link | awk '{print $1}' | grep -v '^eth0'
nft -s list ruleset
ps ax -o args= | grep -v -e '^ps' -e '^sh -c' -e '^nsenter' | grep -e '[s]warm-' -e '[d]ockerd' -e '[e]tcd' || true
"""

# Debian's units start it at boot.
NEVER_STARTED_DOCKER = """
systemctl stop docker.service docker.socket containerd.service
ip link del docker0
nft flush ruleset
echo 0 >/proc/sys/net/ipv4/ip_forward
rm -rf /opt/containerd
"""


# As an installation leaves the machine that ends before it has put the second command in place.
INTERRUPTED_INSTALLATION = f"""
sed -i /^installed$/d {QUICKSTART_STATE}/made
sed -i /swarm-worker/d /opt/swarm/manifest
rm /usr/local/bin/swarm-worker
"""


# What `node ls` prints, without its heading.
NODE_TABLE = re.compile(r"^ID +HOSTNAME .*MANAGER STATUS.*\n((?:\S.*\n)+)", re.MULTILINE)
MANAGER_STATUSES = {"Leader", "Reachable", "Unreachable"}

# What others may write of an installation.
WRITABLE = """
find /opt/swarm ! -type l -perm /022
while read -r path; do [ -L "$path" ] || find "$path" -maxdepth 0 -perm /022; done </opt/swarm/manifest
"""


async def inventory(host: Host) -> list[str]:
    """List what the machine consists of; without what Docker's units have of their own below /run."""
    lines = (await host.run("sh", "-c", INVENTORY)).stdout.splitlines()
    engine = ("/run/docker", "/run/containerd", "/run/runc")
    return [line for line in lines if not (isinstance(host, SystemdHost) and line.startswith(engine))]


@pytest.fixture(scope="module")
def offline() -> dict[str, str]:
    """pip's settings for a machine that reaches no package registry."""
    return {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheelhouse()),
        "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    }


@long
@pytest.mark.timeout(600)
async def test_install_upgrade_and_uninstall_leave_no_trace(offline: dict[str, str]):
    async with Lab("install", hosts=1, client=False, engine=False, host_type=BareMachine) as lab:
        host = lab.hosts[0]
        before = await inventory(host)

        await host.run("sh", "-c", f"umask 000 && exec {INSTALL}", env=offline, timeout=PATIENCE)
        assert not (await host.run("sh", "-c", WRITABLE)).stdout
        for command in ("swarm-manager", "swarm-worker"):
            assert f"Usage: {command}" in (await host.run(f"/usr/local/bin/{command}", "--help")).stdout
            completion = f"/usr/local/share/bash-completion/completions/{command}"
            assert "complete" in (await host.run("cat", completion)).stdout
        first = (await host.run("readlink", "/opt/swarm/current")).stdout
        await host.run("swarm-manager", "init", "--advertise-addr", host.ip, env=offline)
        manager = (await host.run("cat", "/var/lib/swarm-manager/daemon.pid")).stdout
        await host.run("sh", "-c", "xargs chmod a+w </opt/swarm/manifest && chmod -R a+w /opt/swarm")
        await host.run("swarm-manager", "cluster", "update", "--autolock", env=offline)
        key = (await host.run("swarm-manager", "unlock-key", "-q", env=offline)).stdout.strip()
        upgrade = f"umask 077 && exec {INSTALL} --upgrade"
        elsewhere = {"SWARM_MANAGER_HOST": "tcp://192.0.2.1:2376"}
        await host.run("sh", "-c", upgrade, env=offline | elsewhere | {"SWARM_UNLOCK_KEY": key}, timeout=PATIENCE)
        assert (await host.run("cat", "/var/lib/swarm-manager/daemon.pid")).stdout != manager
        assert "Leader" in (await host.run("swarm-manager", "node", "ls", env=offline)).stdout
        await host.run("swarm-manager", "leave", "--force", env=offline)
        assert not (await host.run("sh", "-c", WRITABLE)).stdout
        assert (await host.run("setpriv", "--reuid=65534", "--clear-groups", "swarm-manager", "--version")).stdout
        assert (await host.run("readlink", "/opt/swarm/current")).stdout != first

        await host.run(INSTALL, "--uninstall", env=offline)
        left = [line for line in await inventory(host) if not line.startswith("/var/lib/swarm-")]
        assert left == before


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("kind", "port"), [(BareMachine, 81), pytest.param(SystemdHost, 80, marks=long)])
async def test_quickstart_from_nothing_to_answers_and_back(kind: type[Host], port: int, offline: dict[str, str]):
    async with Lab("quickstart", hosts=1, host_type=kind, engine=False) as lab:
        host = lab.hosts[0]
        if kind is SystemdHost:
            await host.run("sh", "-c", NEVER_STARTED_DOCKER)
        if port != 80:
            await host.spawn("busybox", "httpd", "-f", "-p", "80", "-h", "/usr/share/doc")
        before = await inventory(host)

        first = await host.run(QUICKSTART, env=offline, timeout=PATIENCE)
        assert "5/5" in first.stdout
        assert ("port 80 is in use" in first.stderr) == (port != 80)
        answered = re.findall(r"^ +(\d+) Hostname: (\S+)$", first.stdout, re.MULTILINE)
        assert len(answered) == 5
        assert sum(int(count) for count, _ in answered) == 50
        outside = (await lab.client.run("curl", "-sS", f"http://{host.ip}:{port}/")).stdout
        assert f"Your address: {lab.client.ip}" in outside

        running = await host.run("docker", "ps", "-q", "--no-trunc", env=LOCAL_ENGINE)
        if kind is BareMachine:
            await host.run("sh", "-c", INTERRUPTED_INSTALLATION)
        again = await host.run(QUICKSTART, env=offline, timeout=PATIENCE)
        assert "5/5" in again.stdout
        assert (await host.run("docker", "ps", "-q", "--no-trunc", env=LOCAL_ENGINE)).stdout == running.stdout

        if kind is BareMachine:  # where / is not a shared mount, Docker 20.10 mounts its folder, and leaves it so
            await host.run("mount", "--bind", QUICKSTART_DOCKER, QUICKSTART_DOCKER)
        await host.run(QUICKSTART, "--down", env=offline)
        assert await inventory(host) == before


@long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", [BareMachine, SystemdHost])
async def test_quickstart_shows_a_failover(kind: type[Host], offline: dict[str, str]):
    async with Lab("failover", hosts=1, client=False, host_type=kind, engine=False) as lab:
        host = lab.hosts[0]
        if kind is SystemdHost:
            await host.run("sh", "-c", NEVER_STARTED_DOCKER)
        before = await inventory(host)
        for wrong in ("2", "x"):
            refused = await host.run(QUICKSTART, "--managers", wrong, env=offline, check=False)
            assert refused.returncode == 1
            assert "give 3, 5 or 7" in refused.stderr
        assert await inventory(host) == before

        # At first this machine's own manager leads, after that one of the others does.
        for _ in range(2):
            await show_failover(host, offline)
        await host.run(QUICKSTART, "--down", env=offline)
        assert await inventory(host) == before


async def show_failover(host: Host, offline: dict[str, str]) -> None:
    """Have the quickstart show a failover: another manager leads, and the killed one comes back."""
    shown = (await host.run(QUICKSTART, "--managers", "3", env=offline, timeout=PATIENCE)).stdout
    first, second, third = (manager_statuses(table) for table in NODE_TABLE.findall(shown))
    assert sorted(first.values()) == sorted(third.values()) == ["Leader", "Reachable", "Reachable"]
    assert sorted(second.values()) == ["Leader", "Reachable", "Unreachable"]
    [killed] = (name for name, status in second.items() if status == "Unreachable")
    assert first[killed] == "Leader"
    assert re.search(r"^[1-9]\d* ms after the kill, the next leader had taken the change\.$", shown, re.MULTILINE)


def manager_statuses(table: str) -> dict[str, str]:
    """Read the columns HOSTNAME and MANAGER STATUS of what `node ls` printed."""
    rows = (line.replace("*", " ").split() for line in table.splitlines())
    return {row[1]: next(word for word in row if word in MANAGER_STATUSES) for row in rows}


@pytest.mark.timeout(600)
async def test_units_restart_daemons_and_containers_do_not_notice(offline: dict[str, str]):
    async with Lab("units", hosts=1, client=False, host_type=SystemdHost) as lab:
        host = lab.hosts[0]
        before = await inventory(host)
        await host.run(INSTALL, env=offline, timeout=PATIENCE)
        await host.run("swarm-manager", "init", "--advertise-addr", host.ip, env=offline)
        token = (await host.run("swarm-manager", "join-token", "worker", "-q", env=offline)).stdout.strip()
        await host.run("swarm-worker", "join", "--token", token, f"{host.ip}:2377", env=offline)
        create = ("service", "create", "--name", "web", "--replicas", "2", "web:lab")
        await host.run("swarm-manager", *create, env=offline)
        containers = await started(host)
        assert len(containers) == 2

        for unit in ("swarm-manager", "swarm-worker"):
            assert await unit_state(host, unit) == "active enabled"
            await host.run("systemctl", "restart", unit)  # Type=notify: returns when it is ready
            await host.run("systemctl", "kill", "--signal=KILL", unit)
            await host.run("timeout", "20", "sh", "-c", f"until systemctl is-active -q {unit}; do sleep 0.1; done")
        assert await started(host) == containers
        await host.run("systemctl", "stop", "swarm-worker")
        assert await started(host) == containers

        await host.run("systemctl", "start", "swarm-worker")
        await host.run("swarm-worker", "leave", env=offline)
        await host.run("swarm-manager", "leave", "--force", env=offline)
        ended = 'until [ "$(systemctl is-active swarm-manager)" = inactive ]; do sleep 0.1; done'
        await host.run("timeout", "20", "sh", "-c", ended)
        assert await unit_state(host, "swarm-manager") == "inactive enabled"  # and not about to be begun again
        await host.run(INSTALL, "--uninstall", env=offline)
        assert not await started(host)
        left = [line for line in await inventory(host) if not line.startswith("/var/lib/swarm-")]
        assert left == before


async def started(host: Host) -> dict[str, str]:
    """Return when each running container of the host's engine was started."""
    names = (await host.docker("ps", "-q", "--no-trunc")).split()
    return {name: await host.docker("inspect", "-f", "{{.State.StartedAt}}", name) for name in names}


async def unit_state(host: Host, unit: str) -> str:
    states = [
        (await host.run("systemctl", verb, unit, check=False)).stdout.strip() for verb in ("is-active", "is-enabled")
    ]
    return " ".join(states)
