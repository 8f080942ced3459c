"""What a deploy would change: the comparison of what is there with what is wanted."""

from typing import Any

import pytest

from common.model.container import ContainerSpec, FileTarget, Mount, SecretReference
from common.model.service import (
    EndpointSpec,
    NetworkAttachmentConfig,
    Placement,
    PortConfig,
    Replicated,
    RestartPolicy,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
    UpdateConfig,
)
from manager.cli.compose import ComposeFile, convert, load
from manager.cli.files import digest
from manager.cli.stack.compare import Step, compare_labels, compare_services
from manager.domain.defaults import fill_defaults
from tests.compose_corpus import cases, load_case
from tests.fakes.world import replace

NETWORKS = {"id1": "front"}


def spec(container: dict[str, Any] | None = None, **other: Any) -> ServiceSpec:
    body = ContainerSpec(image="web:1", **(container or {}))
    return ServiceSpec(name="web", task_template=TaskSpec(container_spec=body), **other)


def template(**fields: Any) -> ServiceSpec:
    made = spec()
    return replace(made, task_template=replace(made.task_template, **fields))


def step(present: ServiceSpec, wanted: ServiceSpec, *renewed: str) -> Step | None:
    return compare_services("web", present, wanted, NETWORKS, frozenset(renewed))


def told(present: ServiceSpec, wanted: ServiceSpec, *renewed: str) -> list[str]:
    found = step(present, wanted, *renewed)
    return str(found).splitlines() if found is not None else []


def read(path: str) -> bytes:
    return b"content of " + path.encode()


def nothing(path: str) -> bytes:
    raise FileNotFoundError(2, "No such file", path)


@pytest.mark.parametrize("case", cases("same", "merged"), ids=lambda case: case.name)
def test_what_was_deployed_is_no_change(case: Any) -> None:
    for service in convert(load_case(case), "shop", read).services.values():
        assert step(fill_defaults(service), service) is None


@pytest.mark.parametrize(
    ("present", "wanted"),
    [
        (spec(), spec(update_config=UpdateConfig(), rollback_config=UpdateConfig())),
        (spec(), spec(mode=ServiceMode(replicated=Replicated(replicas=1)), endpoint_spec=EndpointSpec())),
        (spec(), template(restart_policy=RestartPolicy(delay=5 * 10**9))),
        (
            template(networks=(NetworkAttachmentConfig(target="id1", aliases=("b", "a")),)),
            template(networks=(NetworkAttachmentConfig(target="front", aliases=("a", "b")),)),
        ),
        (spec({"env": ("A=1", "B=2")}), spec({"env": ("B=2", "A=1")})),
        (
            spec({"secrets": (SecretReference(secret_id="x", secret_name="k", file=FileTarget(name="k")),)}),
            spec({"secrets": (SecretReference(secret_name="k", file=FileTarget(name="k")),)}),
        ),
    ],
)
def test_what_means_the_same_is_no_change(present: ServiceSpec, wanted: ServiceSpec) -> None:
    assert told(present, wanted) == []
    assert told(fill_defaults(wanted), present) == []


def test_a_change_is_told_field_by_field() -> None:
    present = spec({"env": ("MODE=slow", "OLD=1")}, mode=ServiceMode(replicated=Replicated(replicas=2)))
    wanted = spec({"env": ("MODE=fast", "EMPTY=")}, mode=ServiceMode(replicated=Replicated(replicas=0)))
    assert told(present, wanted) == [
        "~ service web: restarts its tasks",
        "    Mode.Replicated.Replicas: 2 → 0",
        '    TaskTemplate.ContainerSpec.Env.EMPTY: nothing → ""',
        '    TaskTemplate.ContainerSpec.Env.MODE: "slow" → "fast"',
        '    TaskTemplate.ContainerSpec.Env.OLD: "1" → nothing',
    ]


@pytest.mark.parametrize(
    ("wanted", "restarts"),
    [
        (spec(mode=ServiceMode(replicated=Replicated(replicas=3))), False),
        (spec(labels={"a.b": ""}), False),
        (spec(update_config=UpdateConfig(parallelism=0)), False),
        (template(placement=Placement(constraints=("node.role==worker",))), False),
        (spec(endpoint_spec=EndpointSpec(ports=(PortConfig(target_port=80, published_port=80),))), False),
        (
            spec(endpoint_spec=EndpointSpec(ports=(PortConfig(target_port=80, publish_mode="host"),))),
            True,
        ),
        (spec({"args": ("-v",)}), True),
        (spec({"mounts": (Mount(target="/data", source="data"),)}), True),
        (template(force_update=1), True),
    ],
)
def test_it_says_whether_tasks_are_replaced(wanted: ServiceSpec, restarts: bool) -> None:
    for made in (step(spec(), wanted), step(wanted, spec())):
        assert made is not None
        assert made.fields
        assert made.remark == ("restarts its tasks" if restarts else "restarts no task")


def test_new_content_restarts_the_services_that_use_it() -> None:
    uses = spec({"secrets": (SecretReference(secret_name="key", file=FileTarget(name="k")),)})
    assert told(uses, uses, "secret key") == ["~ service web: restarts its tasks for the new content of secret key"]
    assert told(uses, uses, "config key") == []


def test_it_says_where_files_of_running_tasks_change() -> None:
    def using(name: str, how: str, image: str = "web:1", target: str = "k") -> ServiceSpec:
        secrets = (SecretReference(secret_name=name, secret_id=name, file=FileTarget(name=target)),)
        made = spec({"secrets": secrets}, labels={"swarm.x.on-rotate": how})
        container = replace(made.task_template.container_spec, image=image)
        return replace(made, task_template=replace(made.task_template, container_spec=container))

    def remark(present: ServiceSpec, wanted: ServiceSpec, *renewed: str) -> str:
        made = step(present, wanted, *renewed)
        assert made is not None
        return made.remark

    key = using("key", "signal:SIGHUP")
    changes = "changes files of its running tasks and sends SIGHUP"
    assert remark(key, key, "secret key") == f"{changes} for the new content of secret key"
    assert remark(key, using("other", "signal:SIGHUP")) == changes
    assert remark(key, using("other", "file")) == "changes files of its running tasks"
    assert remark(key, using("other", "restart")) == "restarts its tasks"
    assert remark(key, using("other", "file", "web:2")) == "restarts its tasks"
    assert remark(key, using("key", "file", target="elsewhere")) == "restarts its tasks"
    assert remark(key, using("key", "file")) == "restarts no task"


def test_labels_of_the_managers_own_are_no_change() -> None:
    own = {"swarm.x.version": "3", "swarm.x.digest": "x", "stack": "shop"}
    assert compare_labels("secret", "key", own, {"stack": "shop"}, False) is None
    assert compare_labels("secret", "key", own, {"stack": "shop"}, None) is None
    changed = compare_labels("secret", "key", own, {"stack": "blog"}, True)
    assert str(changed) == '~ secret key: new content\n    Labels.stack: "shop" → "blog"'


@pytest.mark.parametrize(("one", "other"), [(b"word", b"words"), (b"\0", b"\0\0"), (b"same", b"same")])
def test_a_digest_tells_contents_apart_and_does_not_show_them(one: bytes, other: bytes) -> None:
    made = digest.make(one)
    assert digest.matches(made, one)
    assert digest.matches(made, other) == (one == other)
    assert digest.make(one) != made, "each has a salt of its own"
    assert digest.with_digest({}, one, made) == {digest.LABEL: made}
    if one != other:
        assert digest.with_digest({}, other, made) != {digest.LABEL: made}


def test_a_stack_is_deployed_in_the_order_of_its_dependencies() -> None:
    from manager.cli.stack.deploy import in_start_order

    text = "services: {a: {image: a, depends_on: [b]}, b: {image: b, depends_on: [c]}, c: {image: c}, d: {image: d}}"
    stack = convert(load([ComposeFile("f", text)], {}, nothing, "/project"), "shop", read)
    assert [each.name for each in in_start_order(stack)] == ["shop_c", "shop_d", "shop_b", "shop_a"]
