"""What differs between two specifications, in words, and never a value that may be secret."""

from common.model.container import ContainerSpec
from common.model.service import (
    EndpointSpec,
    Limits,
    PortConfig,
    Replicated,
    Resources,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
)
from manager.overview.spec_changes import spec_changes
from tests.fakes.world import replace

BASE = ServiceSpec(
    name="web",
    mode=ServiceMode(replicated=Replicated(replicas=2)),
    task_template=TaskSpec(container_spec=ContainerSpec(image="web:1", env=("A=1", "SECRET=hunter2"))),
)


def container(**changes: object) -> ServiceSpec:
    template = BASE.task_template
    made = replace(template.container_spec or ContainerSpec(), **changes)
    return replace(BASE, task_template=replace(template, container_spec=made))


def words(new: ServiceSpec, old: ServiceSpec = BASE) -> list[str]:
    return list(spec_changes(old, new))


def test_equal_specifications_differ_in_nothing() -> None:
    assert words(BASE) == []


def test_images_and_replicas_are_told_by_value() -> None:
    assert words(container(image="web:2")) == ["image web:1 → web:2"]
    assert words(replace(BASE, mode=ServiceMode(replicated=Replicated(replicas=5)))) == ["replicas 2 → 5"]


def test_another_digest_of_one_name_is_other_content() -> None:
    digests = ["sha256:" + letter * 64 for letter in "ab"]
    old, new = (container(image=f"web:1@{digest}") for digest in digests)
    assert words(new, old) == ["image web:1, of other content"]


def test_of_environment_variables_only_names_are_told() -> None:
    found = words(container(env=("A=1", "SECRET=other", "NEW=x")))
    assert found == ["environment: NEW, SECRET"]


def test_of_many_names_six_are_told() -> None:
    found = words(container(labels={f"l{number}": "" for number in range(9)}))
    assert found == ["container labels: l0, l1, l2, l3, l4, l5 and 3 more"]


def test_ports_are_told_before_and_after() -> None:
    ports = EndpointSpec(ports=(PortConfig(target_port=80, published_port=8080), PortConfig(target_port=81)))
    assert words(replace(BASE, endpoint_spec=ports)) == ["ports none → 8080:80/tcp, *:81/tcp"]


def test_resources_are_told_in_units_that_people_read() -> None:
    limits = Resources(limits=Limits(nano_cpus=500_000_000, memory_bytes=64 << 20))
    changed = replace(BASE, task_template=replace(BASE.task_template, resources=limits))
    cpu, memory = words(changed)
    assert cpu == "CPU limit 0 → 0.5"
    assert memory.startswith("memory limit 0")
    assert memory.endswith("64MiB")


def test_all_else_is_named_by_its_field() -> None:
    (found,) = words(container(stop_signal="SIGINT", tty=True))
    assert sorted(found.split(", ")) == ["stop signal", "tty"]


def test_force_replaces_tasks() -> None:
    forced = replace(BASE, task_template=replace(BASE.task_template, force_update=1))
    assert words(forced) == ["its tasks are to be replaced"]
