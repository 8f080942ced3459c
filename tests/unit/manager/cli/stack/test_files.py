"""The compose files that `-c` names."""

import io
import os
from pathlib import Path

import pytest

from common.errors import InvalidArgument
from manager.cli.stack.files import load_files, project_directory, read_bytes, read_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.yaml").write_text("services: {web: {image: web:1}}")
    (tmp_path / "b.yaml").write_text("services: {web: {image: 'web:${TAG}'}}")
    return tmp_path


def test_the_first_of_several_files_names_the_projects_place(folder: Path):
    files, directory = read_files([f"{folder}/a.yaml,{folder}/b.yaml"])
    assert [Path(each.path).name for each in files] == ["a.yaml", "b.yaml"]
    assert directory == os.path.realpath(folder)


def test_standard_input_is_a_file_of_the_directory_here(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbfservices: {}")))
    (file,), directory = read_files(["-"])
    assert file.text == "services: {}"
    assert directory == project_directory(["-"]) == os.path.realpath(os.curdir)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "Please specify a Compose file"),
        ([","], "Please specify a Compose file"),
        (["-,-"], "standard input can be given only once"),
        (["nowhere.yaml"], "open nowhere.yaml: no such file or directory"),
    ],
)
def test_what_cannot_be_read_is_refused(names, message):
    with pytest.raises(InvalidArgument, match=message):
        read_files(names)


def test_text_that_is_not_utf_8_is_refused(tmp_path: Path):
    (tmp_path / "c.yaml").write_bytes(b"name: \xff")
    with pytest.raises(InvalidArgument, match=r"this is not UTF-8 text \(byte 6\)"):
        read_files([str(tmp_path / "c.yaml")])


def test_a_name_with_a_nul_cannot_be_read():
    with pytest.raises(OSError, match="null byte"):
        read_bytes("a\0b")


def test_later_files_win_and_warnings_are_told(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch):
    monkeypatch.delenv("TAG", raising=False)
    config = load_files([str(folder / "a.yaml"), str(folder / "b.yaml")])
    assert config.services["web"]["image"] == "web:"
    assert "TAG" in capsys.readouterr().err


def test_profiles_are_chosen_by_flag_or_else_the_environment(tmp_path: Path, monkeypatch, capsys):
    file = tmp_path / "p.yaml"
    file.write_text("services: {a: {image: a, profiles: [a]}, b: {image: b, profiles: [b]}}")
    monkeypatch.setenv("COMPOSE_PROFILES", "b")
    assert list(load_files([str(file)], ["a"]).services) == ["a"]
    assert list(load_files([str(file)]).services) == ["b"]
    assert "services.a.profiles: the service is not deployed" in capsys.readouterr().err
