import asyncio

import pytest

from common.errors import InvalidArgument
from common.wire.channel import splice
from worker.link.dialler import open_engine


async def pair(tmp_path, name):
    """Two ends of a unix connection, as readers and writers."""
    accepted = asyncio.get_running_loop().create_future()
    server = await asyncio.start_unix_server(lambda *ends: accepted.set_result(ends), tmp_path / name)
    near = await open_engine(f"unix://{tmp_path / name}")
    far = await accepted
    server.close()
    return near, far


@pytest.fixture
async def spliced(tmp_path):
    """(the manager's end, the engine's end) of two connections that are joined."""
    manager, near = await pair(tmp_path, "manager")
    engine, far = await pair(tmp_path, "engine")
    job = asyncio.create_task(splice(near, far))
    yield manager, engine, job
    for _, writer in (manager, engine):
        writer.close()
    async with asyncio.timeout(5):
        await job


async def test_bytes_go_both_ways_and_half_close_passes(spliced):
    (manager_reads, manager_writes), (engine_reads, engine_writes), job = spliced
    manager_writes.write(b"POST /attach")
    manager_writes.write_eof()
    assert await engine_reads.read() == b"POST /attach"
    engine_writes.write(b"late output")
    assert await manager_reads.readexactly(11) == b"late output"
    engine_writes.write_eof()
    assert await manager_reads.read() == b""
    async with asyncio.timeout(5):
        await job


async def test_a_megabyte_and_a_slow_reader(spliced):
    (manager_reads, _), (_, engine_writes), _ = spliced
    data = bytes(range(256)) * 4096
    engine_writes.write(data)
    assert await manager_reads.readexactly(len(data)) == data


async def test_an_end_that_breaks_closes_the_other(spliced):
    (manager_reads, _), (_, engine_writes), job = spliced
    engine_writes.transport.abort()
    async with asyncio.timeout(5):
        assert await manager_reads.read() == b""
        manager_reads.feed_eof()
    assert not job.cancelled()


async def test_cancelling_closes_both(tmp_path):
    manager, near = await pair(tmp_path, "manager")
    engine, far = await pair(tmp_path, "engine")
    job = asyncio.create_task(splice(near, far))
    await asyncio.sleep(0)
    job.cancel()
    await asyncio.wait({job})
    assert job.cancelled()
    for reader, writer in (manager, engine):
        assert await reader.read() == b""
        writer.close()


async def test_what_is_no_docker_host():
    with pytest.raises(InvalidArgument, match="cannot connect to the Docker host 'ssh://x'"):
        await open_engine("ssh://x")
