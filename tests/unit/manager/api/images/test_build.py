"""BuildKit's clients over real sockets: the names of what they build are known before they hear that it is built."""

import asyncio
from pathlib import Path

import pytest

from tests.fakes.api_cluster import WORKER1, ApiCluster
from tests.fakes.container_engine import Engines
from tests.unit.manager.api.images.test_buildkit import ANSWER, DATA, END, FAILURE, client, frame, grpc, solve

ONE = "sha256:" + "1" * 64


async def build(path: Path, engines: Engines, request: bytes, answer: bytes) -> bytes:
    """Send a request over BuildKit's interface; return what comes back, as soon as something does."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(len(request))
        writer.write(answer)
        await writer.drain()
        await reader.read()

    engines.one.talk = talk
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(b"POST /grpc HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
    async with asyncio.timeout(10):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        writer.write(request)
        data = await reader.readexactly(len(answer))
    writer.close()
    return data


@pytest.mark.parametrize(("answer", "given"), [(ANSWER, True), (FAILURE, False)])
async def test_a_build_gives_the_names_that_its_client_asked_for(
    cluster: ApiCluster, path: Path, engines: Engines, answer: bytes, *, given: bool
) -> None:
    image = {"Id": ONE, "Os": "linux", "Architecture": "amd64", "Size": 7, "RepoTags": ["web:1", "stranger:1"]}
    engines.one.answers["GET /images/web:1/json"] = (200, image)
    asked = solve("moby", name="docker.io/library/web:1,w1.node/web:1,docker.io/library/gone:1")
    assert await build(path, engines, client(frame(DATA, 1, grpc(asked), END)), answer) == answer
    names = {name.id: (name.image_id, name.how, name.node_id) for name in cluster.store.view.image_names}
    assert names == ({"web:1": (ONE, "build", WORKER1)} if given else {})


async def test_what_is_not_understood_goes_through_all_the_same(
    cluster: ApiCluster, path: Path, engines: Engines, caplog: pytest.LogCaptureFixture
) -> None:
    assert await build(path, engines, b"something else" * 1000, ANSWER * 3) == ANSWER * 3
    assert not len(cluster.store.view.image_names)
    assert "not an HTTP/2 connection" in caplog.text
