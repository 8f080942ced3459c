"""The root is replaced under three real managers with real etcds: none is lost, and the old root opens nothing."""

from __future__ import annotations

import random
import shutil
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from cryptography import x509

from manager import app
from tests.e2e import ci
from tests.fakes.real_managers import RealManager, RealManagers
from tests.fakes.tls_worker import join_host, tls_worker

pytestmark = [ci.long, pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd is not installed")]


def believed(manager: RealManager) -> list[set[x509.Certificate]]:
    """Return the roots that a manager believes, and that its etcd does."""
    files = [manager.data.certificates / "root.crt", manager.data.etcd / "root.crt"]
    return [roots_in(file) for file in files]


def roots_in(file: Path) -> set[x509.Certificate]:
    return set(x509.load_pem_x509_certificates(file.read_bytes()))


@pytest.mark.timeout(120)
async def test_nobody_is_lost_when_the_root_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "settle_memory", lambda: None)
    async with RealManagers(tmp_path, 3).running() as cluster, AsyncExitStack() as stack:
        first, second, third = cluster.all
        old = believed(first)[0]
        _, swarm = await second.ask("GET", "/swarm")
        files = await join_host(first.address, swarm["JoinTokens"]["Worker"], tmp_path / "worker")
        node_id = files.identity().node_id
        workers = tls_worker(files, [each.address for each in cluster.all], random.Random(1))
        await stack.enter_async_context(workers)
        spec = swarm["Spec"] | {"CAConfig": swarm["Spec"]["CAConfig"] | {"ForceRotate": 1}}
        status, said = await second.ask("POST", f"/swarm/update?version={swarm['Version']['Index']}", spec)
        assert status == 200, said

        async def rotated() -> bool:
            status, swarm = await third.ask("GET", "/swarm")
            return status == 200 and not swarm["RootRotationInProgress"]

        await cluster.until(rotated, 90)

        async def taken() -> bool:
            roots = [roots for each in cluster.all for roots in believed(each)]
            return all(len(each) == 1 for each in (*roots, roots_in(files.root)))

        await cluster.until(taken)
        assert all(roots == believed(first)[0] != old for each in cluster.all for roots in believed(each))
        assert roots_in(files.root) == believed(first)[0]
        _, node = await third.ask("GET", f"/nodes/{node_id}")
        assert node["Status"]["State"] == "ready"
        await cluster.until(cluster.all_reachable)
        status, said = await third.ask("POST", "/configs/create", {"Name": "after", "Data": "YQ=="})
        assert status == 201, said
        _, after = await first.ask("GET", "/swarm")
        assert after["JoinTokens"] != swarm["JoinTokens"]
