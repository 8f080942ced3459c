"""What was read shares what is equal in it: parts of services' tasks, words, instants, and what a change left alone."""

from __future__ import annotations

import msgspec

from common.model import Service, Task, TaskState, TaskStatus
from common.model.naming import Version
from common.model.service import PortConfig
from common.model.task import ContainerStatus
from manager.store.interning import Interner
from tests.fakes.world import template


def task(version: int = 1, image: str = "web:1") -> Task:
    return Task(id="t", service_id="s", spec_version=version, spec=template(image))


def as_read(value: Task) -> Task:
    """Return a task as it comes from the storage, with nothing that another one has."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(value), type=Task)


def full(task_id: str, state: TaskState = TaskState.RUNNING) -> Task:
    status = TaskStatus(
        timestamp=7.25,
        state=state,
        message="started",
        err="no such thing",
        addresses={"n": "10.0.0.2/24"},
        hostname=f"host-{task_id}",
        container_status=ContainerStatus(container_id=f"container-{task_id}"),
    )
    return Task(
        id=task_id,
        version=Version(index=1_000),
        created_at=7.25,
        updated_at=8.5,
        service_id="service-s",
        service_name="name-s",
        spec_version=1,
        spec=template("web:1"),
        node_id="node-n",
        ports=(PortConfig(target_port=80),),
        labels={"a": "b"},
        status=status,
    )


def test_equal_specifications_of_a_version_become_one() -> None:
    interner = Interner()
    first, second = interner.intern(task()), interner.intern(task())
    assert second.spec is first.spec


def test_what_differs_stays_as_it_is() -> None:
    interner = Interner()
    interner.intern(task())
    assert interner.intern(task(image="web:2")).spec == template("web:2")
    assert interner.intern(task(2, "web:2")).spec == template("web:2")


def test_sharing_changes_no_value() -> None:
    interner = Interner()
    values = [full("a"), full("b"), full("a", TaskState.FAILED), task(2), Task(id="bare", service_id="service-s")]
    read: dict[str, Task] = {}
    for value in values:
        read[value.id] = interner.intern(as_read(value), read.get(value.id))
        assert read[value.id] == value


def test_tasks_of_a_service_share_what_it_gave_them() -> None:
    interner = Interner()
    one, two = interner.intern(as_read(full("a"))), interner.intern(as_read(full("b")))
    assert one.id != two.id
    for name in ("spec", "service_id", "service_name", "node_id", "ports", "labels", "version", "created_at"):
        assert getattr(one, name) is getattr(two, name), name
    for name in ("message", "err", "timestamp"):
        assert getattr(one.status, name) is getattr(two.status, name), name
    assert one.status.timestamp is one.created_at


def test_a_change_shares_what_it_left_alone() -> None:
    interner = Interner()
    old = interner.intern(as_read(full("a")))
    new = interner.intern(as_read(full("a", TaskState.FAILED)), old)
    assert new.status.state is TaskState.FAILED
    assert new.id is old.id
    for name in ("container_status", "addresses", "hostname"):
        assert getattr(new.status, name) is getattr(old.status, name), name


def test_versions_that_no_new_task_has_are_forgotten() -> None:
    interner = Interner()
    first = interner.intern(task())
    interner.intern(Service(id="s", spec_version=2))
    assert interner.intern(task()).spec is not first.spec
    kept = interner.intern(task(2))
    interner.intern(Service(id="s", spec_version=2))
    assert interner.intern(task(2)).spec is kept.spec


def test_a_service_that_is_gone_is_forgotten() -> None:
    interner = Interner()
    first = interner.intern(task())
    interner.forget("s")
    assert interner.intern(task()).spec is not first.spec
