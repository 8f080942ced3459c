"""The builds that a compose file asks for."""

import pytest

from manager.cli.compose import ComposeError, ComposeFile, builds, convert, load


def read(path: str) -> bytes:
    raise FileNotFoundError(2, "no such file", path)


def made(services: str):
    config = load([ComposeFile("f", f"services: {services}")], {}, read, "/project")
    return config, builds(config, "Shop", "/project", {"FROM_HERE": "yes"})


def test_the_short_form_is_a_folder_with_a_default_image_name() -> None:
    config, (build,) = made("{web: {build: ./src}}")
    assert (build.context, build.image, build.required) == ("/project/src", "shop_web", True)
    spec = convert(config, "Shop", read).services["web"]
    assert spec.task_template.container_spec is not None
    assert spec.task_template.container_spec.image == "shop_web:latest"
    assert config.warnings == ()


def test_the_long_form() -> None:
    _, (build,) = made(
        "{web: {image: 'web:1', build: {context: /abs, dockerfile: D, args: [A=1, FROM_HERE, UNSET], target: t,"
        " labels: {a: b}, network: host, cache_from: [x], extra_hosts: ['h:1.2.3.4']}}}"
    )
    assert (build.context, build.dockerfile, build.target, build.network) == ("/abs", "D", "t", "host")
    assert build.args == {"A": "1", "FROM_HERE": "yes"}
    assert (build.labels, build.cache_from, build.extra_hosts) == ({"a": "b"}, ("x",), ("h:1.2.3.4",))
    assert (build.image, build.required) == ("web:1", False)


def test_only_services_with_a_build_are_built() -> None:
    assert made("{web: {image: a}}")[1] == ()


@pytest.mark.parametrize("context", ["https://github.com/a/b.git", "git@host:a/b", "git://x"])
def test_a_context_from_elsewhere_is_refused_where_it_stands(context: str) -> None:
    with pytest.raises(ComposeError, match=r"f:1:\d+: services\.web\.build: the context .* clone it"):
        made(f"{{web: {{build: '{context}'}}}}")
