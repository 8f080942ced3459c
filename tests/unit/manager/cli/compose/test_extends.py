"""Services that begin as others: of the same file, of further ones, and what of the two counts."""

from typing import Any

import pytest

from manager.cli.compose import ComposeError
from manager.cli.compose import extends as module
from tests.unit.manager.cli.compose.loading import Files, loaded

BASE = "services:\n  base:\n    image: base\n"


def web(own: str, base: str = "", **files: str) -> dict[str, Any]:
    """Load a service that extends `base` of the same file."""
    text = f"services: {{base: {{image: base, {base}}}, web: {{extends: base, {own}}}}}"
    return loaded(text, files=Files(**{name: each.encode() for name, each in files.items()})).services["web"]


def refused(text: str, **files: str) -> list[str]:
    with pytest.raises(ComposeError) as caught:
        loaded(text, files=Files(**{name: each.encode() for name, each in files.items()}))
    return str(caught.value).splitlines()


def test_a_service_has_what_it_does_not_say_from_its_base() -> None:
    assert web("hostname: w", "hostname: b, user: u") == {"hostname": "w", "image": "base", "user": "u"}


def test_bases_may_extend_others() -> None:
    text = "services: {a: {extends: b, user: a}, b: {extends: {service: c}, hostname: b}, c: {image: c, user: c}}"
    services = loaded(text).services
    assert services["a"] == {"hostname": "b", "image": "c", "user": "a"}
    assert services["b"] == {"hostname": "b", "image": "c", "user": "c"}


DNSRR = "deploy: {endpoint_mode: dnsrr}"
HEALTHY = "depends_on: {b: {condition: service_healthy}}"
PORTS = [
    {"mode": "ingress", "target": 53, "published": 53, "protocol": "udp"},
    {"mode": "ingress", "target": 81, "published": 80, "protocol": "tcp"},
]


@pytest.mark.parametrize(
    ("base", "own", "merged"),
    [
        ("command: [a, b]", "command: [c]", {"command": ["c"]}),
        ("command: [a, b]", "command: []", {}),
        ("cap_add: [A, B]", "cap_add: [B, C]", {"cap_add": ["A", "B", "C"]}),
        ("cap_add: [A]", "cap_add: []", {"cap_add": ["A"]}),
        ("labels: {a: 1, b: 2}", "labels: [b=3]", {"labels": {"a": "1", "b": "3"}}),
        ("environment: {A: a, B: b}", "environment: [A=, C=c]", {"environment": {"A": "", "B": "b", "C": "c"}}),
        ("privileged: true", "privileged: false", {}),
        ("init: true", "init: false", {"init": False}),
        ("hostname: b", "hostname: ''", {}),
        ("deploy: {replicas: 3}", "deploy: {replicas: 0}", {"deploy": {"replicas": 0}}),
        ("deploy: {replicas: 3}", DNSRR, {"deploy": {"endpoint_mode": "dnsrr", "replicas": 3}}),
        ("healthcheck: {disable: true}", "healthcheck: {disable: false, retries: 0}", {"healthcheck": {"retries": 0}}),
        ("depends_on: [a]", HEALTHY, {"depends_on": {"a": {}, "b": {"condition": "service_healthy"}}}),
        (
            "networks: {n: {aliases: [a]}, m: }",
            "networks: {n: {aliases: [b]}}",
            {"networks": {"m": None, "n": {"aliases": ["a", "b"]}}},
        ),
        ("networks: {n: {aliases: [a]}}", "networks: [n]", {"networks": {"n": {"aliases": ["a"]}}}),
        ("logging: {driver: a, options: {o: p}}", "logging: {driver: b}", {"logging": {"driver": "b"}}),
        ("ports: ['80:80', '53:53/udp']", "ports: ['80:81']", {"ports": PORTS}),
        ("volumes: [a:/a]", "volumes: [b:/a]", {"volumes": [{"type": "volume", "source": "b", "target": "/a"}]}),
        ("ulimits: {n: 1}", "ulimits: {n: {soft: 1, hard: 0}}", {"ulimits": {"n": {"soft": 1, "hard": 0}}}),
    ],
)
def test_base_and_own_are_merged_as_compose_does(base: str, own: str, merged: dict[str, Any]) -> None:
    assert web(own, base) == {"image": "base", **merged}


def test_variables_of_both_win_over_those_of_files() -> None:
    """The files of both come first, whichever of the two names them."""
    files = {"base.env": "A=base\nB=base\nC=base\n", "own.env": "A=own\nB=own\n"}
    found = web("env_file: own.env", "env_file: base.env, environment: {B: said}", **files)
    assert found["environment"] == {"A": "own", "B": "said", "C": "base"}


COMMON = b"""
services:
  root:
    env_file: [root.env, {path: gone.env, required: false}]
    build: ./ctx
    volumes: [./data:/d, ~/h:/h, n:/n, /a:/a]
  mid: {extends: root, image: mid}
  out: {extends: {service: far, file: ../far.yml}}
"""
FAR = b"services: {far: {image: far, build: .}}"


def test_paths_of_a_further_file_start_there() -> None:
    files = Files(**{"base/common.yml": COMMON, "base/root.env": b"A=1\n", "far.yml": FAR})
    text = """
services:
  web: {extends: {file: base/common.yml, service: mid}}
  out: {extends: {file: ./base/common.yml, service: out}}
volumes: {n: }
"""
    services = loaded(text, env={"HOME": "/home"}, files=files).services
    web = services["web"]
    assert web["environment"] == {"A": "1"}
    assert web["build"] == {"context": "base/ctx"}
    assert [each["source"] for each in web["volumes"]] == ["/project/base/data", "/home/h", "n", "/a"]
    assert services["out"] == {"build": {"context": "."}, "image": "far"}
    assert files.asked.count("/project/base/common.yml") == 1


def test_variables_in_a_further_file_are_filled_in() -> None:
    files = Files(**{"b.yml": b"services: {b: {image: 'b:$TAG', hostname: $NONE}}"})
    config = loaded("services: {web: {extends: {service: b, file: b.yml}}}", env={"TAG": "1"}, files=files)
    assert config.services["web"]["image"] == "b:1"
    assert config.warnings == (
        "/project/b.yml:1:33: services.b.hostname: the variable NONE is not set and counts as empty",
    )


def test_a_later_file_is_over_what_was_extended() -> None:
    config = loaded("services: {a: {image: a, user: a}, b: {extends: a}}", "services: {b: {image: b}}")
    assert config.services["b"] == {"image": "b", "user": "a"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("services: {a: {extends: b}}", "1.yaml:1:16: services.a.extends: there is no service b in 1.yaml"),
        ("services: {a: {extends: a}}", "1.yaml:1:16: services.a.extends: extends itself: a → a"),
        (
            "services: {a: {extends: b}, b: {extends: a}}",
            "1.yaml:1:33: services.b.extends: extends itself: a → b → a",
        ),
        (
            "services: {a: {extends: {service: b, file: gone.yml}}}",
            "1.yaml:1:38: services.a.extends.file: cannot read /project/gone.yml: No such file or directory",
        ),
        (
            "services: {a: {extends: {service: c, file: b.yml}}}",
            "1.yaml:1:16: services.a.extends: there is no service c in /project/b.yml",
        ),
        (
            "services: {a: {extends: {service: b, file: bad.yml}}}",
            '/project/bad.yml:1:16: services.b.imag: unknown key; did you mean "image"?',
        ),
        (
            "services: {a: {extends: {service: b, file: 'oci://r/b'}}}",
            "1.yaml:1:38: services.a.extends.file: oci://r/b is not a file on this host: fetch it, and name the file",
        ),
        ("services: {a: {extends: {file: b.yml}}}", '1.yaml:1:16: services.a.extends: the key "service" is missing'),
        (
            "services: {a: {extends: [b]}}",
            "1.yaml:1:16: services.a.extends: expected the name of a service, or a mapping, got a list",
        ),
    ],
)
def test_what_cannot_be_extended_is_told_with_its_place(text: str, problem: str) -> None:
    files = {"b.yml": "services: {b: {image: b}}", "bad.yml": "services: {b: {imag: b}}"}
    assert refused(text, **files) == [problem]


def test_a_circle_through_files_is_told() -> None:
    other = "services: {b: {extends: {service: c, file: o.yml}}, c: {extends: b}}"
    problems = refused("services: {a: {extends: {service: b, file: o.yml}}}", **{"o.yml": other})
    assert problems == ["/project/o.yml:1:57: services.c.extends: extends itself: a → b → c → b"]


def test_a_long_chain_is_refused() -> None:
    links = ", ".join(f"s{number}: {{extends: s{number + 1}}}" for number in range(60))
    assert "too many steps: s0 → s1" in refused(f"services: {{{links}, s60: {{image: a}}}}")[0]


def test_what_multiplies_a_large_service_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_PLACES", 10)
    base = "base: {image: a, dns: [a, b, c]}"
    assert loaded(f"services: {{{base}, a: {{extends: base}}}}").services["a"]["image"] == "a"
    found = refused(f"services: {{{base}, a: {{extends: base}}, b: {{extends: base}}}}")
    assert found[0].endswith("the services that are extended have more than 10 values together")


def test_a_problem_in_what_was_extended_points_there() -> None:
    """An unreadable env file is noticed only after the two were merged."""
    files = {"b.yml": BASE + "    env_file: gone.env\n"}
    text = "services:\n  web:\n    extends: {service: base, file: b.yml}\n"
    assert refused(text, **files)[0].startswith(
        "/project/b.yml:4:5: services.web.env_file: cannot read /project/gone.env"
    )


def test_items_of_merged_lists_point_at_the_list() -> None:
    text = BASE + "    volumes: [a:/a]\n  web:\n    extends: base\n    volumes: [./x:/b, './y:/c']\nvolumes: {a: }\n"
    config = loaded(text)
    assert str(config.positions["services", "web", "volumes"]) == "1.yaml:7:5"
    assert ("services", "web", "volumes", 1) not in config.positions
    assert str(config.positions["services", "web", "image"]) == "1.yaml:3:5"
