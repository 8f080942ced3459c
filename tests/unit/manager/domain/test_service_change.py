"""Every way in which a service gets another specification is checked alike."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from common.errors import FailedPrecondition, InvalidArgument, SwarmError
from common.model import Network, Secret, Service, StoredObject
from common.model.container import ContainerSpec, FileTarget, SecretReference
from common.model.network import NetworkSpec
from common.model.secret import SecretSpec
from common.model.service import EndpointSpec, NetworkAttachmentConfig, PortConfig, ServiceSpec, TaskSpec
from common.model.update import Action, Reason, Requested, TasksFailed, UpdateState, UpdateStatus
from common.spec import start_order
from manager.domain.service_change import abort_update, change_spec, new_service, roll_back, undo_update
from tests.fakes.world import World, replace

NETWORK = Network(id="n1", spec=NetworkSpec(name="back"))
SECRET = Secret(id="s1", spec=SecretSpec(name="key", data=b"1"))


def spec(name: str = "web", image: str = "web:1", *, port: int = 0, needs: str = "", **other: object) -> ServiceSpec:
    secrets = (SecretReference(file=FileTarget(name="key"), secret_id="s1", secret_name="key"),)
    container = ContainerSpec(image=image, secrets=secrets if needs == "secret" else ())
    networks = (NetworkAttachmentConfig(target="n1"),) if needs == "network" else ()
    return ServiceSpec(
        name=name,
        task_template=TaskSpec(container_spec=container, networks=networks),
        endpoint_spec=EndpointSpec(ports=(PortConfig(target_port=80, published_port=port),) if port else ()),
        **other,  # type: ignore[arg-type]
    )


class Changing(World):
    """A cluster in which `web` is being updated from `before` to another image, which needs nothing."""

    def __init__(self, before: ServiceSpec, *there: StoredObject) -> None:
        super().__init__()
        self.put(*there)
        self.add(before)
        updating = UpdateStatus(state=UpdateState.UPDATING, started_at=self.now)
        self.put(replace(self.changed(spec(image="web:2")), update_status=updating))

    @property
    def web(self) -> Service:
        (service,) = self.tables.services.named("web")
        return service

    def add(self, wanted: ServiceSpec) -> None:
        self.put(new_service(self.tables, f"{wanted.name}-id", wanted, self.now))

    def changed(self, wanted: ServiceSpec) -> Service:
        return change_spec(self.tables, self.web, wanted, self.now)[0]


WAYS: dict[str, Callable[[Changing], Service]] = {
    "by hand": lambda world: roll_back(world.tables, world.web, 0, world.now),
    "to a revision": lambda world: roll_back(world.tables, world.web, 1, world.now),
    "aborted": lambda world: abort_update(world.tables, world.web, world.now),
    "failed": lambda world: undo_update(world.tables, world.web, world.now, TasksFailed(task="t1", failed=1, of=1)),
    "as a change": lambda world: world.changed(world.web.previous_spec or spec()),
}
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


@ways
def test_what_is_possible_comes_back(way: Callable[[Changing], Service]) -> None:
    world = Changing(spec(port=8080))
    back = way(world)
    assert back.spec == world.web.previous_spec
    assert back.spec_version == world.tables.index + 1
    assert back.revision == 3


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("by hand", Requested(action=Action.ROLLBACK)),
        ("to a revision", Requested(action=Action.ROLLBACK, revision=1)),
        ("aborted", Requested(action=Action.ABORT)),
        ("failed", TasksFailed(task="t1", failed=1, of=1)),
    ],
)
def test_a_rollback_says_why_and_to_which_revision(way: str, reason: Reason) -> None:
    world = Changing(spec())
    back = WAYS[way](world)
    started = UpdateStatus(state=UpdateState.ROLLBACK_STARTED, started_at=world.now, reason=reason, returns_to=1)
    assert back.update_status == started


@ways
def test_a_port_that_another_service_now_has_is_not_restored(way: Callable[[Changing], Service]) -> None:
    world = Changing(spec(port=8080))
    world.add(spec("other", port=8080))
    with pytest.raises(InvalidArgument, match=r"port '8080' is already in use by service 'other'"):
        way(world)


@ways
@pytest.mark.parametrize(
    ("needs", "there", "words"),
    [("network", NETWORK, "network n1 does not exist"), ("secret", SECRET, r"secret (not found: )?key")],
)
def test_what_is_gone_does_not_come_back(
    way: Callable[[Changing], Service], needs: str, there: StoredObject, words: str
) -> None:
    world = Changing(spec(needs=needs), there)
    world.remove(there)
    with pytest.raises(SwarmError, match=words):
        way(world)


@ways
def test_a_dependency_that_would_make_a_cycle_is_not_restored(way: Callable[[Changing], Service]) -> None:
    on_db = {"swarm.x.depends-on": "db=started"}
    db = Service(id="db-id", spec=spec("db"))
    world = Changing(spec(labels=on_db), db)
    world.put(replace(db, spec=spec("db", labels={"swarm.x.depends-on": "web=started"})))
    with pytest.raises(InvalidArgument, match="in a cycle"):
        way(world)


def test_a_dependency_removed_since_does_not_block_a_change() -> None:
    labels = {"swarm.x.depends-on": "db=started"}
    db = Service(id="db-id", spec=spec("db"))
    world = World()
    world.put(db)
    web = new_service(world.tables, "web-id", spec(labels=labels), world.now)
    world.put(web)
    world.remove(db)
    changed, _ = change_spec(world.tables, web, spec(image="web:2", labels=labels), world.now)
    assert changed.spec.task_template.container_spec is not None
    assert changed.spec.task_template.container_spec.image == "web:2"


def after(name: str, condition: str = "started") -> dict[str, str]:
    return {"swarm.x.depends-on": f"{name}={condition}"}


def test_a_chain_of_services_is_not_walked_for_each_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is deployed in the order of its dependencies is checked in a time that grows with it, not its square."""
    walks: list[str] = []
    monkeypatch.setattr(start_order, "cycle", lambda _, name: walks.append(name) or ())
    world = World()
    for number in range(5):
        labels = after(f"s{number - 1}") if number else {}
        made = new_service(world.tables, f"id{number}", replace(spec(labels=labels), name=f"s{number}"), world.now)
        world.put(made)
    change_spec(world.tables, made, replace(made.spec, labels=after("s3", "healthy")), world.now)
    assert walks == []


def test_a_cycle_is_found_whoever_closes_it() -> None:
    world = World()
    first = new_service(world.tables, "a", replace(spec(), name="a"), world.now)
    world.put(first)
    world.put(new_service(world.tables, "b", replace(spec(labels=after("a")), name="b"), world.now))
    with pytest.raises(InvalidArgument, match="in a cycle: a → b → a"):
        change_spec(world.tables, first, replace(first.spec, labels=after("b")), world.now)
    with pytest.raises(InvalidArgument, match="in a cycle: a → a"):
        change_spec(world.tables, first, replace(first.spec, labels=after("a")), world.now)
    world.remove(first)
    with pytest.raises(InvalidArgument, match="in a cycle: a → b → a"):
        new_service(world.tables, "a2", replace(spec(labels=after("b")), name="a"), world.now)


@pytest.mark.parametrize("state", ["", "completed", "rollback_started", "rollback_paused", "rollback_completed"])
def test_only_an_update_under_way_is_aborted(state: str) -> None:
    world = Changing(spec())
    world.put(replace(world.web, update_status=UpdateStatus(state=UpdateState(state)) if state else None))
    with pytest.raises(FailedPrecondition, match="nothing to abort"):
        abort_update(world.tables, world.web, world.now)
