import errno
from typing import Any

import pytest

from manager.cli.compose import ComposeError, ComposeFile, Config, load, render
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


def test_a_list_and_a_mapping_of_dependencies_both_count() -> None:
    one, other = "services: {a: {depends_on: [b]}}", "services: {a: {depends_on: {c: {required: false}}}}"
    assert loaded(one, other).services["a"]["depends_on"] == {"b": {}, "c": {"required": False}}
    assert loaded(other, one).services["a"]["depends_on"] == {"b": {}, "c": {"required": False}}


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


# --- profiles ---

DEBUG = """
services:
  web: {image: web, secrets: [both]}
  debug: {image: debug, profiles: [debug, dev], env_file: gone.env, secrets: [both, own], configs: [page]}
secrets:
  both: {file: ./both}
  own: {environment: NOT_SET}
configs:
  page: {file: ./page}
"""


def names(config: Config) -> list[str]:
    return sorted(config.services)


def test_services_of_a_profile_are_left_out_with_a_note() -> None:
    config = loaded(DEBUG)
    assert names(config) == ["web"]
    assert config.skipped == {"debug"}
    (note,) = config.warnings
    assert note.startswith("1.yaml:4:25: services.debug.profiles: the service is not deployed, as no profile of it is ")
    assert note.endswith("chosen: --profile debug or --profile dev or COMPOSE_PROFILES does")


def test_what_only_services_use_that_are_left_out_goes_with_them() -> None:
    config = loaded(DEBUG)
    assert (list(config.secrets), list(config.configs)) == (["both"], [])
    chosen = loaded(DEBUG, env={"COMPOSE_PROFILES": "dev", "NOT_SET": "x"}, files=Files(**{"gone.env": b""}))
    assert (list(chosen.secrets), list(chosen.configs)) == (["both", "own"], ["page"])


def test_a_config_of_a_kept_credential_spec_stays() -> None:
    text = DEBUG.replace("web: {image: web,", "web: {image: web, credential_spec: {config: page},")
    assert list(loaded(text).configs) == ["page"]


@pytest.mark.parametrize(
    ("profiles", "env", "dotenv", "found"),
    [
        (("a",), {}, "", ["a", "ab", "none"]),
        (("b",), {}, "", ["ab", "none"]),
        (("*",), {}, "", ["a", "ab", "none"]),
        (("c", "a"), {}, "", ["a", "ab", "none"]),
        ((), {"COMPOSE_PROFILES": " c , b"}, "", ["ab", "none"]),
        ((), {}, "COMPOSE_PROFILES=b", ["ab", "none"]),
        ((), {"COMPOSE_PROFILES": ""}, "COMPOSE_PROFILES=b", ["none"]),
        (("c",), {"COMPOSE_PROFILES": "a,b"}, "", ["none"]),
    ],
)
def test_profiles_are_chosen_as_in_compose(
    profiles: tuple[str, ...], env: dict[str, str], dotenv: str, found: list[str]
) -> None:
    text = "services: {none: {image: n}, a: {image: a, profiles: [a]}, ab: {image: a, profiles: [a, b]}}"
    files = Files(**{".env": dotenv.encode()})
    assert names(load([ComposeFile("f", text)], env, files, "/project", profiles=profiles)) == found


def test_profiles_of_several_files_and_of_bases_add_up() -> None:
    base = "services: {a: {image: a, profiles: [one]}, b: {extends: a, profiles: [two]}}"
    over = "services: {a: {profiles: [three]}}"
    for profile, found in (("one", ["a", "b"]), ("two", ["b"]), ("three", ["a"])):
        assert names(loaded(base, over, env={"COMPOSE_PROFILES": profile})) == found


def test_what_is_printed_deploys_without_a_choice() -> None:
    files = Files(**{"gone.env": b""})
    text = render(loaded(DEBUG, env={"COMPOSE_PROFILES": "*", "NOT_SET": ""}, files=files))
    assert "profiles" not in text
    assert names(loaded(text, env={"NOT_SET": ""}, files=files)) == ["debug", "web"]


# --- include ---


def including(text: str, env: Any = None, **files: str) -> Config:
    return loaded(text, env=env, files=Files(**{name: each.encode() for name, each in files.items()}))


def refused(text: str, **files: str) -> list[str]:
    with pytest.raises(ComposeError) as caught:
        including(text, **files)
    return str(caught.value).splitlines()


def test_an_included_file_is_a_project_of_its_own() -> None:
    db = """
name: inner
services: {db: {image: "db:$TAG-$OWN", env_file: db.env, build: ., volumes: [./data:/d], configs: [c]}}
configs: {c: {file: ./c.conf}}
networks: {back: }
"""
    files = {"inc/db.yml": db, "inc/.env": "TAG=inner\nOWN=inner\n", ".env": "TAG=outer\n", "inc/db.env": "A=$B\n"}
    config = including("include: [inc/db.yml]\nservices: {web: {image: 'web:$TAG$OWN', depends_on: [db]}}", **files)
    db = config.services["db"]
    assert db["image"] == "db:outer-inner"
    assert (db["env_file"], db["environment"], db["build"]) == (["inc/db.env"], {"A": "$B"}, {"context": "inc"})
    assert db["volumes"][0]["source"] == "/project/inc/data"
    assert config.configs["c"]["file"] == "/project/inc/c.conf"
    assert list(config.networks) == ["back"]
    assert config.services["web"]["image"] == "web:outer"
    assert any("the variable OWN is not set" in warning for warning in config.warnings)


def test_an_included_project_has_files_folder_and_variables() -> None:
    text = "include: [{path: [o/a.yml, o/b.yml], project_directory: sub, env_file: [o/1.env, o/2.env]}]"
    a = "services: {a: {image: 'a:$ONE$TWO', volumes: [./d:/d]}}"
    b = "services: {a: {user: b}}"
    config = including(
        text, **{"o/a.yml": a, "o/b.yml": b, "o/1.env": "ONE=1", "o/2.env": "TWO=${ONE}2", "sub/.env": "ONE=x"}
    )
    assert config.services["a"]["image"] == "a:112"
    assert config.services["a"]["user"] == "b"
    assert config.services["a"]["volumes"][0]["source"] == "/project/sub/d"


def test_included_files_include_and_extend_from_their_folder() -> None:
    files = {
        "x/a.yml": "include: [y/b.yml]\nservices: {a: {extends: {file: z/c.yml, service: c}}}",
        "x/y/b.yml": "services: {b: {image: b, volumes: [.:/b]}}",
        "x/z/c.yml": "services: {c: {image: c, volumes: [.:/c]}}",
    }
    services = including("include: [x/a.yml]", **files).services
    assert services["b"]["volumes"][0]["source"] == "/project/x/y"
    assert services["a"]["volumes"][0]["source"] == "/project/x/z"


def test_what_is_included_twice_is_the_same_or_refused() -> None:
    db = "services:\n  db: {image: db}\n"
    files = {"a.yml": "include: [db.yml]", "db.yml": db}
    assert names(including("include: [a.yml, db.yml]", **files)) == ["db"]
    (problem,) = refused("include: [db.yml]\nservices:\n  db: {image: other}\n", **files)
    assert problem.startswith("1.yaml:3:3: services.db: is included from /project/db.yml:2:3, too, where it differs: ")
    assert problem.endswith("change what is included in a further -c file")


def test_a_further_file_changes_what_the_first_includes() -> None:
    files = Files(**{"db.yml": b"services: {db: {image: db, user: u}}"})
    config = loaded("include: [db.yml]", "services: {db: {image: other}}", files=files)
    assert config.services["db"] == {"image": "other", "user": "u"}


def test_profiles_count_in_what_is_included() -> None:
    files = {"db.yml": "services: {db: {image: db, profiles: [p]}}"}
    assert names(including("include: [db.yml]", **files)) == []
    assert names(including("include: [db.yml]", env={"COMPOSE_PROFILES": "p"}, **files)) == ["db"]


@pytest.mark.parametrize(
    ("include", "problem"),
    [
        ("[gone.yml]", "1.yaml:1:11: include[0]: cannot read /project/gone.yml: No such file or directory"),
        ("[me.yml]", "/project/me.yml:1:11: include[0]: includes itself: 1.yaml → /project/me.yml → /project/me.yml"),
        (
            "[https://a.example/a.git]",
            "1.yaml:1:11: include[0]: https://a.example/a.git is not a file on this host: fetch it, and name the file",
        ),
        ("[bad.yml]", '/project/bad.yml:1:1: servces: unknown key; did you mean "services"?'),
        (
            "[{path: a.yml, env_file: e}]",
            "1.yaml:1:25: include[0].env_file: cannot read /project/e: No such file or directory",
        ),
        ("[{env_file: no.env}]", '1.yaml:1:11: include[0]: the key "path" is missing'),
        ("a.yml", '1.yaml:1:1: include: expected a list, got the string "a.yml"'),
    ],
)
def test_what_cannot_be_included_is_told_with_its_place(include: str, problem: str) -> None:
    files = {"me.yml": "include: [me.yml]", "bad.yml": "servces: {}", "a.yml": "services: {}"}
    assert refused(f"include: {include}", **files) == [problem]


def test_files_that_include_each_other_many_times_are_refused() -> None:
    files = {f"{n}.yml": f"include: [{n + 1}.yml, {n + 1}.yml]" for n in range(9)} | {"9.yml": "services: {}"}
    assert "more than 200 files are included" in refused("include: [0.yml]", **files)[0]


def test_a_secrets_variable_has_one_value_in_all_files() -> None:
    secret = "secrets: {%s: {environment: KEY}}"
    files = {"a/c.yml": secret % "a", "a/.env": "KEY=a", "b/c.yml": secret % "b", "b/.env": "KEY=b"}
    assert including("include: [a/c.yml]", **files).variables == {"KEY": "a"}
    assert refused("include: [a/c.yml, b/c.yml]", **files) == [
        "1.yaml:1:20: include[1]: the variable KEY, which makes a secret or config, has another value elsewhere"
    ]


def test_a_secret_of_a_variable_that_is_not_set_is_refused() -> None:
    assert refusal("services: {}\nsecrets: {s: {environment: NONE}}") == [
        "1.yaml:2:15: secrets.s.environment: the variable NONE is not set"
    ]
