"""The words that shells complete, and their scripts."""

import click
import pytest
from click.shell_completion import get_completion_class

from common.text.shell_completion import SHELLS, script


@click.command()
@click.option("--mode", type=click.Choice(["global", "replicated"]))
@click.option("--file", type=click.Path())
def command(mode: str, file: str) -> None: ...


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_has_a_script_that_asks_the_program(shell: str) -> None:
    text = script(command, "swarm-manager", shell)
    assert "_SWARM_MANAGER_COMPLETE" in text
    assert "swarm-manager" in text


def completed(monkeypatch: pytest.MonkeyPatch, line: str) -> list[tuple[str, str]]:
    """Complete a line as bash asks for it; return the kinds and words."""
    monkeypatch.setenv("COMP_WORDS", line)
    bash = get_completion_class("bash")
    assert bash is not None
    shell = bash(command, {}, "program", "_PROGRAM_COMPLETE")
    return [(item.type, item.value) for item in shell.get_completions(*shell.get_completion_args())]


def test_a_value_behind_an_equals_sign_is_a_whole_word(monkeypatch: pytest.MonkeyPatch) -> None:
    assert completed(monkeypatch, "program --mode=g") == [("plain", "--mode=global")]
    assert completed(monkeypatch, "program --mode ") == [("plain", "global"), ("plain", "replicated")]


def test_files_are_left_to_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    assert completed(monkeypatch, "program --file=a") == [("file", "a")]
