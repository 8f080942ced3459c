"""What of docker's own configuration is used: credentials' file, and its user's layouts."""

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from common.errors import InvalidArgument
from manager.cli.docker_config import auth_header, config_path, every_auth, layout_of, load


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return tmp_path / "config.json"


def test_no_file_is_an_empty_one(file: Path) -> None:
    assert config_path() == file
    assert load(file) == {}
    assert layout_of(["ps"]) == ""


def test_a_layout_is_found_by_the_words_of_the_command(file: Path) -> None:
    file.write_text('{"servicesFormat": "{{.Name}}", "psFormat": 7}')
    assert layout_of(["service", "ls"]) == layout_of(["stack", "services"]) == "{{.Name}}"
    assert layout_of(["node", "ls"]) == ""
    assert layout_of(["ps"]) == "", "it is not a text"
    assert layout_of(["service", "create"]) == ""


def test_a_broken_file_is_an_error_or_a_warning(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("{")
    with pytest.raises(InvalidArgument, match="cannot read docker's configuration"):
        load(file)
    assert layout_of(["service", "ls"]) == ""
    assert "WARNING: cannot read docker's configuration" in capsys.readouterr().err
    file.unlink()
    file.mkdir()
    with pytest.raises(InvalidArgument, match=f"cannot read docker's configuration {file}: Is a directory$"):
        load(file)


@pytest.mark.parametrize(
    "content",
    [
        {"auths": {"registry.example": "secret"}},
        {"auths": {"registry.example": {"auth": "a"}}},
        {"credHelpers": "pass"},
        {"auths": {"registry.example": {}}, "credsStore": ["pass"]},
    ],
)
def test_credentials_in_another_form_name_the_file(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content))
    for ask in (lambda: auth_header("registry.example/web", file), lambda: every_auth(file)):
        with pytest.raises(InvalidArgument, match=f"docker's configuration {file} has credentials in no form"):
            ask()


def test_json_that_is_not_an_object_says_nothing(file: Path) -> None:
    file.write_text("[]")
    assert load(file) == {}


def decoded(image: str, path: Path) -> dict[str, Any]:
    return json.loads(base64.urlsafe_b64decode(auth_header(image, path)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.json"


def test_credentials_of_a_login(path: Path):
    login = {"auth": base64.b64encode(b"me:pa:ss").decode()}
    path.write_text(json.dumps({"auths": {"r.example:5000": login, "https://index.docker.io/v1/": login}}))
    assert decoded("r.example:5000/a", path) == {
        "username": "me",
        "password": "pa:ss",
        "serveraddress": "r.example:5000",
    }
    assert decoded("nginx", path)["serveraddress"] == "https://index.docker.io/v1/"
    assert decoded("other.example/a", path) == {}


def test_nobody_logged_in(path: Path):
    assert decoded("nginx", path) == {}


def test_a_helper_is_asked(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    helper = tmp_path / "docker-credential-test"
    helper.write_text('#!/bin/sh\nread -r server\necho "{\\"Username\\":\\"u\\",\\"Secret\\":\\"$server\\"}"\n')
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    path.write_text(json.dumps({"credsStore": "test"}))
    assert decoded("r.example/a", path)["password"] == "r.example"
    path.write_text(json.dumps({"credHelpers": {"r.example": "missing"}}))
    with pytest.raises(InvalidArgument, match="docker-credential-missing"):
        decoded("r.example/a", path)


def test_a_damaged_file_is_named(path: Path):
    path.write_text("{")
    with pytest.raises(InvalidArgument, match=r"config\.json"):
        decoded("nginx", path)
