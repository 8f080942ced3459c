"""deploy/install and deploy/quickstart on machines of their own: with systemd and without."""

from pathlib import Path

import pytest

from tests.lab import BareMachine, Host, Lab, SystemdHost
from tests.lab.wheels import wheelhouse

PROJECT = Path(__file__).parents[2]
INSTALL = PROJECT / "deploy" / "install"
# What a machine consists of here: files that an installation may touch, users, network, rules.
INVENTORY = """
find /opt /usr/local /etc /run /var/lib/swarm* -not -path '/run/*.sock' -not -path '/run/systemd/*' \
    -not -path '/run/udev/*' -not -path '/etc/.pwd.lock' -printf '%p %l\\n' 2>/dev/null | sort
getent group | sort
cat /proc/sys/net/ipv4/ip_forward
ip -br link | awk '{print $1}' | grep -v '^eth0'
nft list ruleset
ps ax -o args= | grep -v -e '^ps' -e '^sh -c' -e '^nsenter' | grep -e swarm- -e dockerd || true
"""


async def inventory(host: Host) -> list[str]:
    return (await host.run("sh", "-c", INVENTORY)).stdout.splitlines()


@pytest.fixture(scope="module")
def offline() -> dict[str, str]:
    """pip's settings for a machine that reaches no package registry."""
    return {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheelhouse()),
        "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    }


@pytest.mark.parametrize("kind", [BareMachine, SystemdHost])
async def test_install_upgrade_and_uninstall_leave_the_machine_as_it_was(kind: type[Host], offline: dict[str, str]):
    async with Lab("install", hosts=1, client=False, host_type=kind, engine=kind is SystemdHost) as lab:
        host = lab.hosts[0]
        before = await inventory(host)

        await host.run(INSTALL, env=offline)
        for command in ("swarm-manager", "swarm-worker"):
            assert "0.1.0" in (await host.run(f"/usr/local/bin/{command}", "--version")).stdout
            completion = f"/usr/local/share/bash-completion/completions/{command}"
            assert "complete" in (await host.run("cat", completion)).stdout
        first = (await host.run("readlink", "/opt/swarm/current")).stdout
        await host.run(INSTALL, env=offline)
        assert (await host.run("readlink", "/opt/swarm/current")).stdout != first

        await host.run(INSTALL, "--uninstall", env=offline)
        assert await inventory(host) == before
