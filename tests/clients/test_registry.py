"""A private registry, Debian's: what `docker login` and `--with-registry-auth` are for."""

import json
from typing import Any

import pytest

from tests.clients.installed import debian
from tests.e2e.cluster import Cluster
from tests.lab import Host

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

# Each host has it at its own loopback address, which engines take without TLS; all of them serve one folder.
REGISTRY = "127.0.0.1:5000"
IMAGE = f"{REGISTRY}/web:1"
USER, PASSWORD = "ann", "secret-of-ann"
# The password's bcrypt hash, as `htpasswd -B` makes it.
HTPASSWD = f"{USER}:$2y$05$NpwPriXoLVPoEaa.QA9B4.USCGBrBYuoX./c9w0ILN7r65H1srLYe\n"


async def start_registry(cluster: Cluster, host: Host) -> None:
    shared = cluster.manager_host.folder / "registry"
    shared.mkdir(exist_ok=True)
    (shared / "users").write_text(HTPASSWD)
    config = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(shared / "data")}},
        "http": {"addr": REGISTRY},
        "auth": {"htpasswd": {"realm": "lab", "path": str(shared / "users")}},
    }
    file = host.folder / "registry.json"  # which is YAML, too
    file.write_text(json.dumps(config))
    program = debian("docker-registry", "usr/bin/docker-registry") / "usr/bin/docker-registry"
    process = await host.spawn(program, "serve", file)
    await process.logged("listening on")


async def test_nodes_pull_a_private_image_with_the_clients_login(cluster: Cluster) -> None:
    for host in cluster.hosts:
        await start_registry(cluster, host)
    environment = {"DOCKER_CONFIG": str(cluster.manager_host.folder / "docker"), "DOCKER_HOST": cluster.api}

    async def docker(*arguments: str, stdin: str | None = None) -> str:
        return (await cluster.manager_host.run("docker", *arguments, env=environment, input=stdin)).stdout

    await docker("tag", "busybox:lab", IMAGE)
    with pytest.raises(Exception, match="no basic auth credentials"):
        await docker("push", IMAGE)
    await docker("login", "-u", USER, "--password-stdin", REGISTRY, stdin=PASSWORD)
    await docker("push", IMAGE)
    await docker("rmi", IMAGE)  # so that nodes cannot have it from each other

    other = cluster.hosts[1]
    on_other = ("--detach", "--constraint", f"node.hostname=={other.name}", "--restart-condition", "none")
    await docker("service", "create", "--name", "refused", *on_other, IMAGE, "sleep", "1000")

    async def rejected() -> bool:
        return any("no basic auth credentials" in task["Status"].get("Err", "") for task in await of_refused())

    async def of_refused() -> list[dict[str, Any]]:
        return await cluster.tasks("refused", desired="")

    await cluster.until(rejected, 30)
    await docker("service", "create", "--name", "web", "--with-registry-auth", *on_other, IMAGE, "sleep", "1000")
    await cluster.running("web", 1)
    digests = await other.docker("image", "ls", "--digests", "--format", "{{.Repository}} {{.Digest}}")
    assert f"{REGISTRY}/web sha256:" in digests
