"""The real manager's API over TCP from another host: certificates, names, the audit log, a restart, the end."""

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.lab import Lab
from tests.lab.process import Result

READY = 30.0
PORT = 2376


class Site:
    """A manager on a lab host without engines, and docker's command line on another."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.manager_host = lab.hosts[0]
        self.data = self.manager_host.folder / "manager"
        self.socket = f"unix://{self.manager_host.folder}/api.sock"

    async def init(self, *options: str) -> None:
        command = (
            "swarm-manager",
            "init",
            "--foreground",
            "--data-dir",
            self.data,
            "--advertise-addr",
            self.manager_host.ip,
        )
        hosts = ("--host", self.socket, "--host", f"tcp://0.0.0.0:{PORT}")
        self.manager = await self.manager_host.spawn(*command, *hosts, *options, name="manager", ready=READY)

    async def restart(self, *options: str) -> None:
        await self.manager.stop()
        command: tuple[str | Path, ...] = ("swarm-manager", "run", "--data-dir", self.data, *options)
        self.manager = await self.manager_host.spawn(*command, name="manager", ready=READY)

    async def swarm(self, *arguments: str) -> str:
        return (await self.manager_host.run("swarm-manager", "-H", self.socket, *arguments)).stdout

    async def certificate(self, name: str, role: str) -> Path:
        """Make a certificate as an administrator does; the folder is the same on all hosts of a lab."""
        directory = self.lab.workdir / name
        await self.swarm("client-cert", name, "--role", role, "--out", str(directory))
        return directory

    async def docker(self, files: Path, *arguments: str, host: str = "", check: bool = True) -> Result:
        """Run docker on the host that is outside of the cluster."""
        where = {"DOCKER_HOST": f"tcp://{host or self.manager_host.ip}:{PORT}", "DOCKER_TLS_VERIFY": "1"}
        environment = {**where, "DOCKER_CERT_PATH": str(files)}
        return await self.lab.client.run("docker", *arguments, check=check, env=environment)

    def audited(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in (self.data / "audit.log").read_text().splitlines()]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with Lab("access", hosts=1, engine=False) as lab:
        yield Site(lab)


async def test_clients_from_elsewhere(site: Site) -> None:
    await site.init()
    viewer, operator = await site.certificate("vera", "viewer"), await site.certificate("otto", "operator")
    assert (await site.docker(viewer, "node", "ls", "-q")).stdout.strip()
    refused = await site.docker(viewer, "network", "create", "-d", "overlay", "n1", check=False)
    assert "vera has the role viewer, and POST /networks/create needs the role operator" in refused.stderr
    await site.docker(operator, "network", "create", "-d", "overlay", "n1")
    await site.swarm("client-cert", "revoke", "otto")
    refused = await site.docker(operator, "network", "rm", "n1", check=False)
    assert "of otto was revoked at" in refused.stderr
    await check_audit(site)
    await site.restart()  # what was revoked stays so, what was made still works
    assert (await site.docker(viewer, "node", "ls", "-q")).stdout.strip()
    assert "was revoked at" in (await site.docker(operator, "node", "ls", check=False)).stderr
    assert len(site.audited()) > 5


async def check_audit(site: Site) -> None:
    path = site.data / "audit.log"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    entries: list[dict[str, object]] = []
    async with asyncio.timeout(5):
        while len(entries) < 3:  # the last one is written while its client has the answer already
            await asyncio.sleep(0.05)
            entries = [each for each in site.audited() if "networks" in str(each["path"]) and each["method"] != "GET"]
    assert [(entry["name"], entry["method"], entry["status"]) for entry in entries] == [
        ("vera", "POST", 403),
        ("otto", "POST", 201),
        ("otto", "DELETE", 403),
    ]
    assert {str(entry["from"]).rpartition(":")[0] for entry in entries} == {site.lab.client.ip}
    local = next(entry for entry in site.audited() if entry["from"] == "unix")
    assert (local["uid"], local["role"], str(local["path"])) == (0, "admin", "/swarm/client-certificates/create")


async def test_the_managers_certificate_has_the_configured_names(site: Site) -> None:
    await site.init("--tls-san", "swarm.example")
    files = await site.certificate("vera", "viewer")
    # What the names of the hosts of a lab are, is in every host's /etc/hosts; others are given to curl.
    assert (await site.docker(files, "node", "ls", "-q", host=site.manager_host.name)).returncode == 0
    assert await reached_as(site, files, "swarm.example")
    assert not await reached_as(site, files, "other.example")
    await site.restart("--tls-san", "other.example", "--tls-san", "swarm.example")
    assert await reached_as(site, files, "other.example")
    assert await reached_as(site, files, "swarm.example")


async def reached_as(site: Site, files: Path, name: str) -> bool:
    tls = ("--cacert", files / "ca.pem", "--cert", files / "cert.pem", "--key", files / "key.pem")
    to = ("--resolve", f"{name}:{PORT}:{site.manager_host.ip}", f"https://{name}:{PORT}/_ping")
    ran = await site.lab.client.run("curl", "-sS", *tls, *to, check=False)
    assert ran.stdout == "OK" or "no alternative certificate subject name matches" in ran.stderr, ran
    return ran.returncode == 0


async def test_hosts_given_to_run_replace_those_of_init(site: Site) -> None:
    await site.init()
    files = await site.certificate("vera", "viewer")
    await site.restart("--host", site.socket)
    assert "Cannot connect" in (await site.docker(files, "node", "ls", check=False)).stderr
    out = str(site.lab.workdir / "otto")
    assert "is not served over TCP" in await site.swarm("client-cert", "otto", "--out", out)


async def test_an_administrator_ends_the_cluster_and_it_is_written_who(site: Site) -> None:
    await site.init()
    files = await site.certificate("root", "admin")
    refused = await site.docker(files, "swarm", "leave", "--force", check=False)
    assert "run 'swarm-manager leave --force'" in refused.stderr
    environment = {"SWARM_MANAGER_CERT_PATH": str(files)}
    host = f"tcp://{site.manager_host.ip}:{PORT}"
    await site.lab.client.run("swarm-manager", "-H", host, "leave", "--force", env=environment)
    await site.manager.wait(10)
    last = site.audited()[-1]
    assert (last["name"], last["path"], last["status"]) == ("root", "/swarm/leave", 200)
    assert not (site.data / "config.json").exists()
