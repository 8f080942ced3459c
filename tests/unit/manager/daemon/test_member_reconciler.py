"""What the leader does with etcd's members, and what a host that joins is told."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from common.clock import LoopClock
from common.errors import PermissionDenied
from common.model import Node
from common.model.node import ManagerStatus, NodeSpec
from common.wire.manager_messages import ManagerJoin
from manager.daemon.member_reconciler import MemberReconciler
from manager.domain.managers import without_manager
from manager.store.backends.etcd.api import NoAnswer
from manager.store.backends.etcd.members import Member, Members
from manager.store.backends.memory import MemoryBackend
from manager.store.store import Store
from tests.fakes.virtual_loop import run_virtual


def reconciler_of(
    store: Store,
    node_id: str,
    membership: Any,
    *,
    etcd: Any = None,
    links: Any = None,
    known: Any = None,
) -> MemberReconciler:
    """Make a leader's reconciler of what a test uses of it."""
    core: Any = SimpleNamespace(store=store, node_id=node_id, managers=known)
    unused: Any = None
    return MemberReconciler(core, membership, etcd, links, keyring=unused, hand_over=unused)


def test_a_learner_that_cannot_be_asked_gets_its_vote() -> None:
    """After a while: the host of another release, or its network, may not let it."""
    learner = Member(7, "b", "https://192.0.2.7:2380", learner=True)
    unused: Any = None

    async def untold(*_: str) -> bytes:
        raise NoAnswer("etcd at https://192.0.2.7:2380 does not answer")

    async def story() -> float:
        etcd = Members(unused, untold)
        async with Store(MemoryBackend(), LoopClock()) as store:
            reconciler = reconciler_of(store, "m", unused, etcd=etcd)
            began = asyncio.get_running_loop().time()
            while await reconciler._behind((learner,), etcd):
                await asyncio.sleep(0.3)
            return asyncio.get_running_loop().time() - began

    assert 20 <= run_virtual(story()) < 21


async def test_who_is_demoted_while_it_joins_gets_no_keys() -> None:
    unused: Any = None

    async def join(_: ManagerJoin, __: str) -> SimpleNamespace:
        return SimpleNamespace(node_id="w")

    joined = Node(id="w", spec=NodeSpec(role="manager"), manager_status=ManagerStatus(), etcd_addr="192.0.2.7:2380")
    membership: Any = SimpleNamespace(join=join)
    known: Any = SimpleNamespace(refresh=lambda: None)
    async with Store(MemoryBackend(), LoopClock()) as store:
        await store.update(lambda tx: tx.put(joined))
        reconciler = reconciler_of(store, "m", membership, etcd=Members(unused), known=known)
        joining = asyncio.create_task(reconciler.join(unused, "192.0.2.7"))
        await reconciler._news.wait()
        await store.update(lambda tx: tx.put(without_manager(joined)))
        reconciler._joining["w"].set_result(())  # etcd had taken it as a member just before
        with pytest.raises(PermissionDenied, match="demoted or removed while it joined: it gets no keys"):
            await joining
