"""What of docker's own configuration is used: credentials' file, and its user's layouts."""

from pathlib import Path

import pytest

from common.errors import InvalidArgument
from manager.cli.docker_config import config_path, layout_of, load


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


def test_json_that_is_not_an_object_says_nothing(file: Path) -> None:
    file.write_text("[]")
    assert load(file) == {}
