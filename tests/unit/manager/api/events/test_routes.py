import asyncio
import json
from typing import Any

import msgspec
import pytest

from common.clock import LoopClock
from common.model import Node, Service, Task
from common.model.container import ContainerSpec
from common.model.node import NodeDescription, NodeSpec, NodeStatus
from common.model.service import Replicated, ServiceMode, ServiceSpec, TaskSpec
from common.model.update import UpdateState, UpdateStatus
from manager.api.events import log as event_log
from manager.api.events.log import FOLLOWER_CAPACITY, HISTORY, Event, EventLog, event_of
from manager.api.events.routes import accepts
from manager.store.backends.memory import MemoryBackend
from manager.store.changes import Change
from manager.store.store import Store
from tests.fakes.api_client import Client
from tests.fakes.api_cluster import ApiCluster

replace = msgspec.structs.replace


def service(replicas: int = 1, image: str = "a", **more: Any) -> Service:
    template = TaskSpec(container_spec=ContainerSpec(image=image))
    mode = ServiceMode(replicated=Replicated(replicas=replicas))
    return Service(id="s1", spec=ServiceSpec(name="web", mode=mode, task_template=template), updated_at=7.0, **more)


def told(old: Any, new: Any) -> tuple[str, dict[str, str]] | None:
    event = event_of(Change(old=old, new=new), 9.0)
    return None if event is None else (event.action, dict(event.attributes))


def test_a_services_life() -> None:
    assert told(None, service()) == ("create", {})
    assert told(service(), service(3)) == ("update", {"replicas.new": "3", "replicas.old": "1"})
    assert told(service(), service(image="b")) == ("update", {"image.new": "b", "image.old": "a"})
    assert told(service(), service(update_status=UpdateStatus(state=UpdateState.UPDATING))) == (
        "update",
        {"updatestate.new": "updating"},
    )
    leaving = service(pending_delete=True)
    assert told(service(), leaving) == ("remove", {})
    assert told(leaving, replace(leaving, spec_version=3)) is None
    assert told(leaving, None) is None


def test_nodes_tell_of_what_clients_can_see() -> None:
    node = Node(id="n1", description=NodeDescription(hostname="h"), status=NodeStatus(state="unknown"))
    ready = replace(node, status=NodeStatus(state="ready"))
    assert told(node, ready) == ("update", {"state.new": "ready", "state.old": "unknown"})
    drained = replace(ready, spec=NodeSpec(availability="drain"))
    assert told(ready, drained) == ("update", {"availability.new": "drain", "availability.old": "active"})
    assert told(ready, replace(ready, certificate_serials=("1",))) is None
    assert told(ready, None) == ("remove", {})


def test_tasks_make_no_events() -> None:
    assert told(None, Task(id="t1")) is None


def test_form() -> None:
    event = event_of(Change(old=None, new=service()), 9.0)
    assert event is not None
    assert json.loads(event.json()) == {
        "Type": "service",
        "Action": "create",
        "Actor": {"ID": "s1", "Attributes": {"name": "web"}},
        "scope": "swarm",
        "time": 7,
        "timeNano": 7000000000,
    }


def test_filters() -> None:
    event = Event("service", "create", "s123", "web", {}, {"app": "x"}, 1.0)
    for name, good, bad in [
        ("type", "service", "node"),
        ("event", "create", "remove"),
        ("scope", "swarm", "local"),
        ("service", "web", "we"),
        ("service", "s12", "web2"),
        ("label", "app=x", "app=y"),
        ("label", "app", "other"),
    ]:
        assert accepts({name: frozenset({good})}, event), (name, good)
        assert not accepts({name: frozenset({bad})}, event), (name, bad)
    assert accepts({"type": frozenset({"node", "service"}), "event": frozenset({"create"})}, event)
    assert not accepts({"type": frozenset({"service"}), "event": frozenset({"remove"})}, event)
    assert not accepts({"node": frozenset({"web"})}, event)
    assert not accepts({"container": frozenset({"web"})}, event)


def numbered(number: int) -> Event:
    return Event("service", "update", str(number), "", {}, {}, float(number))


async def test_only_so_many_are_kept() -> None:
    log = EventLog()
    for number in range(HISTORY + 10):
        log.add(numbered(number))
    assert [event.id for event in log.recent()] == [str(n) for n in range(10, HISTORY + 10)]


async def test_who_does_not_read_is_cut_off() -> None:
    log = EventLog()
    with log.follow() as follower:
        for number in range(FOLLOWER_CAPACITY + 10):
            log.add(numbered(number))
        read = 0
        while await follower.next() is not None:
            read += 1
    assert read == FOLLOWER_CAPACITY
    assert log.listeners == 0


async def test_a_change_that_meets_a_bug_makes_no_event_and_others_do(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def event_with_a_bug(change: Change, now: float) -> Event | None:
        if change.current.id == "bad":
            raise RuntimeError("a bug")
        return event_of(change, now)

    monkeypatch.setattr(event_log, "event_of", event_with_a_bug)
    log, clock = EventLog(), LoopClock()
    async with Store(MemoryBackend(), clock) as store:
        running = asyncio.create_task(log.run(store, clock))
        with log.follow() as follower:
            await asyncio.sleep(0)
            for name in ("bad", "good"):
                await store.update(lambda tx, name=name: tx.put(Node(id=name)))  # type: ignore[misc]
            event = await follower.next()
        running.cancel()
    assert event is not None
    assert event.id == "good"
    assert "the change of bad" in caplog.text


async def test_past_events(client: Client, cluster: ApiCluster) -> None:
    await client.make("/secrets/create", {"Name": "s1", "Data": "eA=="})
    await client.make("/configs/create", {"Name": "c1", "Data": "eA=="})
    async with asyncio.timeout(5):
        while len(cluster.api.context.events.recent()) < 2:
            await asyncio.sleep(0)
    until = cluster.clock.now() + 0.05

    async def seen(query: str) -> list[str]:
        status, body = await client.ask("GET", f"/events?until={until:.6f}{query}")
        assert status == 200
        return [json.loads(line)["Actor"]["Attributes"]["name"] for line in body.splitlines()]

    assert await seen("&since=1") == ["s1", "c1"]
    assert await seen("") == []
    assert await seen(f"&since={until}") == []
    assert await seen('&since=1&filters={"type":["secret"]}') == ["s1"]
    assert await client.error("GET", '/events?filters={"nope":["x"]}') == (400, "invalid filter 'nope'")
    assert (await client.error("GET", "/events?since=z"))[0] == 400
