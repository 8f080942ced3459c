"""Which changes of the store clients hear of, and as what."""

import json

import pytest

from common.model import Node, Service, StoredObject, Task
from common.model.node import NodeSpec, NodeStatus
from common.model.secret import Secret, SecretSpec
from common.model.service import Replicated, ServiceMode, ServiceSpec
from common.model.update import UpdateState, UpdateStatus
from manager.api.events.log import Event, event_of
from manager.store.changes import Change
from tests.fakes.world import replace, template


def service(replicas: int = 1, image: str = "web:1", **other: object) -> Service:
    mode = ServiceMode(replicated=Replicated(replicas=replicas))
    spec = ServiceSpec(name="web", labels={"a": "b"}, mode=mode, task_template=template(image))
    return Service(id="s", spec=spec, updated_at=5.0, **other)  # type: ignore[arg-type]


def event(old: StoredObject | None, new: StoredObject | None) -> Event | None:
    return event_of(Change(old, new), 9.0)


def attributes(old: StoredObject | None, new: StoredObject | None) -> dict[str, str]:
    found = event(old, new)
    assert found is not None
    return dict(found.attributes)


def test_what_is_made_changed_and_removed_is_told() -> None:
    secret = Secret(id="x", spec=SecretSpec(name="key"), updated_at=5.0)
    created, removed = event(None, secret), event(secret, None)
    assert created is not None
    assert (created.kind, created.action, created.name, created.time) == ("secret", "create", "key", 5.0)
    assert removed is not None
    assert (removed.action, removed.time) == ("remove", 9.0)


def test_tasks_and_bookkeeping_are_not_told() -> None:
    assert event(None, Task(id="t")) is None
    node = Node(id="n", spec=NodeSpec(name="w1"))
    assert event(node, replace(node, number=7)) is None


def test_a_service_is_gone_once_its_deletion_begins() -> None:
    leaving = service(pending_delete=True)
    found = event(service(), leaving)
    assert found is not None
    assert found.action == "remove"
    assert event(leaving, replace(leaving, updated_at=6.0)) is None
    assert event(leaving, None) is None


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (service(3), {"replicas.new": "3", "replicas.old": "1"}),
        (service(image="web:2"), {"image.new": "web:2", "image.old": "web:1"}),
        (
            service(update_status=UpdateStatus(state=UpdateState.UPDATING)),
            {"updatestate.new": "updating"},
        ),
    ],
)
def test_an_update_says_what_differs(new: Service, expected: dict[str, str]) -> None:
    assert attributes(service(), new) == expected


def test_a_node_says_its_state() -> None:
    node = Node(id="n", spec=NodeSpec(name="w1"), status=NodeStatus(state="ready"))
    down = replace(node, status=NodeStatus(state="down"), spec=replace(node.spec, availability="drain"))
    assert attributes(node, down) == {
        "state.new": "down",
        "state.old": "ready",
        "availability.new": "drain",
        "availability.old": "active",
    }


def test_a_line_of_the_stream_is_dockers() -> None:
    found = event(None, service())
    assert found is not None
    line = found.json()
    assert line.endswith(b"\n")
    assert json.loads(line) == {
        "Type": "service",
        "Action": "create",
        "Actor": {"ID": "s", "Attributes": {"name": "web"}},
        "scope": "swarm",
        "time": 5,
        "timeNano": 5_000_000_000,
    }
