"""The HTTP shell: sockets, headers, limits, streams."""

import asyncio
import contextlib
import gc
import json
import logging
import os
import socket
import ssl
import stat
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Self

import aiohttp
import pytest
import uvloop
from aiohttp import ClientPayloadError

from common.errors import InvalidArgument, Unavailable
from common.ids import new_id
from common.model import Service, Task, TaskState, TaskStatus
from common.model.client import Role
from common.model.container import ContainerSpec
from common.model.service import Replicated, ServiceMode, ServiceSpec, TaskSpec
from manager.api.access.roles import Caller
from manager.api.call import BodyHandling, Call
from manager.api.http.connection import Limits
from manager.api.http.server import serve
from manager.store.transaction import Transaction
from tests.fakes.api_cluster import ApiCluster

LIMITS = Limits(
    connections=5, head_seconds=0.3, body_seconds=0.3, body_bytes=1000, header_bytes=16 * 1024, write_seconds=0.5
)


@contextlib.asynccontextmanager
async def browsing(path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession("http://docker", connector=aiohttp.UnixConnector(str(path))) as session:
        yield session


@pytest.fixture
async def path(cluster: ApiCluster) -> AsyncIterator[Path]:
    path = cluster.folder / "docker.sock"
    async with serve(cluster.api, [f"unix://{path}"], limits=LIMITS):
        yield path


async def raw(path: Path, *parts: bytes) -> bytes:
    """Write bytes as they are and read until the server closes."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_ping(path: Path) -> None:
    async with browsing(path) as session:
        for method, body in (("GET", b"OK"), ("HEAD", b"")):
            async with session.request(method, "/_ping") as response:
                assert await response.read() == body
                expected = {
                    "Api-Version": "1.51",
                    "Docker-Experimental": "false",
                    "Ostype": "linux",
                    "Server": "swarm-manager/0.1.0 (linux)",
                    "Swarm": "active/manager",
                    "Cache-Control": "no-cache, no-store, must-revalidate",
                    "Content-Type": "text/plain; charset=utf-8",
                }
                assert {name: response.headers.get(name) for name in expected} == expected


async def test_long_answers_of_the_overview_are_packed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with browsing(path) as session:
        for asked, longest, packed in (
            ("/swarm/overview/nodes", 10, True),
            ("/swarm/overview/nodes", 1 << 20, False),
            ("/nodes", 10, False),  # these may have secrets
        ):
            monkeypatch.setattr("manager.api.http.compression.COMPRESSED_FROM_BYTES", longest)
            async with session.get(asked, headers={"Accept-Encoding": "gzip"}) as answer:
                assert (answer.headers.get("Content-Encoding") == "gzip") is packed
                assert await answer.json()
        async with session.get("/swarm/overview/nodes", headers={"Accept-Encoding": "identity"}) as answer:
            assert "Content-Encoding" not in answer.headers


async def test_the_feed_is_packed_and_each_event_is_there_at_once(path: Path) -> None:
    async with browsing(path) as session:
        asked = session.get("/swarm/overview/feed?topics=nodes", headers={"Accept-Encoding": "gzip"})
        async with asked as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            assert b"event: hello" in await answer.content.readuntil(b"\n\n")


async def test_errors_are_json(path: Path) -> None:
    async with browsing(path) as session:
        async with session.get("/v1.99/info") as response:
            assert (response.status, response.content_type) == (400, "application/json")
            assert "too new" in (await response.json())["message"]
        async with session.delete("/secrets/x") as response:
            assert (response.status, await response.json()) == (404, {"message": "secret x not found"})


async def test_empty_answers_have_no_content(path: Path, cluster: ApiCluster) -> None:
    async with browsing(path) as session:
        body = {"Name": "s", "Data": "eA=="}
        async with session.post("/secrets/create", json=body) as response:
            assert response.status == 201
        async with session.delete("/secrets/s") as response:
            assert (response.status, await response.read()) == (204, b"")
    assert not len(cluster.store.view.secrets)


async def test_sockets_are_for_owner_and_group_only(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


async def test_a_socket_in_use_is_not_taken(path: Path, cluster: ApiCluster) -> None:
    with pytest.raises(Unavailable, match="another program answers there already"):
        async with serve(cluster.api, [f"unix://{path}"]):
            pass
    async with browsing(path) as session, session.get("/_ping") as response:
        assert response.status == 200


async def test_a_socket_whose_folder_cannot_be_made_is_said_in_words(cluster: ApiCluster) -> None:
    (cluster.folder / "file").write_text("")
    path = cluster.folder / "file" / "docker.sock"
    with pytest.raises(Unavailable, match=f"cannot listen on {path}: .*{path.parent}"):
        async with serve(cluster.api, [f"unix://{path}"]):
            pass


async def test_an_address_of_another_host_is_said_in_words(cluster: ApiCluster) -> None:
    demanding = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with pytest.raises(Unavailable, match=r"cannot listen on tcp://192\.0\.2\.1:1: Cannot assign requested address$"):
        async with serve(cluster.api, ["tcp://192.0.2.1:1"], ssl_context=demanding):
            pass


async def test_a_stale_socket_is_replaced_and_removed_at_the_end(cluster: ApiCluster) -> None:
    path = cluster.folder / "new" / "stale.sock"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    async with serve(cluster.api, [f"unix://{path}"]), browsing(path) as session, session.get("/_ping") as response:
        assert response.status == 200
    assert not path.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives sockets to other groups")
async def test_the_group_of_a_socket(cluster: ApiCluster) -> None:
    path = cluster.folder / "group.sock"
    async with serve(cluster.api, [f"unix://{path}"], group="daemon"):
        assert path.group() == "daemon"
    with pytest.raises(Unavailable, match="no-such-group"):
        async with serve(cluster.api, [f"unix://{path}"], group="no-such-group"):
            pass


@pytest.mark.parametrize("host", ["tcp://127.0.0.1:0", "http://x", "unix://", "unix://x", "x", f"unix:///{'x' * 200}"])
async def test_hosts_that_cannot_be(cluster: ApiCluster, host: str) -> None:
    with pytest.raises(InvalidArgument):
        async with serve(cluster.api, [host]):
            pass


async def test_several_hosts(cluster: ApiCluster) -> None:
    paths = [cluster.folder / name for name in ("a", "b")]
    async with serve(cluster.api, [f"unix://{path}" for path in paths]):
        for path in paths:
            async with browsing(path) as session, session.get("/_ping") as response:
                assert response.status == 200


# --- limits -----------------------------------------------------------------------------------------------------------


async def test_bodies_are_limited(path: Path) -> None:
    async with browsing(path) as session, session.post("/secrets/create", data=b"x" * 2000) as response:
        assert response.status == 413
        assert (await response.json())["message"] == "the body is larger than 1000 bytes"


async def test_only_those_who_may_deploy_may_send_a_stacks_larger_body(cluster: ApiCluster) -> None:
    limits = replace(LIMITS, large_body_bytes=5000)
    path = cluster.folder / "docker.sock"
    statuses = []
    async with serve(cluster.api, [f"unix://{path}"], limits=limits), browsing(path) as session:
        for size in (2000, 6000):
            async with session.post("/stacks/shop/deploy", data=b"x" * size) as response:
                statuses.append(response.status)
    assert statuses == [400, 413]
    call = Call("POST", "/stacks/shop/deploy", caller=Caller("eve", "1.2.3.4:5", Role.VIEWER))
    assert cluster.api.body_handling(call) is BodyHandling.READ


async def test_bodies_that_unpack_to_more_are_limited(path: Path) -> None:
    import zlib

    body = zlib.compress(b"x" * 10_000_000)
    headers = {"Content-Encoding": "deflate", "Content-Type": "application/json"}
    async with browsing(path) as session, session.post("/secrets/create", data=body[:900], headers=headers) as response:
        assert response.status in (400, 413)


async def test_slow_bodies(path: Path) -> None:
    answer = await raw(path, b"POST /secrets/create HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
    assert b" 408 " in answer.split(b"\r\n", 1)[0]
    assert b"the body did not arrive within 0.3 s" in answer


@pytest.mark.parametrize("start", [b"", b"GET /_ping HT", b"GET /_ping HTTP/1.1\r\nHost: x\r\n"])
async def test_slow_heads(path: Path, start: bytes) -> None:
    began = time.monotonic()
    assert await raw(path, start) == b""
    assert 0.2 < time.monotonic() - began < 5


async def test_a_slow_second_head(path: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"\r\n\r\nOK")
    await asyncio.sleep(2 * LIMITS.head_seconds)  # a connection may be idle for longer
    writer.write(b"GET /_p")
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()


async def test_large_heads(path: Path) -> None:
    for head in (b"GET /" + b"x" * 100_000, b"GET /_ping HTTP/1.1\r\nA: " + b"x" * 100_000):
        assert b" 400 " in (await raw(path, head + b" HTTP/1.1\r\nHost: x\r\n\r\n")).split(b"\r\n", 1)[0]


async def test_bytes_that_are_no_text(path: Path) -> None:
    answer = await raw(
        path,
        b"POST /v1.45/secrets/%ff/update?version=%ff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Content-Type: \xff\xfe\r\nContent-Length: 2\r\n\r\n{}",
    )
    assert b" 400 " in answer.split(b"\r\n", 1)[0]
    assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["message"]


async def test_not_http(path: Path) -> None:
    answer = await raw(path, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
    assert b" 400 " in answer.split(b"\r\n", 1)[0]
    assert b"Traceback" not in answer


async def test_connections_are_limited(path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(LIMITS.connections):
            session = await stack.enter_async_context(browsing(path))
            await stack.enter_async_context(session.get("/events"))
        answer = await raw(path, b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["message"].startswith("too many connections")
    async with asyncio.timeout(5):  # the server sees that the others are gone
        while b" 200 OK" not in await raw(path, b"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"):
            await asyncio.sleep(0.01)


# --- streams ----------------------------------------------------------------------------------------------------------


async def test_events_reach_a_client_that_waits(path: Path, cluster: ApiCluster) -> None:
    async with browsing(path) as session, session.get("/events") as response:
        assert response.content_type == "application/json"
        async with session.post("/secrets/create", json={"Name": "s1", "Data": "eA=="}) as created:
            secret_id = (await created.json())["ID"]
        async with asyncio.timeout(5):
            event = json.loads(await response.content.readline())
    assert (event["Type"], event["Action"], event["scope"]) == ("secret", "create", "swarm")
    assert event["Actor"] == {"ID": secret_id, "Attributes": {"name": "s1"}}
    assert event["timeNano"] // 1_000_000_000 == event["time"]
    async with asyncio.timeout(5):
        while cluster.api.context.events.listeners:  # the client went: nobody is left
            await asyncio.sleep(0.01)


async def test_streams_are_cut_when_the_server_ends(cluster: ApiCluster, caplog: pytest.LogCaptureFixture) -> None:
    path = cluster.folder / "docker.sock"
    async with browsing(path) as session:
        async with serve(cluster.api, [f"unix://{path}"]):
            response = await session.get("/events")
        async with asyncio.timeout(5):
            with pytest.raises(ClientPayloadError):  # not an end as if nothing happened any more
                await response.read()
    assert not [each for each in caplog.records if each.levelno > logging.INFO]


def many_tasks(count: int, cluster: ApiCluster, tx: Transaction) -> None:
    spec = TaskSpec(container_spec=ContainerSpec(image="busybox", env=tuple(f"A{n}=b" for n in range(10))))
    for number in range(count):
        tx.put(
            Task(
                id=f"{number:025}",
                spec=spec,
                service_id="s" * 25,
                service_name="web",
                slot=number + 1,
                desired_state=TaskState.RUNNING,
            )
        )


class Stall:
    """The longest time that the loop computed without a break: its thread's CPU time, whatever else runs.

    The garbage collector's full passes are kept out: how long they take is a matter of everything that is in memory.
    """

    def __init__(self) -> None:
        self.longest = 0.0

    async def __aenter__(self) -> Self:
        gc.collect()
        gc.freeze()
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()

    async def _watch(self) -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0)
            self.longest = max(self.longest, time.thread_time() - before)


async def test_ten_thousand_tasks_do_not_stall_the_loop(path: Path, cluster: ApiCluster) -> None:
    await cluster.store.update(lambda tx: many_tasks(10_000, cluster, tx))
    async with browsing(path) as session:
        async with Stall() as stall, session.get("/tasks") as response:
            size = 0
            async for chunk in response.content.iter_any():
                size += len(chunk)
        async with session.get("/tasks") as response:
            tasks = await response.json()
    assert len(tasks) == 10_000
    assert len({task["ID"] for task in tasks}) == 10_000
    assert size > 1_000_000
    assert stall.longest < 0.020


async def test_a_client_that_does_not_read_its_list_is_cut_off(cluster: ApiCluster) -> None:
    await cluster.store.update(lambda tx: many_tasks(5_000, cluster, tx))  # more than sockets and buffers hold
    path, limits = cluster.folder / "slow.sock", Limits(write_seconds=0.1)
    async with serve(cluster.api, [f"unix://{path}"], limits=limits):
        reader, writer = await asyncio.open_unix_connection(str(path), limit=1024)
        writer.write(b"GET /tasks HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(5 * limits.write_seconds)
        tail = b""
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                tail = (tail + data)[-5:]
        assert tail != b"0\r\n\r\n"  # what ends a whole list
        writer.close()


async def test_many_services_with_status_do_not_stall_the_loop(path: Path, cluster: ApiCluster) -> None:
    await cluster.store.update(lambda tx: many_services(90, 500, cluster, tx))
    async with browsing(path) as session, Stall() as stall, session.get("/services?status=true") as response:
        data = await response.read()
    assert {service["ServiceStatus"]["RunningTasks"] for service in json.loads(data)} == {500}
    assert stall.longest < 0.020


def many_services(count: int, tasks: int, cluster: ApiCluster, tx: Transaction) -> None:
    spec = TaskSpec(container_spec=ContainerSpec(image="busybox"))
    mode = ServiceMode(replicated=Replicated(replicas=tasks))
    status = TaskStatus(state=TaskState.RUNNING)
    for number in range(count):
        service = Service(id=new_id(cluster.rng), spec=ServiceSpec(name=f"s{number}", task_template=spec, mode=mode))
        tx.put(service)
        for slot in range(1, tasks + 1):
            tx.put(
                Task(
                    id=f"{number:04}{slot:021}",
                    spec=spec,
                    service_id=service.id,
                    slot=slot,
                    status=status,
                    desired_state=TaskState.RUNNING,
                )
            )


def test_on_the_managers_own_event_loop() -> None:
    async def main() -> None:
        async with ApiCluster(idle=True) as cluster:
            path = cluster.folder / "docker.sock"
            async with serve(cluster.api, [f"unix://{path}"], limits=LIMITS), browsing(path) as session:
                async with session.get("/info") as response:
                    assert (await response.json())["Swarm"]["Nodes"] == 3
                assert await raw(path, b"GET /_ping HT") == b""

    uvloop.run(main())
