"""An operator who is forbidden every way to a host, with docker's command line and real engines."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster
from tests.lab.process import Result

PORT = 2376
RUN = ("run", "-d", "busybox:lab", "sleep", "1000")


class Reachable(Cluster):
    listen = (f"tcp://0.0.0.0:{PORT}",)

    async def docker(self, files: Path | None, *arguments: str, check: bool = True) -> Result:
        """Run docker on the manager's host, as the owner of a certificate, or as root there."""
        where = {
            "DOCKER_HOST": f"tcp://{self.manager_host.ip}:{PORT}",
            "DOCKER_TLS_VERIFY": "1",
            "DOCKER_CERT_PATH": str(files),
        }
        return await self.manager_host.run(
            "docker", *arguments, check=check, env=where if files else {"DOCKER_HOST": self.api}
        )


@pytest.fixture
async def cluster() -> AsyncIterator[Reachable]:
    async with Reachable("forbidden", hosts=1, client=False) as cluster:
        yield cluster


REFUSED = (
    ("privileged", ("run", "--privileged", "busybox:lab", "true")),
    ("host-mounts", ("run", "-v", "/:/host", "busybox:lab", "true")),
    ("host-mounts", ("run", "--volumes-from", "root", "busybox:lab", "true")),
    ("host-mounts", ("volume", "create", "-o", "type=none", "-o", "o=bind", "-o", "device=/")),
    ("host-namespaces", ("run", "--pid", "container:root", "busybox:lab", "true")),
    ("host-namespaces", ("run", "--network", "host", "busybox:lab", "true")),
    ("host-namespaces", ("service", "create", "--network", "host", "busybox:lab", "true")),
    ("capabilities", ("run", "--cap-add", "SYS_ADMIN", "busybox:lab", "true")),
    ("capabilities", ("service", "create", "--cap-add", "SYS_ADMIN", "busybox:lab", "true")),
    ("devices", ("run", "--device", "/dev/null", "busybox:lab", "true")),
    ("unconfined", ("run", "--security-opt", "seccomp=unconfined", "busybox:lab", "true")),
    ("unconfined", ("run", "--security-opt", "systempaths=unconfined", "busybox:lab", "true")),
    ("privileged", ("exec", "root", "true")),
    ("privileged", ("exec", "--privileged", "own", "true")),
    ("privileged", ("cp", "/etc/hostname", "root:/tmp/x")),
)


async def test_an_operator_who_is_forbidden_all(cluster: Reachable) -> None:
    alice = cluster.lab.workdir / "alice"
    await cluster.swarm("client-cert", "alice", "--forbid", "all", "--out", str(alice))
    await cluster.docker(None, "run", "-d", "--name", "root", "--privileged", "busybox:lab", "sleep", "1000")
    await cluster.docker(
        alice, *RUN[:2], "--name", "own", "--cap-add", "NET_BIND_SERVICE", "-v", "data:/data", *RUN[2:]
    )
    for word, command in REFUSED:
        refused = await cluster.docker(alice, *command, check=False)
        assert refused.returncode, command
        assert f"the certificate of alice forbids {word}, and" in refused.stderr, (command, refused.stderr)
    # What containers are for is there: those of services, with secrets, and in networks of the cluster, too.
    assert (await cluster.docker(alice, "exec", "own", "echo", "hello")).stdout == "hello\n"
    await cluster.docker(alice, "cp", "/etc/hostname", "own:/tmp/x")
    await cluster.docker(alice, "network", "create", "-d", "overlay", "--attachable", "wide")
    await cluster.docker(alice, *RUN[:2], "--name", "wide", "--network", "wide", *RUN[2:])
    assert (await cluster.docker(alice, "exec", "wide", "echo", "hello")).stdout == "hello\n"
    await cluster.docker(alice, "secret", "create", "s", "/etc/hostname")
    service = ("--name", "web", "--secret", "s", "--network", "wide", "busybox:lab", "sleep", "1000")
    await cluster.docker(alice, "service", "create", "--detach", *service)
    (task,) = await cluster.running("web", 1)
    container = task["Status"]["ContainerStatus"]["ContainerID"]
    assert (await cluster.docker(alice, "exec", container, "cat", "/run/secrets/s")).stdout
