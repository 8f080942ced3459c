import asyncio
import contextlib
from collections.abc import Awaitable
from typing import Any

import msgspec
import pytest

from common.model import TaskState
from common.model.node import NodeStatus
from manager.api.call import Call, Stream
from manager.api.logs.stream import FOLLOWED_AT_ONCE, Frame, FrameReader
from manager.store.transaction import Transaction
from tests.fakes.api_client import ADMIN, Client
from tests.fakes.api_cluster import WORKER1, WORKER2, ApiCluster

MARK = "com.docker.swarm.node.id={},com.docker.swarm.service.id={},com.docker.swarm.task.id={} "


def frames(data: Any) -> list[Frame]:
    assert isinstance(data, bytes)
    return sorted(FrameReader().feed(data), key=lambda frame: (frame.stream, frame.payload))


async def start(client: Client, cluster: ApiCluster, replicas: int = 2, **container: Any) -> str:
    template = {"ContainerSpec": {"Image": "busybox", **container}}
    mode = {"Replicated": {"Replicas": replicas}}
    service = await client.make("/services/create", {"Name": "web", "TaskTemplate": template, "Mode": mode})
    cluster.resume()
    await running(cluster, replicas)
    return service


async def running(cluster: ApiCluster, count: int) -> None:
    with cluster.store.watch() as subscription:
        while sum(t.status.state is TaskState.RUNNING for t in cluster.store.view.tasks) < count:
            await subscription.next()


async def test_all_tasks_of_a_service_on_both_streams(client: Client, cluster: ApiCluster) -> None:
    await start(client, cluster)
    status, data = await client.ask("GET", "/services/web/logs?stdout=1&stderr=1")
    hellos = sorted(f"hello from {task.id}\n".encode() for task in cluster.store.view.tasks)
    assert status == 200
    assert frames(data) == [*(Frame(1, hello) for hello in hellos), Frame(2, b"careful\n"), Frame(2, b"careful\n")]


async def test_details_name_the_task(client: Client, cluster: ApiCluster) -> None:
    service = await start(client, cluster, replicas=1)
    [task] = cluster.store.view.tasks
    _, data = await client.ask("GET", "/services/web/logs?stderr=1&details=1&timestamps=1")
    mark = MARK.format(task.node_id, service, task.id)
    assert frames(data) == [Frame(2, f"2026-01-31T12:00:00.123456789Z {mark}careful\n".encode())]
    _, same = await client.ask("GET", f"/tasks/{task.id}/logs?stderr=1&details=1&timestamps=1")
    assert same == data


async def test_what_was_asked_is_asked_of_the_engine(client: Client, cluster: ApiCluster) -> None:
    await start(client, cluster, replicas=1)
    [task] = cluster.store.view.tasks
    await client.ask("GET", "/services/web/logs?stdout=1&tail=3&since=1700000000.5&timestamps=1")
    [request] = cluster.engines.engines[task.node_id].requests
    assert request == f"/containers/container-{task.id}/logs?stdout=1&timestamps=1&tail=3&since=1700000000.5"


async def test_a_lost_node_costs_a_line_of_explanation(client: Client, cluster: ApiCluster) -> None:
    service = await start(client, cluster)
    await cluster.engines.engines.pop(WORKER1).stop()
    _, data = await client.ask("GET", "/services/web/logs?stdout=1&stderr=1&details=1")
    by_node = {task.node_id: task for task in cluster.store.view.tasks}
    lost, kept = by_node[WORKER1], by_node[WORKER2]
    reason = f"warning: the log of this task is not complete: node {WORKER1} is not connected\n"
    assert frames(data) == [
        Frame(1, f"{MARK.format(WORKER2, service, kept.id)}hello from {kept.id}\n".encode()),
        Frame(2, f"{MARK.format(WORKER1, service, lost.id)}{reason}".encode()),
        Frame(2, f"{MARK.format(WORKER2, service, kept.id)}careful\n".encode()),
    ]


async def test_a_node_that_is_lost_meanwhile_is_not_waited_for(client: Client, cluster: ApiCluster) -> None:
    """A host that is cut off closes no connection."""
    await start(client, cluster, replicas=1)
    [task] = cluster.store.view.tasks
    engine = cluster.engines.engines[task.node_id]
    engine.hanging.add(f"container-{task.id}")
    asking = asyncio.create_task(client.ask("GET", "/services/web/logs?stdout=1"))
    while not engine.requests:
        await asyncio.sleep(0.01)
    node = cluster.store.view.nodes.get(task.node_id)
    assert node is not None
    down = msgspec.structs.replace(node, status=NodeStatus(state="down"))
    await cluster.store.update(lambda tx: tx.put(down))
    async with asyncio.timeout(5):
        _, data = await asking
    [frame] = frames(data)
    assert f"not complete: node {node.name} was lost during this request" in frame.payload.decode()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "No such container: container-"),
        (b"\x09 this is no log stream", "the engine sent something that is not a log stream"),
    ],
)
async def test_an_engine_that_fails(client: Client, cluster: ApiCluster, answer: bytes | None, words: str) -> None:
    await start(client, cluster, replicas=1)
    [task] = cluster.store.view.tasks
    engine = cluster.engines.engines[task.node_id]
    if answer is None:
        engine.logs.clear()
    else:
        engine.raw[f"container-{task.id}"] = answer
    _, data = await client.ask("GET", "/services/web/logs?stdout=1")
    [frame] = frames(data)
    assert frame.stream == 1  # stderr was not asked for
    assert words in frame.payload.decode()


async def test_a_terminals_log_is_plain_text(client: Client, cluster: ApiCluster) -> None:
    await start(client, cluster, replicas=1, TTY=True)
    [task] = cluster.store.view.tasks
    cluster.engines.engines[task.node_id].raw[f"container-{task.id}"] = b"one\r\ntwo\r\nthree? "
    reply = await cluster.api.answer(Call("GET", "/services/web/logs", query={"stdout": "1"}, caller=ADMIN))
    assert isinstance(reply, Stream)
    assert reply.content_type == "application/vnd.docker.raw-stream"
    sent: list[bytes] = []

    async def send(data: bytes) -> None:
        sent.append(data)

    await reply.produce(send)
    assert b"".join(sent) == b"one\r\ntwo\r\nthree? "


async def test_following_takes_new_tasks_in_and_ends_with_the_service(client: Client, cluster: ApiCluster) -> None:
    await start(client, cluster, replicas=1)
    reply = await cluster.api.answer(
        Call("GET", "/services/web/logs", query={"stdout": "1", "follow": "1", "tail": "2"}, caller=ADMIN)
    )
    assert isinstance(reply, Stream)
    lines: asyncio.Queue[bytes] = asyncio.Queue(100)

    async def send(data: bytes) -> None:
        if data:
            await lines.put(data)

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(reply.produce(send))  # type: ignore[arg-type]
        assert b"hello from" in await lines.get()
        await cluster.store.update(scale_up)
        assert b"hello from" in await lines.get()
        await client.ask("DELETE", "/services/web")
    assert len(cluster.store.view.services) == 0
    requests = [request for engine in cluster.engines.engines.values() for request in engine.requests]
    # Of the task that came later every line is new.
    assert sorted(request.partition("?")[2] for request in requests) == [
        "stdout=1&follow=1&timestamps=1",
        "stdout=1&follow=1&timestamps=1&tail=2",
    ]


async def test_a_client_follows_a_bounded_number_of_logs(client: Client, cluster: ApiCluster) -> None:
    """A viewer could have workers and engines hold a connection for each task and each of its own connections."""
    await start(client, cluster, replicas=1)
    query = {"stdout": "1", "follow": "1"}
    reply = await cluster.api.answer(Call("GET", "/services/web/logs", query=query, caller=ADMIN))
    assert isinstance(reply, Stream)
    lines: asyncio.Queue[bytes] = asyncio.Queue(100)

    async def send(data: bytes) -> None:
        if data:
            await lines.put(data)

    with contextlib.ExitStack() as held:
        for _ in range(FOLLOWED_AT_ONCE):
            assert held.enter_context(cluster.api.context.followed.one_more(ADMIN.key))
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            group.create_task(reply.produce(send))  # type: ignore[arg-type]
            assert b"not followed: this client follows 1000" in await lines.get()
            await client.ask("DELETE", "/services/web")
        with cluster.api.context.followed.one_more("another") as allowed:
            assert allowed
    with cluster.api.context.followed.one_more(ADMIN.key) as allowed:
        assert allowed


def said(second: int, text: str) -> bytes:
    return Frame(1, f"2026-01-31T12:00:{second:02}.000000007Z {text}\n".encode()).encode()


def set_state(cluster: ApiCluster, node_id: str, state: str) -> Awaitable[None]:
    def change(tx: Transaction) -> None:
        node = tx.nodes.get(node_id)
        assert node is not None
        tx.put(msgspec.structs.replace(node, status=NodeStatus(state=state)))

    return cluster.store.update(change)


async def test_a_log_that_is_followed_goes_on_after_its_node_was_away(client: Client, cluster: ApiCluster) -> None:
    await start(client, cluster, replicas=1)
    [task] = cluster.store.view.tasks
    engine, container = cluster.engines.engines[task.node_id], f"container-{task.id}"
    engine.raw[container] = said(1, "one") + said(2, "two")
    engine.cut.add(container)
    reply = await cluster.api.answer(
        Call("GET", f"/tasks/{task.id}/logs", query={"stdout": "1", "follow": "1", "tail": "2"}, caller=ADMIN)
    )
    assert isinstance(reply, Stream)
    lines: asyncio.Queue[bytes] = asyncio.Queue(100)

    async def send(data: bytes) -> None:
        if data:
            await lines.put(data[8:])

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(reply.produce(send))  # type: ignore[arg-type]
        assert [await lines.get(), await lines.get()] == [b"one\n", b"two\n"]
        words = b"warning: the log of this task is interrupted: the engine stopped before the end\n"
        assert await lines.get() == words
        await set_state(cluster, task.node_id, "disconnected")
        engine.raw[container] = said(2, "two") + said(2, "and a half") + said(3, "three")
        engine.cut.clear()
        asked = len(engine.requests)
        await set_state(cluster, task.node_id, "ready")
        assert [await lines.get(), await lines.get()] == [b"and a half\n", b"three\n"]
        assert engine.requests[asked].endswith("?stdout=1&follow=1&timestamps=1&since=1769860802.000000007")
        await cluster.store.update(lambda tx: tx.remove(task))
    assert lines.empty()


async def test_nobody_waits_for_the_log_of_a_task_that_is_gone(client: Client, cluster: ApiCluster) -> None:
    await start(client, cluster, replicas=1)
    [task] = cluster.store.view.tasks
    await set_state(cluster, task.node_id, "down")
    following = asyncio.create_task(client.ask("GET", f"/tasks/{task.id}/logs?stdout=1&follow=1"))
    await asyncio.wait({following}, timeout=0.7)
    assert not following.done()
    await cluster.store.update(lambda tx: tx.remove(task))
    async with asyncio.timeout(5):
        _, data = await following
    [frame] = frames(data)
    assert "the log of this task is interrupted: node w2 is not connected" in frame.payload.decode()


def scale_up(tx: Transaction) -> None:
    [service] = tx.services
    mode = msgspec.convert({"Replicated": {"Replicas": 2}}, type(service.spec.mode))
    tx.put(msgspec.structs.replace(service, spec=msgspec.structs.replace(service.spec, mode=mode)))
