"""Where the content of secrets and configs comes from."""

import base64
from pathlib import Path

import pytest

from common.errors import InvalidArgument
from manager.cli.files.stored_files import content


def test_a_file_or_a_variable_gives_the_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"\x00from a file\n")
    monkeypatch.setenv("TOKEN", "from a variable \udcff")
    assert base64.b64decode(content(str(tmp_path / "file"), None)) == b"\x00from a file\n"
    assert base64.b64decode(content(None, "TOKEN")) == b"from a variable \xff"


@pytest.mark.parametrize(
    ("source", "variable", "words"),
    [
        (None, None, "give the content once"),
        ("-", "HOME", "give the content once"),
        (None, "NO_SUCH_THING", "--env NO_SUCH_THING: this command's environment has no such variable"),
        ("/no/such/file", None, "error reading content from '/no/such/file': No such file"),
    ],
)
def test_content_that_is_not_there_is_an_error(source: str | None, variable: str | None, words: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        content(source, variable)
    assert words in caught.value.message
