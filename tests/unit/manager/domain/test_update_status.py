"""What is said of an update: each state, reason and remark in the words that Docker's clients and ours show."""

from __future__ import annotations

import msgspec
import pytest

from common.model import Service
from common.model.service import EXTENSION_PREFIX, Replicated, ServiceMode, ServiceSpec
from common.model.update import (
    Action,
    Awaited,
    AwaitsReplicas,
    AwaitsServices,
    CanaryHolds,
    Condition,
    NoProgress,
    Obstacle,
    Requested,
    StopsFirst,
    TaskReplaced,
    TasksFailed,
    UpdateState,
    UpdateStatus,
)
from manager.domain.update_status import after_change, canary_size, halted, message, state_of, waits_for
from tests.fakes.world import replace, template

DB = Awaited(service="db", condition=Condition.HEALTHY)
SHORT = "waits, as no more replicas may be unavailable (max-unavailable)"
FAILED = TasksFailed(task="t1", failed=2, of=5, error="exit 1")
EARLY = "due to failure or early termination of task t1: exit 1"


@pytest.mark.parametrize(
    ("state", "fields", "words"),
    [
        ("", {}, ""),
        ("updating", {}, "update in progress"),
        ("completed", {}, "update completed"),
        ("rollback_started", {}, "rollback in progress"),
        ("rollback_completed", {"reason": FAILED}, f"rollback completed; the update had failed {EARLY}"),
        ("rollback_completed", {"reason": Requested(action=Action.ROLLBACK)}, "rollback completed"),
        ("updating", {"remark": AwaitsServices(services=(DB,))}, "waits for db to be healthy"),
        (
            "updating",
            {"remark": AwaitsReplicas()},
            f"update in progress: {SHORT}",
        ),
        (
            "updating",
            {"remark": TaskReplaced(task="web.1", error="read-only")},
            "update in progress: task web.1 is replaced: read-only",
        ),
        (
            "rollback_started",
            {"reason": FAILED, "remark": StopsFirst(slot="2", error="p")},
            "rollback in progress: slot 2: the new task cannot run beside the old one (p): stopping the old one first",
        ),
        ("paused", {"reason": CanaryHolds(updated=2, of=5)}, "canary: 2 of 5 updated, holding"),
        ("paused", {"reason": Requested(action=Action.PAUSE)}, "paused on request"),
        ("rollback_paused", {"reason": Requested(action=Action.PAUSE, by="ann")}, "paused on request"),
        ("rollback_started", {"reason": Requested(action=Action.ROLLBACK, by="ann")}, "manually requested rollback"),
        (
            "rollback_started",
            {"reason": Requested(action=Action.ROLLBACK, revision=3)},
            "manually requested rollback to revision 3",
        ),
        (
            "rollback_started",
            {"reason": Requested(action=Action.ABORT, by="ann")},
            "update aborted on request",
        ),
        ("paused", {"reason": FAILED}, f"update paused {EARLY}"),
        ("rollback_started", {"reason": FAILED}, f"update rolled back {EARLY}"),
        ("rollback_paused", {"reason": FAILED}, f"rollback paused {EARLY}"),
        ("paused", {"reason": replace(FAILED, error="")}, f"update paused {EARLY.removesuffix(': exit 1')}"),
        (
            "paused",
            {"reason": FAILED, "rollback_refused": "port 80 is taken"},
            f"update paused {EARLY}; it cannot be rolled back: port 80 is taken",
        ),
        (
            "paused",
            {"reason": NoProgress(deadline=90, waits=AwaitsServices(services=(DB,)))},
            "update paused as there was no progress for 90 s: it waits for db to be healthy",
        ),
        (
            "paused",
            {"reason": NoProgress(deadline=0.5, waits=AwaitsReplicas())},
            f"update paused as there was no progress for 0.5 s: it {SHORT}",
        ),
        (
            "rollback_paused",
            {"reason": NoProgress(deadline=90, task="t1", error="pulling")},
            "rollback paused as there was no progress for 90 s: task t1 does not run (pulling)",
        ),
        (
            "paused",
            {"reason": NoProgress(deadline=90, task="t1", renewing=True)},
            "update paused as there was no progress for 90 s: task t1 has not received its new files",
        ),
    ],
)
def test_words(state: str, fields: dict[str, object], words: str) -> None:
    assert message(UpdateStatus(state=UpdateState(state), **fields)) == words  # type: ignore[arg-type]


def test_all_that_is_waited_for_is_named_with_what_is_in_the_way() -> None:
    obstacles = zip("abc", (Obstacle.MISSING, Obstacle.IS_JOB, Obstacle.HAS_COMPLETED), strict=True)
    found = [Awaited(service=name, condition=Condition.HEALTHY, obstacle=each) for name, each in obstacles]
    assert waits_for(found) == (
        "waits for a, which does not exist, and b to be healthy, which a job never is, "
        "and c to be healthy, which has completed instead,"
    )
    assert waits_for([Awaited(service="a", condition=Condition.STARTED)]) == "waits for a to be started"
    assert waits_for([Awaited(service="a", condition=Condition.COMPLETED)]) == "waits for a to complete"
    assert waits_for([]) == ""


def test_an_update_stored_without_a_reason_shows_its_message() -> None:
    """As the store of the version before has it: a sentence, and no data that it was made of."""
    status = {"State": "paused", "StartedAt": 5.0, "Message": "update paused due to failure of task x", "HeldAt": 7.0}
    stored = msgspec.msgpack.encode({"ID": "s1", "Waiting": "waits for db to be healthy", "UpdateStatus": status})
    loaded = msgspec.msgpack.decode(stored, type=Service)
    assert loaded.update_status is not None
    assert message(loaded.update_status) == "update paused due to failure of task x"
    assert (loaded.update_status.state, loaded.update_status.held_at) == (UpdateState.PAUSED, 7.0)
    assert loaded.waits_for == ()


@pytest.mark.parametrize(
    "status",
    [
        UpdateStatus(state=UpdateState.UPDATING, remark=AwaitsServices(services=(DB,))),
        UpdateStatus(state=UpdateState.PAUSED, reason=NoProgress(deadline=90, waits=AwaitsReplicas())),
        UpdateStatus(state=UpdateState.ROLLBACK_STARTED, reason=Requested(action=Action.ABORT, by="x"), returns_to=2),
    ],
)
def test_a_status_is_stored_as_it_is(status: UpdateStatus) -> None:
    service = Service(id="s1", update_status=status, waits_for=(DB,))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(service), type=Service) == service


def test_people_are_told_how_many_tasks_failed_and_not_an_id() -> None:
    reason = TasksFailed(task="t1", failed=2, of=6, error="exit 1")
    paused = UpdateStatus(state=UpdateState.PAUSED, reason=reason)
    assert halted(paused) == "update paused, 2 of 6 tasks failed: exit 1"
    stuck = UpdateStatus(state=UpdateState.PAUSED, reason=reason, rollback_refused="port 80 is taken")
    assert halted(stuck).endswith("; it cannot be rolled back: port 80 is taken")
    stored = UpdateStatus(state=UpdateState.PAUSED, message="as it was told before")
    assert halted(stored) == message(stored)


LABELS = {EXTENSION_PREFIX + "canary": "2"}
SPEC = ServiceSpec(name="web", labels=LABELS, mode=ServiceMode(replicated=Replicated(replicas=5)))


def service(state: UpdateState | None = None, *, promoted: bool = False) -> Service:
    status = UpdateStatus(state=state, promoted=promoted) if state is not None else None
    return Service(id="s", spec=SPEC, update_status=status)


def test_a_service_without_a_status_has_no_update() -> None:
    assert state_of(service()) is UpdateState.NONE
    assert state_of(service(UpdateState.PAUSED)) is UpdateState.PAUSED


@pytest.mark.parametrize(
    ("state", "size"),
    [
        (None, 2),
        (UpdateState.UPDATING, 2),
        (UpdateState.PAUSED, 2),
        (UpdateState.COMPLETED, 0),
        (UpdateState.ROLLBACK_STARTED, 0),
    ],
)
def test_only_an_update_holds_at_its_canary(state: UpdateState | None, size: int) -> None:
    assert canary_size(service(state)) == size


def test_a_promoted_update_may_change_all_slots() -> None:
    assert canary_size(service(UpdateState.UPDATING, promoted=True)) == 0


def test_scaling_does_not_hold_a_promoted_service_again() -> None:
    more = replace(SPEC, mode=ServiceMode(replicated=Replicated(replicas=9)))
    assert after_change(service(UpdateState.COMPLETED), more) == UpdateStatus(promoted=True)
    assert after_change(service(UpdateState.UPDATING), more) is None


def test_other_tasks_begin_an_update_anew() -> None:
    other = replace(SPEC, task_template=template("web:2"))
    assert after_change(service(UpdateState.COMPLETED), other) is None
    assert after_change(service(UpdateState.COMPLETED), replace(SPEC, labels={})) is None
