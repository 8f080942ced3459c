import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from common.errors import InvalidArgument
from manager.cli.image.registry import auth_header


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
