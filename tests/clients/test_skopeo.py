"""skopeo, Debian's, between the cluster's images and folders."""

import json

import pytest

from tests.clients.installed import debian_program
from tests.e2e.cluster import Cluster

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]


async def test_images_are_inspected_and_copied(cluster: Cluster) -> None:
    folder = cluster.manager_host.folder / "skopeo"
    program = debian_program("skopeo", "skopeo")

    async def skopeo(*arguments: str) -> str:
        return (await cluster.manager_host.run(program, "--insecure-policy", *arguments)).stdout

    shown = json.loads(await skopeo("inspect", "--daemon-host", cluster.api, "docker-daemon:busybox:lab"))
    assert (shown["Os"], len(shown["Layers"])) == ("linux", 1)
    config = json.loads(await skopeo("inspect", "--config", "--daemon-host", cluster.api, "docker-daemon:busybox:lab"))
    assert config["rootfs"]["diff_ids"]
    await skopeo("copy", "--src-daemon-host", cluster.api, "docker-daemon:busybox:lab", f"dir:{folder}")
    assert (folder / "manifest.json").exists()
    await skopeo("copy", "--dest-daemon-host", cluster.api, f"dir:{folder}", "docker-daemon:copied:1")
    assert await cluster.manager_host.run("docker", "-H", cluster.api, "run", "--rm", "copied:1", "true")
    await skopeo("copy", "--src-daemon-host", cluster.api, "docker-daemon:copied:1", f"oci:{folder}-oci:1")
    await skopeo("copy", "--dest-daemon-host", cluster.api, f"oci:{folder}-oci:1", "docker-daemon:copied:2")
    images = await cluster.get('/images/json?filters={"reference":["copied"]}')
    assert sorted(tag for each in images for tag in each["RepoTags"]) == ["copied:1", "copied:2"]
    await cluster.request("DELETE", "/images/copied:1")
    await cluster.request("DELETE", "/images/copied:2")
