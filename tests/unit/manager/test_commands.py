"""The daemon's own commands, as their users meet them."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from manager.main import cli


@pytest.mark.parametrize("words", [["nginx"], ["nginx", "-g", "daemon off;"]])
def test_who_asks_for_a_container_is_told_how(words: list[str]) -> None:
    result = CliRunner().invoke(cli, ["run", *words])
    assert result.exit_code
    assert "runs this host's manager and takes no image" in result.stderr
    assert "'docker run' with DOCKER_HOST" in result.stderr


@pytest.mark.parametrize(
    "words", ["init", "start", "backup FILE", "restore FILE", "repair", "convert --to etcd", "run"]
)
def test_who_may_not_read_the_data_is_told_to_be_root(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may do all
    result = CliRunner().invoke(cli, [*words.split(), "--data-dir", str(tmp_path)])
    expected = f"permission denied: {tmp_path} is another user's: run this command as root, or with sudo\n"
    assert (result.exit_code, result.stderr) == (1, expected)


@pytest.mark.parametrize("words", ["backup FILE", "repair", "convert --to etcd", "init", "start"])
def test_an_address_of_another_manager_is_not_ignored(words: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["-H", "tcp://192.0.2.1", *words.split(), "--data-dir", str(tmp_path)])
    name = words.partition(" ")[0]
    expected = f"'{name}' is about the manager of this host and asks none: run it there, without -H\n"
    assert (result.exit_code, result.stderr) == (1, f"{expected}See 'swarm-manager {name} --help'.\n")


@pytest.mark.parametrize("words", ["backup FILE", "repair", "convert --to etcd"])
def test_what_asks_no_manager_has_no_flag_for_its_address(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARM_MANAGER_HOST", "tcp://192.0.2.1")  # is for the other commands
    result = CliRunner().invoke(cli, [*words.split(), "-H", "tcp://192.0.2.1"])
    assert (result.exit_code, result.stderr.splitlines()[0]) == (125, "unknown flag: -H")


def test_a_backup_that_is_not_there_is_named_once(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["restore", "--data-dir", str(tmp_path / "new"), str(tmp_path / "none")])
    assert (result.exit_code, result.stderr) == (1, f"cannot restore {tmp_path}/none: No such file or directory\n")
