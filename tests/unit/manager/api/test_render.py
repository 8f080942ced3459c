"""Structs as the engine writes them: what is left out, and what never is."""

import msgspec

from common.model import Service
from common.model.container import ContainerSpec, FileTarget
from common.model.naming import Version
from common.model.secret import SecretSpec
from common.model.service import Replicated, RestartPolicy, ServiceMode, TaskSpec, UpdateConfig
from manager.api.render import JsonCache, head, render


def test_what_is_empty_is_left_out() -> None:
    assert render(ContainerSpec(image="web:1", env=("A=1",))) == {"Image": "web:1", "Env": ["A=1"]}


def test_some_fields_are_there_even_when_they_are_zero() -> None:
    assert render(TaskSpec())["ForceUpdate"] == 0
    assert render(UpdateConfig(parallelism=0))["Parallelism"] == 0
    assert set(render(FileTarget())) == {"Name", "UID", "GID", "Mode"}


def test_a_pointer_is_written_when_it_is_there_zero_or_not() -> None:
    assert render(ServiceMode(replicated=Replicated(replicas=0))) == {"Replicated": {"Replicas": 0}}
    assert render(ServiceMode()) == {}


def test_a_count_that_nobody_gave_is_zero() -> None:
    assert render(RestartPolicy(max_attempts=None))["MaxAttempts"] == 0


def test_bytes_are_base64() -> None:
    assert render(SecretSpec(name="s", data=b"\x00\xff"))["Data"] == "AP8="


def test_every_object_has_its_version_and_times() -> None:
    found = head(Service(id="s", version=Version(index=7), created_at=0.5, updated_at=1.0))
    assert found["ID"] == "s"
    assert found["Version"] == {"Index": 7}
    assert found["CreatedAt"].startswith("1970-01-01T00:00:00.5")


def test_a_shared_part_is_rendered_once() -> None:
    rendered: list[TaskSpec] = []

    def renderer(value: TaskSpec) -> dict[str, object]:
        rendered.append(value)
        return {"n": len(rendered)}

    cache, spec = JsonCache(), TaskSpec()
    assert bytes(cache.get(spec, renderer)) == bytes(cache.get(spec, renderer)) == b'{"n":1}'
    cache.get(TaskSpec(), renderer)
    assert len(rendered) == 2, "another value, though it is equal"


def test_a_full_cache_starts_anew() -> None:
    cache = JsonCache(capacity=2)
    for value in [TaskSpec() for _ in range(3)]:
        cache.get(value, render)
    assert len(cache) == 1
    assert msgspec.json.decode(cache.get(TaskSpec(), render)) == {"ForceUpdate": 0}
