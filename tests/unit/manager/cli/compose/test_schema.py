"""What compose files may say: keys, their versions, and the values that they take."""

import pytest

from manager.cli.compose import ComposeError
from tests.unit.manager.cli.compose.loading import WEB, loaded, refusal


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("volumes: [{type: bind, source: /x, target: ''}]", 'volumes[0]: the key "target" is empty'),
        ("secrets: [{source: ''}]", 'secrets[0]: the key "source" is empty'),
        ("devices: [{source: ''}]", 'devices[0]: the key "source" is empty'),
    ],
)
def test_a_key_that_must_be_there_must_say_something(line: str, problem: str) -> None:
    found = refusal(f"{WEB}    {line}\n")
    assert len(found) == 1
    assert found[0].endswith(f"services.web.{problem}")


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("", "3.13"),
        ("version: '3'\n", "3.13"),
        ("version: ''\n", "3.13"),
        ("version: '3.0'\n", "3.0"),
        ("version: '3.13'\n", "3.13"),
    ],
)
def test_versions(line: str, version: str) -> None:
    assert loaded(line + WEB).version == version


@pytest.mark.parametrize("version", ["3.8", "'3.14'", "'2.0'", "'1'", "[3]", "'3.x'", "null"])
def test_versions_that_do_not_exist(version: str) -> None:
    assert "expected a version in quotes" in refusal(f"version: {version}\n" + WEB)[0]


@pytest.mark.parametrize(
    ("since", "keys"),
    [
        (1, "secrets: [s]"),
        (3, "configs: [c]"),
        (4, "healthcheck: {start_period: 1s}"),
        (7, "init: true"),
        (7, "deploy: {rollback_config: {parallelism: 1}}"),
        (8, "deploy: {placement: {max_replicas_per_node: 1}}"),
        (9, "deploy: {resources: {limits: {pids: 1}}}"),
        (12, "healthcheck: {start_interval: 1s}"),
        (13, "oom_score_adj: 1"),
    ],
)
def test_a_key_needs_the_version_that_brought_it(since: int, keys: str) -> None:
    text = f"{WEB}    {keys}\n"
    assert loaded(f"version: '3.{since}'\n{text}").version == f"3.{since}"
    assert f"needs version 3.{since} or later" in refusal(f"version: '3.{since - 1}'\n{text}")[0]


def test_a_variable_may_be_a_number_or_boolean_unless_quoted() -> None:
    text = (
        "services: {web: {image: a, tty: '${T}', deploy: {replicas: '${N}', update_config: {max_failure_ratio: $R}}}}"
    )
    web = loaded(text, env={"T": "on", "N": "3", "R": ".5"}).services["web"]
    assert web["tty"] is True
    assert web["deploy"]["replicas"] == 3
    assert web["deploy"]["update_config"]["max_failure_ratio"] == 0.5
    assert "got the string" in refusal(WEB + "    tty: 'on'\n")[0]
    assert loaded(text, env={"T": "on", "N": "03", "R": ".5"}).services["web"]["deploy"]["replicas"] == 3
    with pytest.raises(ComposeError, match="expected a whole number"):
        loaded(text, env={"T": "on", "N": "3.5", "R": ".5"})


def test_a_number_may_be_in_quotes_unless_it_may_be_octal() -> None:
    """`docker compose config` writes ports, sizes and counts in quotes, and CPUs without."""
    assert loaded(WEB + "    deploy: {replicas: '3'}\n").services["web"]["deploy"]["replicas"] == 3
    limited = loaded(WEB + "    deploy: {resources: {limits: {cpus: 0.5}}}\n").services["web"]["deploy"]
    assert limited["resources"]["limits"]["cpus"] == "0.5"
    for other in ("'0440'", "'3.0'", "'-1'", "' 3'", "''"):
        assert "expected a whole number" in refusal(f"{WEB}    deploy: {{replicas: {other}}}\n")[0]
    assert "(without quotes)" in refusal(WEB + "    deploy: {replicas: '03'}\n")[0]
    assert "a number of CPUs" in refusal(WEB + "    deploy: {resources: {limits: {cpus: true}}}\n")[0]


@pytest.mark.parametrize(
    "line",
    [
        "deploy: {replicas: .inf}",
        "deploy: {replicas: .nan}",
        "deploy: {replicas: -1}",
        "deploy: {update_config: {max_failure_ratio: .nan}}",
        "environment: {A: .inf}",
        "ulimits: {nofile: .inf}",
        "ports: [{target: .nan}]",
        "ports: [{target: 65536}]",
    ],
)
def test_numbers_that_are_none(line: str) -> None:
    assert "expected " in refusal(f"{WEB}    {line}\n")[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{WEB}    replicas: 2\n", "services.web.replicas: not supported in a stack: write deploy.replicas"),
        (f"{WEB}    update_config: {{}}\n", "write deploy.update_config"),
        (
            f"{WEB}    env_file: [{{path: web.env, format: json}}]\n",
            'env_file[0].format: expected "raw", got the string "json"',
        ),
        (
            f"{WEB}secrets: {{s: {{content: x}}}}\n",
            "secrets.s.content: not supported in a stack: a secret is not for this file",
        ),
    ],
)
def test_what_compose_accepts_elsewhere_is_refused_with_advice(text: str, words: str) -> None:
    found = refusal(text)
    assert len(found) == 1
    assert words in found[0]
