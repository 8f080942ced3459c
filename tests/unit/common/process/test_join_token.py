"""The token of a join: from an argument, a file, standard input or the environment, and left nowhere."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import InvalidArgument
from common.process.join_token import read_token

TOKEN = f"SWMTKN-1-{'a' * 50}-{'b' * 25}"


def test_an_argument():
    assert read_token(TOKEN, None, {}) == TOKEN
    assert read_token(TOKEN, None, {"SWARM_JOIN_TOKEN": "another"}) == TOKEN


@pytest.mark.parametrize("content", [TOKEN, f"{TOKEN}\n", f"  {TOKEN}  \n\n"])
def test_a_file(tmp_path: Path, content: str):
    (tmp_path / "token").write_text(content)
    assert read_token("", tmp_path / "token", {"SWARM_JOIN_TOKEN": "another"}) == TOKEN


def test_standard_input(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{TOKEN}\nmore\n"))
    assert read_token("-", None, {}) == TOKEN


def test_the_environment_which_has_it_no_longer():
    environment = {"SWARM_JOIN_TOKEN": TOKEN, "OTHER": "x"}
    assert read_token("", None, environment) == TOKEN
    assert environment == {"OTHER": "x"}
    environment = {"SWARM_JOIN_TOKEN": TOKEN}
    assert read_token("given", None, environment) == "given"
    assert not environment


def test_a_terminal_is_asked_and_does_not_show_it():
    program = "from common.process.join_token import read_token; print('read', read_token('-', None, {})[-5:])"
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as child:
        os.close(theirs)
        said = b""
        while b"Join token: " not in said:
            said += os.read(ours, 4096)
        os.write(ours, TOKEN.encode() + b"\n")
        while b"read bbbbb" not in said:
            said += os.read(ours, 4096)
        assert child.wait() == 0
    os.close(ours)
    assert TOKEN.encode() not in said


@pytest.mark.parametrize(
    ("given", "file", "content", "said"),
    [
        (TOKEN, "token", TOKEN, "give either --token or --token-file"),
        ("", "nowhere", None, "cannot read the token from .*nowhere: No such file or directory"),
        ("", "token", "", "no token: give it with --token-file FILE"),
        ("", "token", "\xff", "token has no token in it"),
        ("", None, None, "no token: give it with --token-file FILE, --token - .*'swarm-manager join-token worker'"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, given: str, file: str | None, content: str | None, said: str):
    if content is not None:
        (tmp_path / str(file)).write_text(content, encoding="latin-1")
    with pytest.raises(InvalidArgument, match=said):
        read_token(given, tmp_path / file if file else None, {})


def test_who_joins_as_a_manager_is_told_of_the_managers_token():
    with pytest.raises(InvalidArgument, match="'swarm-manager join-token manager' prints it"):
        read_token("", None, {}, role="manager")
