"""The daemon's own loop; that it runs as a whole is the subject of tests/e2e."""

import asyncio
from types import SimpleNamespace
from typing import Any

from common.wire.membership_messages import Goodbye
from common.wire.messages import Leave
from worker.app import _Daemon
from worker.config import DataDir, WorkerConfig
from worker.host import locks, status_file


def parts(data: DataDir) -> tuple[Any, tuple[Any, Any, Any]]:
    """Return a daemon, and what it tells of: an agent with a session, whose manager named others."""
    data.save(WorkerConfig(node_id="n1", cluster_id="c1", managers=("old:2377",)))
    engine = SimpleNamespace(engine_version="20.10")
    agent = SimpleNamespace(supervisor=SimpleNamespace(to_run={}), description=SimpleNamespace(engine=engine, lacks=()))
    return _Daemon(data), (
        agent,
        SimpleNamespace(address="new:2377", since=1.0, refused="", told=("new:2377",), epoch=(0, 4)),
        SimpleNamespace(valid_until=2.0),
    )


async def test_only_the_command_leave_has_the_daemon_leave(tmp_path):
    data = DataDir(tmp_path)
    daemon, _ = parts(data)
    said = []

    async def part(message):
        said.append(message)

    daemon._session = SimpleNamespace(address="new:2377", part=part)
    with locks.hold(locks.leave_of(data.path)):
        await daemon.part()
    await daemon.part()
    assert said == [Leave(), Goodbye()]


async def test_readiness_is_told_after_the_managers_address_is_written(tmp_path):
    data = DataDir(tmp_path)
    daemon, told_of = parts(data)
    read = asyncio.get_running_loop().create_future()
    daemon._notifier.ready = lambda: read.set_result(status_file.read(data.status))
    telling = asyncio.create_task(daemon._tell_status(*told_of))
    status = await asyncio.wait_for(read, 5)
    telling.cancel()
    assert status is not None
    assert status.manager == "new:2377"


async def test_a_disk_that_takes_no_status_does_not_end_the_worker(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("worker.app.STATUS_SECONDS", 0)
    monkeypatch.setattr("worker.app.RETRY_STATUS_SECONDS", 0.01)
    data = DataDir(tmp_path)
    daemon, told_of = parts(data)
    data.status.mkdir()
    telling = asyncio.create_task(daemon._tell_status(*told_of))
    await asyncio.wait([telling], timeout=0.05)
    assert not telling.done()
    data.status.rmdir()
    async with asyncio.timeout(5):  # nothing changes meanwhile
        while (status := status_file.read(data.status)) is None or data.load().managers != ("new:2377",):
            await asyncio.sleep(0.01)
    telling.cancel()
    assert [record.getMessage().count("cannot write to") for record in caplog.records] == [1]
    assert status.manager == "new:2377"
    assert (data.load().managers, data.load().epoch) == (("new:2377",), (0, 4))


async def test_the_first_manager_is_reported_at_once_and_others_later(tmp_path, monkeypatch):
    monkeypatch.setattr("worker.app.STATUS_SECONDS", 3600)
    monkeypatch.setattr("worker.app.FIRST_STATUS_SECONDS", 0)
    data = DataDir(tmp_path)
    daemon, (agent, session, credentials) = parts(data)
    session.address = ""
    ready = asyncio.Event()
    daemon._notifier.ready = ready.set
    telling = asyncio.create_task(daemon._tell_status(agent, session, credentials))
    session.address = "new:2377"
    daemon._news.set()
    await asyncio.wait_for(ready.wait(), 5)
    telling.cancel()
    status = status_file.read(data.status)
    assert status is not None
    assert status.manager == "new:2377"
