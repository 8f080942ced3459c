"""Changes and decisions as values."""

from common.model import Service
from manager.store.changes import Change, Decision

OLD, NEW = Service(id="s"), Service(id="s", updated_at=1.0)


def test_a_change_is_about_what_is_or_last_was() -> None:
    assert Change(None, NEW).current is NEW
    assert Change(OLD, NEW).current is NEW
    assert Change(OLD, None).current is OLD


def test_a_decision_that_only_waits_changes_nothing() -> None:
    assert not Decision(wake_at={"s": 1.0}, reasons=("waiting",))
    assert Decision(put=(NEW,))
    assert Decision(remove=(OLD,))
