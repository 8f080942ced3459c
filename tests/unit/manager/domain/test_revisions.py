from __future__ import annotations

from common.model import Service
from common.model.service import Replicated, ServiceMode, ServiceSpec, TaskSpec
from manager.domain import revisions
from tests.fakes.world import replace, template


def spec(image: str, replicas: int = 1) -> ServiceSpec:
    return ServiceSpec(
        name="web", task_template=template(image), mode=ServiceMode(replicated=Replicated(replicas=replicas))
    )


def test_a_change_keeps_what_was_under_its_number() -> None:
    service = revisions.with_spec(Service(id="s", spec=spec("web:1")), spec("web:2"), 7.0)
    assert (service.revision, service.previous_spec) == (2, spec("web:1"))
    assert [(past.revision, past.spec, past.replaced_at) for past in service.history] == [(1, spec("web:1"), 7.0)]


def test_scaling_makes_no_revision_but_is_what_a_rollback_undoes() -> None:
    service = revisions.with_spec(Service(id="s", spec=spec("web:1")), spec("web:1", 5), 7.0)
    assert (service.revision, service.history, service.previous_spec) == (1, (), spec("web:1"))


def test_ten_are_kept_and_the_oldest_go() -> None:
    service = Service(id="s", spec=spec("web:0"))
    for number in range(1, 15):
        service = revisions.with_spec(service, spec(f"web:{number}"), float(number))
    assert [past.revision for past in service.history] == list(range(14, 4, -1))
    assert revisions.spec_of_revision(service, 4) is None


def test_a_revision_comes_back_with_the_present_number_of_tasks() -> None:
    service = revisions.with_spec(Service(id="s", spec=spec("web:1", 2)), spec("web:2", 2), 7.0)
    service = replace(service, spec=spec("web:2", 9))
    assert revisions.spec_of_revision(service, 1) == spec("web:1", 9)


def test_tasks_differ_by_template_not_by_labels_or_replicas() -> None:
    assert revisions.tasks_differ(spec("web:1"), spec("web:2"))
    assert not revisions.tasks_differ(spec("web:1"), replace(spec("web:1", 4), labels={"a": "b"}))
    assert revisions.tasks_differ(spec("web:1"), replace(spec("web:1"), task_template=TaskSpec()))
