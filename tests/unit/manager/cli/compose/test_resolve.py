"""What compose files take from outside: env files, paths, old spellings."""

import pytest

from manager.cli.compose.resolve import absolute, move_paths
from tests.unit.manager.cli.compose.loading import WEB, Files, loaded, refusal


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


def test_a_long_env_file_is_read_as_compose_reads_it() -> None:
    files = Files(**{"a.env": b'A="a b" # note\nB=$A-${T:-t}\nC\nD\n'})
    config = loaded(WEB + "    env_file: [{path: a.env}]\n", env={"C": "c"}, files=files)
    assert config.services["web"]["environment"] == {"A": "a b", "B": "a b-t", "C": "c"}


def test_a_short_or_raw_env_file_is_read_as_it_stands() -> None:
    files = Files(**{"a.env": b'A="a b" # note\nB=$A\n'})
    for given in ("a.env", "[a.env]", "[{path: a.env, format: raw}]"):
        config = loaded(f"{WEB}    env_file: {given}\n", files=files)
        assert config.services["web"]["environment"] == {"A": '"a b" # note', "B": "$A"}


def test_quotes_that_compose_would_take_off_are_told() -> None:
    files = Files(**{"a.env": b'A="a"\nB=\'b\'\nD=d\nF=""\nG="g"\n'})
    (warning,) = loaded(f"{WEB}    env_file: a.env\n", files=files).warnings
    assert warning.startswith("/project/a.env: A, B, F: the quotes are part of the value, as for docker stack deploy; ")
    for long in ("{path: a.env}", "{path: a.env, format: raw}"):
        assert "quotes are part" not in " ".join(loaded(f"{WEB}    env_file: [{long}]\n", files=files).warnings)


def test_an_env_file_that_is_not_required_may_be_missing() -> None:
    text = f"{WEB}    env_file: [{{path: gone.env, required: false}}, {{path: a.env, required: false}}]\n"
    assert loaded(text, files=Files(**{"a.env": b"A=1"})).services["web"]["environment"] == {"A": "1"}
    wanted = f"{WEB}    env_file: [{{path: gone.env, required: true}}]\n"
    assert refusal(wanted)[0].endswith(
        "services.web.env_file: cannot read /project/gone.env: No such file or directory"
    )


def test_an_env_files_unset_variables_are_warned_of() -> None:
    config = loaded(WEB + "    env_file: [{path: a.env}]\n", files=Files(**{"a.env": b"A=$NONE\n"}))
    assert config.warnings == ("/project/a.env: the variable NONE is not set and counts as empty",)


@pytest.mark.parametrize(
    ("path", "moved"), [("a", "inc/a"), ("./a/../b", "inc/b"), ("../a", "a"), ("/abs/../a", "/abs/../a"), ("", "inc")]
)
def test_relative_paths_are_tidied(path: str, moved: str) -> None:
    assert absolute("inc", path) == moved


def test_paths_are_moved_where_they_are_of_this_host() -> None:
    volumes = [
        {"type": "bind", "source": "./a", "target": "/a"},
        {"type": "bind", "source": "~/a", "target": "/b"},
        {"type": "bind", "source": "C:\\a", "target": "/c"},
        {"type": "volume", "source": "a", "target": "/d"},
    ]
    tree = {
        "services": {
            "web": {"volumes": volumes, "env_file": ["a", {"path": "b"}], "build": {"context": "https://a/b.git"}}
        },
        "secrets": {"s": {"file": "s"}, "t": {"environment": "T"}},
    }
    moved = move_paths(tree, "inc")
    assert [each["source"] for each in moved["services"]["web"]["volumes"]] == ["inc/a", "~/a", "C:\\a", "a"]
    assert moved["services"]["web"]["env_file"] == ["inc/a", {"path": "inc/b"}]
    assert moved["services"]["web"]["build"] == {"context": "https://a/b.git"}
    assert moved["secrets"] == {"s": {"file": "inc/s"}, "t": {"environment": "T"}}
