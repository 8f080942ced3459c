"""The digests of a stack's images: asked for together, told of in turn."""

import asyncio
from typing import Any

import pytest

from common.errors import InvalidArgument
from common.model.container import ContainerSpec
from common.model.service import Platform, ServiceSpec, TaskSpec
from manager.cli.compose import Stack
from manager.cli.failures import ApiError
from manager.cli.image.pins import AT_ONCE, Pins, pin
from manager.cli.stack.deploy import DeployOptions, deploy, line_of, services_that_run
from manager.cli.stack.plan import plan

DIGEST = "sha256:" + "a" * 64


class Registry:
    """A client of an API that answers for images once `open`; it keeps what was asked and what was sent."""

    def __init__(self, *, missing: tuple[str, ...] = ()) -> None:
        self.open = asyncio.Event()
        self.missing = missing
        self.asked: list[str] = []
        self.now = 0
        self.full = asyncio.Event()
        self.sent: list[str] = []

    async def get(self, path: str, params: Any = None, *, headers: Any = None) -> Any:
        if not path.startswith("/distribution/"):
            return []
        image = path.removeprefix("/distribution/").removesuffix("/json")
        self.asked.append(image)
        self.now += 1
        if self.now == AT_ONCE:
            self.full.set()
        try:
            await self.open.wait()
        finally:
            self.now -= 1
        if image in self.missing:
            raise ApiError(404, f"no {image}")
        platforms = [{"architecture": "amd64", "os": "linux"}]
        return {"Descriptor": {"digest": DIGEST}, "Platforms": platforms}

    async def post(self, path: str, body: Any = None, params: Any = None, *, headers: Any = None) -> Any:
        specs = [each["Spec"] for each in body["Services"]]
        self.sent += [spec["TaskTemplate"]["ContainerSpec"]["Image"] for spec in specs]
        names = [spec["Name"] for spec in specs]
        done = [{"Action": "create", "Kind": "service", "Name": name, "ID": name} for name in names]
        return {"Done": done, "Warnings": None}


def service(name: str, image: str) -> ServiceSpec:
    return ServiceSpec(name=name, task_template=TaskSpec(container_spec=ContainerSpec(image=image)))


def stack(**images: str) -> Stack:
    return Stack(name="shop", services={name: service(f"shop_{name}", image) for name, image in images.items()})


def image(spec: ServiceSpec) -> str:
    assert spec.task_template.container_spec is not None
    return spec.task_template.container_spec.image


@pytest.fixture(autouse=True)
def nobody_is_logged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))


async def test_many_images_are_asked_for_at_a_time_and_no_more() -> None:
    registry: Any = Registry()
    specs = [service(f"s{number}", f"web:{number}") for number in range(AT_ONCE + 3)]
    async with Pins(registry, specs) as pins:
        await registry.full.wait()
        assert registry.asked == [f"web:{number}" for number in range(AT_ONCE)]
        registry.open.set()
        made = [await pins.pinned(spec) for spec in specs]
    assert [image(spec) for spec in made] == [f"web:{number}@{DIGEST}" for number in range(AT_ONCE + 3)]
    assert made[0].task_template.placement.platforms == (Platform(architecture="amd64", os="linux"),)


async def test_an_image_of_several_services_is_asked_for_once() -> None:
    registry: Any = Registry()
    registry.open.set()
    specs = [service("a", "web:1"), service("b", "web:1"), service("c", f"web:1@{DIGEST}")]
    async with Pins(registry, specs) as pins:
        assert [image(await pins.pinned(spec)) for spec in specs] == [f"web:1@{DIGEST}"] * 3
    assert registry.asked == ["web:1"]


async def test_an_image_of_several_services_is_warned_of_once() -> None:
    registry: Any = Registry(missing=("web:1",))
    registry.open.set()
    specs = [service("a", "web:1"), service("b", "web:1")]
    told: list[str] = []
    async with Pins(registry, specs, told.append) as pins:
        assert [await pins.pinned(spec) for spec in specs] == specs
    assert [warning.partition(" could not")[0] for warning in told] == ["image web:1"]


async def test_what_is_not_needed_any_more_is_given_up() -> None:
    registry: Any = Registry()
    with pytest.raises(InvalidArgument, match="invalid reference format"):
        async with Pins(registry, [service("a", "web:1"), service("b", "Web")]) as pins:
            await pins.pinned(service("b", "Web"))
    assert (registry.asked, registry.now) == (["web:1"], 0)


async def test_a_registry_without_the_image_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    registry: Any = Registry(missing=("web:1",))
    registry.open.set()
    spec = service("a", "web:1")
    assert (await pin(registry, "web:1", "")).applied(spec) == spec
    assert "image web:1 could not be accessed on a registry" in capsys.readouterr().err


async def test_a_deploy_sends_nothing_before_it_knows_all_images(capsys: pytest.CaptureFixture[str]) -> None:
    registry: Any = Registry(missing=("c:1",))
    registry.open.set()
    done = await deploy(registry, stack(a="a:1", b="B", c="c:1"), DeployOptions("never"))
    assert list(services_that_run(done)) == ["shop_a", "shop_b", "shop_c"]
    assert (registry.asked, registry.sent) == ([], ["a:1", "B", "c:1"])
    capsys.readouterr()

    registry.sent.clear()
    with pytest.raises(InvalidArgument, match="'D'"):
        await deploy(registry, stack(a="a:1", c="c:1", d="D", e="e:1"), DeployOptions())
    assert (registry.sent, capsys.readouterr().out) == ([], "")

    done = await deploy(registry, stack(a="a:1", c="c:1", e="e:1"), DeployOptions())
    told = capsys.readouterr()
    assert [line_of(each) for each in done] == [f"Creating service shop_{name}" for name in "ace"]
    assert told.err.count("could not be accessed") == told.err.count("image c:1") == 1
    assert registry.sent == [f"a:1@{DIGEST}", "c:1", f"e:1@{DIGEST}"]


async def test_a_plan_asks_for_no_image_of_a_service_that_is_new() -> None:
    registry: Any = Registry()
    assert [step.name for step in await plan(registry, stack(a="a:1"), DeployOptions())] == ["shop_a"]
    assert registry.asked == []
