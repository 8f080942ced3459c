import errno

import pytest

from manager.cli.compose import ComposeError, ComposeFile, load
from tests.unit.manager.cli.compose.loading import WEB, Files, loaded, refusal


def test_the_environment_wins_and_only_named_files_are_read() -> None:
    files = Files(**{".env": b"A=dotenv\nB=dotenv\n", "v.env": b"C=file\n"})
    config = loaded(
        "services: {web: {image: '$A-$B', env_file: v.env, environment: [B]}}", env={"A": "process"}, files=files
    )
    assert config.services["web"]["image"] == "process-dotenv"
    assert config.services["web"]["environment"] == {"B": "dotenv", "C": "file"}
    assert files.asked == ["/project/.env", "/project/v.env"]


def test_an_unreadable_dotenv_is_an_error_but_not_a_missing_one() -> None:
    def read(path: str) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    with pytest.raises(ComposeError, match=r"^cannot read /project/\.env: Permission denied$"):
        load([ComposeFile("f", WEB)], {}, read, "/project")


def test_all_problems_of_a_file_are_reported_at_once() -> None:
    assert refusal("services:\n  web:\n    image: [a]\n    prots: [80]\n  db:\n    tty: 1\n") == [
        "1.yaml:3:5: services.web.image: expected a string, got a list",
        '1.yaml:4:5: services.web.prots: unknown key; did you mean "ports"?',
        "1.yaml:6:5: services.db.tty: expected true or false, got the number 1",
    ]


def test_the_second_file_is_named_in_its_own_errors() -> None:
    assert refusal(WEB, "services:\n  web:\n    tty: 3\n")[0].startswith("2.yaml:3:5: services.web.tty: ")


def test_a_problem_in_an_anchor_points_at_its_use_or_definition() -> None:
    text = "x-base: &base\n  deploy: {replicas: many}\nservices:\n  web:\n    <<: *base\n    image: web\n"
    assert refusal(text)[0].startswith("1.yaml:2:12: services.web.deploy.replicas: ")


def test_ignored_options_are_named_in_one_warning() -> None:
    config = loaded(
        "services:\n"
        "  a: {image: a, build: ., container_name: x, links: [b], restart: always}\n"
        "  b: {image: b, expose: [80], links: [a], depends_on: [a]}\n"
    )
    assert config.warnings == ("Ignoring options that have no meaning in a stack: container_name, expose, links",)


def test_fixed_addresses_are_named_as_ignored() -> None:
    config = loaded(
        "networks: {n: }\nservices: {web: {image: a, networks: {n: {ipv4_address: 10.0.0.2}}}, b: {image: b}}"
    )
    assert config.warnings == ("Ignoring options that have no meaning in a stack: ipv4_address",)
    assert loaded(WEB).warnings == ()


def test_the_old_spelling_of_external_names_is_deprecated_once() -> None:
    text = "version: '3.8'\n" + WEB + "networks: {n: {external: {name: x}}}\n"
    assert loaded(text, text).warnings == ("network n: external.name is deprecated, use name",)
    assert loaded(text.replace("3.8", "3.4")).warnings == ()


def test_paths_are_taken_from_the_project_directory() -> None:
    config = loaded(
        "services: {web: {image: a, volumes: ['./a/../b:/b', '~/c:/c', '/d/../e:/e']}}\n"
        "secrets: {s: {file: ../s}}\nconfigs: {c: {file: /abs}}\n",
        env={"HOME": "/home/me"},
    )
    assert [volume["source"] for volume in config.services["web"]["volumes"]] == ["/project/b", "/home/me/c", "/d/../e"]
    assert config.secrets["s"]["file"] == "/s"
    assert config.configs["c"]["file"] == "/abs"
    assert "needs the variable HOME" in refusal(WEB + "    volumes: ['~/c:/c']\n")[0]


def test_overrides_find_their_network_and_keep_other_addresses() -> None:
    base = "services: {web: {image: a, networks: {n: {aliases: [a], ipv4_address: 10.0.0.2}, m: }}}"
    over = "services: {web: {networks: {n: {aliases: [b]}, k: {aliases: [c]}}}}"
    assert loaded(base, over).services["web"]["networks"] == {
        "k": {"aliases": ["c"]},
        "m": None,
        "n": {"aliases": ["b"], "ipv4_address": "10.0.0.2"},
    }


def test_depends_on_is_kept_in_both_forms() -> None:
    text = "services: {a: {image: a, depends_on: [b]}, b: {image: b, depends_on: {a: {condition: service_healthy}}}}"
    services = loaded(text).services
    assert services["a"]["depends_on"] == ["b"]
    assert services["b"]["depends_on"] == {"a": {"condition": "service_healthy"}}


def test_extensions_have_a_place_in_services_and_at_the_top() -> None:
    config = loaded("x-swarm-one: {b: yes, a: 1}\nservices: {web: {image: a, x-swarm-two: [1]}}\n")
    assert config.extensions == {"x-swarm-one": {"a": 1, "b": "yes"}}
    assert config.services["web"]["x-swarm-two"] == [1]


def test_no_file_is_an_error() -> None:
    with pytest.raises(ComposeError, match="no compose file was given"):
        load([], {}, Files(), "/project")


def test_each_variable_that_is_not_set_is_warned_of_once() -> None:
    files = Files(**{".env": b"A=$Z\nB=1\n"})
    texts = (f"{WEB}    hostname: $X-$B\n    user: $X$A\n", f"{WEB}    hostname: $X\n    domainname: $Y\n")
    config = loaded(*texts, files=files)
    assert sorted(config.warnings) == [
        "/project/.env: the variable Z is not set and counts as empty",
        "1.yaml:4:5: services.web.hostname: the variable X is not set and counts as empty",
        "2.yaml:5:5: services.web.domainname: the variable Y is not set and counts as empty",
    ]


def test_variables_may_stay_as_they_are_written() -> None:
    text = f"{WEB}    hostname: $X-${{Y:-$$}}$$\n"
    config = load([ComposeFile("f", text)], {}, Files(), "/project", filled_in=False)
    assert config.services["web"]["hostname"] == "$X-${Y:-$$}$$"
    assert not config.warnings
