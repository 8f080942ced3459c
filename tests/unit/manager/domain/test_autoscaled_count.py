"""The number of tasks of an autoscaled service, when a client says something of it."""

import pytest
from msgspec.structs import replace

from common.errors import FailedPrecondition
from common.model import Service
from common.model.service import STACK_LABEL, Replicated, ServiceMode, ServiceSpec
from common.spec.autoscale import LABEL
from manager.domain.autoscaled_count import fill_in_count, first_count, record_count

LIMITS = {LABEL: "min=2,max=6,cpu=70%"}


def spec(replicas: int | None, labels: dict[str, str] | None = None) -> ServiceSpec:
    mode = ServiceMode(replicated=Replicated(replicas=replicas))
    return ServiceSpec(name="web", mode=mode, labels=LIMITS if labels is None else labels)


def service(replicas: int | None, labels: dict[str, str] | None = None) -> Service:
    return first_count(Service(id="s", spec=spec(replicas, labels)))


def test_a_new_service_has_the_number_asked_for_or_the_least():
    assert service(4).spec.mode.replicas == 4
    assert service(None).spec.mode.replicas == 2


@pytest.mark.parametrize("asked", [1, 7])
def test_a_number_outside_of_the_limits_is_refused(asked):
    with pytest.raises(FailedPrecondition, match=f"between 2 and 6 tasks, {asked} is outside"):
        service(asked)
    with pytest.raises(FailedPrecondition, match=f"between 2 and 6 tasks, {asked} is outside"):
        fill_in_count(service(4), spec(asked), scale=False)


@pytest.mark.parametrize(("before", "limits", "after"), [(4, "min=2,max=6", 4), (4, "min=5,max=6", 5)])
def test_who_names_no_number_or_the_present_one_changes_nothing(before, limits, after):
    for asked in (None, before):
        changed = spec(asked, {LABEL: f"{limits},cpu=70%"})
        filled, warnings = fill_in_count(service(before), changed, scale=False)
        assert (filled.mode.replicas, warnings) == (after, ())


def test_a_stacks_first_number_is_no_wish_to_scale():
    labels = {**LIMITS, STACK_LABEL: "shop"}
    deployed = service(3, labels)
    scaled = replace(deployed, spec=spec(5, labels))
    filled, (warning,) = fill_in_count(scaled, spec(3, labels), scale=False)
    assert filled.mode.replicas == 5
    assert warning == "web keeps 5 tasks: it is autoscaled, and 3 is only its initial number"
    assert fill_in_count(scaled, spec(3, labels), scale=True)[0].mode.replicas == 3
    assert fill_in_count(scaled, spec(4, labels), scale=False)[0].mode.replicas == 4


def test_a_change_of_the_number_is_recorded():
    old = service(3)
    changed = record_count(old, replace(old, spec=spec(5)), spec(5), 9.0)
    status = changed.autoscale_status
    assert status is not None
    assert (status.previous, status.replicas, status.scaled_at, status.by_hand) == (3, 5, 9.0, True)
    assert status.message == "scaled 3 → 5 by hand"


def test_the_number_alone_is_not_another_specification():
    """What a rollback returns to stays as it was."""
    first = spec(2)
    old = replace(service(3), previous_spec=first)
    alone = replace(old, spec=spec(5), previous_spec=old.spec)
    assert record_count(old, alone, spec(5), 9.0).previous_spec is first
    more = replace(alone, spec=replace(spec(5), labels={**LIMITS, "a": "b"}))
    assert record_count(old, more, more.spec, 9.0).previous_spec is old.spec


def test_without_a_policy_there_is_nothing_to_record():
    plain = spec(5, {})
    assert fill_in_count(service(3), plain, scale=False) == (plain, ())
    assert record_count(service(3), replace(service(3), spec=plain), plain, 9.0).autoscale_status is None
