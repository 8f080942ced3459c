"""How far an update may go, and what of it outlives a change."""

import pytest

from common.model import Service
from common.model.service import EXTENSION_PREFIX, Replicated, ServiceMode, ServiceSpec
from common.model.update import UpdateState, UpdateStatus
from manager.domain.update_status import after_change, canary_size, state_of
from tests.fakes.world import replace, template

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
