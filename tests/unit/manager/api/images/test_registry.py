"""What only a registry knows."""

import pytest

from manager.api.images import registry
from tests.fakes.api_client import Client
from tests.fakes.api_cluster import ApiCluster


async def test_distribution(client: Client, cluster: ApiCluster) -> None:
    status, message = await client.error("GET", "/distribution/busybox/json")
    assert (status, "run 'swarm-worker join' there" in message) == (503, True), "no other node is asked"
    await cluster.join_own_host()
    assert (await client.get("/distribution/busybox:latest/json"))["Descriptor"]["digest"].startswith("sha256:")
    status, _ = await client.ask("GET", "/distribution/other/json")
    assert status == 500
    status, message = await client.error("GET", "/distribution/UP/json")
    assert (status, message[:24]) == (400, "invalid reference format")


async def test_a_silent_registry_is_given_up(
    client: Client, cluster: ApiCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "DIGEST_SECONDS", 0.05)
    await cluster.join_own_host()
    status, message = await client.error("GET", "/distribution/silent/json")
    assert (status, message) == (503, "no registry answered within 0.05 s")
