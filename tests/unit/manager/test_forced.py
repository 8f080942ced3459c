"""A manager whose others are lost goes on alone: they are managers no more, and what lets them back in is changed."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from common.clock import SystemClock
from common.errors import FailedPrecondition
from common.model import Cluster, Node, Service, StoredObject
from common.model.node import ManagerStatus, NodeSpec
from common.model.service import ServiceSpec
from manager import init
from manager.bootstrap import create_cluster
from manager.ca.migration import load_keyring
from manager.config import DataDir, EtcdConfig, ManagerConfig
from manager.convert import convert
from manager.etcd import etcd_of
from manager.forced import force_new_cluster
from manager.store.backends.sqlite import SqliteBackend
from manager.store.store import Store
from tests.fakes.ports import free_port

CLOCK = SystemClock()
needs_etcd = pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd is not installed")


def unasked() -> str:
    raise AssertionError("its keys are not locked")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataDir:
    """Make a manager on SQLite, whose store has another manager and a service."""
    monkeypatch.setattr(init, "ETCD_PORT", free_port())
    data = DataDir(tmp_path / "manager")
    config = ManagerConfig(node_id="m1", advertise_addr="127.0.0.1:2377", listen_addr="127.0.0.1:2377")
    lost = Node(id="m2", spec=NodeSpec(role="manager"), manager_status=ManagerStatus(), manager_serials=("s2",))

    async def make() -> None:
        await create_cluster(data, config, ("10.0.0.0/8",), CLOCK, random.Random(1))
        async with Store(SqliteBackend(data.store, load_keyring(data).seal()), CLOCK) as store:
            await store.update(lambda tx: [tx.put(lost), tx.put(Service(id="s1", spec=ServiceSpec(name="web")))])

    asyncio.run(make())
    return data


def read_etcd(data: DataDir) -> Sequence[StoredObject]:
    async def read() -> Sequence[StoredObject]:
        own = etcd_of(data, data.load(), load_keyring(data).seal(), CLOCK, random.Random(1))
        async with own.running():
            await own.answers(60)
            backend = own.backend()
            try:
                return (await backend.load()).objects
            finally:
                await backend.close()

    return asyncio.run(read())


@needs_etcd
def test_the_others_are_managers_no_more_and_tokens_change(data: DataDir) -> None:
    convert(data, "etcd", CLOCK, unasked)
    before = next(each for each in read_etcd(data) if isinstance(each, Cluster))
    gone = asyncio.run(force_new_cluster(data, unasked, CLOCK))
    assert [node.id for node in gone] == ["m2"]
    objects = {each.id: each for each in read_etcd(data)}
    after = next(each for each in objects.values() if isinstance(each, Cluster))
    assert after.generation == before.generation + 1
    assert not {after.join_tokens.worker, after.join_tokens.manager} & {
        before.join_tokens.worker,
        before.join_tokens.manager,
    }
    lost = objects["m2"]
    assert isinstance(lost, Node)
    assert (lost.manager_status, lost.manager_serials, lost.spec.role) == (None, (), "worker")
    assert "s1" in objects
    etcd = data.load().etcd
    assert etcd is not None
    assert not etcd.forced, "the next start is an ordinary one"


def test_a_store_that_is_a_file_is_left_alone(data: DataDir) -> None:
    with pytest.raises(FailedPrecondition, match="there is nothing to force"):
        asyncio.run(force_new_cluster(data, unasked, CLOCK))


def test_an_etcd_that_others_run_is_left_alone(data: DataDir) -> None:
    etcd = EtcdConfig(peer_addr="127.0.0.1:2380", cluster_id="c1", peers=(), endpoints=("http://127.0.0.1:1",))
    data.save(msgspec.structs.replace(data.load(), etcd=etcd))
    with pytest.raises(FailedPrecondition, match="in an etcd that others run"):
        asyncio.run(force_new_cluster(data, unasked, CLOCK))
