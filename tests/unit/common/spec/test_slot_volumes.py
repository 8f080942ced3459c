"""Which named volumes a slot's tasks share, by name."""

import pytest

from common.model.container import ContainerSpec, Mount, VolumeOptions
from common.model.service import TaskSpec
from common.model.task import Task
from common.spec.slot_volumes import SlotVolume, named_mounts, slot_volumes
from common.spec.volumes import SCOPE_LABEL


def mount(source: str, scope: str = "", kind: str = "volume") -> Mount:
    options = VolumeOptions(labels={SCOPE_LABEL: scope}) if scope else None
    return Mount(type=kind, source=source, target="/d", volume_options=options)


def task(*mounts: Mount, slot: int = 3) -> Task:
    return Task(
        id="t", service_name="db", slot=slot, spec=TaskSpec(container_spec=ContainerSpec(image="i", mounts=mounts))
    )


def test_only_volumes_with_a_name_count() -> None:
    named = mount("data")
    assert list(
        named_mounts(task(named, mount("", kind="volume"), mount("/srv", kind="bind")).spec.container_spec)
    ) == [named]
    assert list(named_mounts(Task(id="t").spec.container_spec)) == []


def test_a_volume_of_scope_slot_has_the_slots_number() -> None:
    assert slot_volumes(task(mount("data", "slot"))) == (SlotVolume("data.3", "slot"),)
    assert slot_volumes(task(mount("data"))) == (SlotVolume("data"),)


@pytest.mark.parametrize("scope", ["node", "shared"])
def test_data_that_no_slot_has_for_itself_binds_none(scope: str) -> None:
    assert slot_volumes(task(mount("data", scope))) == ()


def test_a_global_services_slots_are_nodes() -> None:
    assert slot_volumes(task(mount("data"), slot=0)) == ()


def test_a_name_of_the_slot_is_the_same_for_all_its_tasks() -> None:
    assert slot_volumes(task(mount("d-{{.Task.Slot}}"))) == (SlotVolume("d-3"),)


@pytest.mark.parametrize("source", ["{{.Task.ID}}", "{{.Node.Hostname}}", "{{.Node.ID}}", "{{.No.Such}}", "{{"])
def test_a_name_that_differs_from_task_to_task_binds_none(source: str) -> None:
    assert slot_volumes(task(mount(source))) == ()
