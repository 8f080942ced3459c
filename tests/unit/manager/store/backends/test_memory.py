"""The backend of tests keeps what it was given, as the others do."""

from common.model import Node, Service
from manager.store.backends.memory import MemoryBackend
from manager.store.changes import Change, ChangeSet


async def test_it_loads_what_was_committed_and_not_removed() -> None:
    backend = MemoryBackend()
    a, b, node = Service(id="a"), Service(id="b"), Node(id="a")
    await backend.commit([ChangeSet(1, (Change(None, a), Change(None, node))), ChangeSet(2, (Change(None, b),))])
    await backend.commit([ChangeSet(3, (Change(a, None),))])
    await backend.close()
    loaded = await backend.load()
    assert loaded.index == 3
    assert list(loaded.objects) == [node, b]


def test_a_commit_takes_many_changes() -> None:
    backend = MemoryBackend()
    small, large = (ChangeSet(1, (Change(None, Service(id="a")),) * count) for count in (1, 20_000))
    assert backend.share_of_commit(small) < 0.001
    assert backend.share_of_commit(large) >= 1
