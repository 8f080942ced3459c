"""The examples in help, and command lines that are wrong, as docker words them."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from common.process.usage import DATA_FOLDER, as_epilog, dockers_usage, explain_usage
from common.text.terminal import echo


@click.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--count", type=int)
@click.option("--kind", type=click.Choice(["a", "b"]))
def command(names: tuple[str, ...], count: int, kind: str) -> None:
    del names, count, kind


def wrong(*words: str) -> click.UsageError:
    with pytest.raises(click.UsageError) as caught:
        command.main([*words], prog_name="tool", standalone_mode=False)
    return caught.value


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        (["x", "--nope"], "unknown flag: --nope\nSee 'tool --help'.", 125),
        (["x", "--count"], "Option '--count' requires an argument.", 125),
        (["x", "--count", "y"], "invalid argument for \"--count\" flag: 'y' is not a whole number", 125),
        (["x", "--kind", "c"], "invalid argument for \"--kind\" flag: 'c' is not one of 'a', 'b'", 125),
        ([], "\"tool\" requires at least 1 argument.\nSee 'tool --help'.\n\nUsage: tool [OPTIONS] NAMES...", 1),
    ],
)
def test_a_usage_error_has_dockers_words_and_code(words: list[str], message: str, code: int) -> None:
    text, status = explain_usage(wrong(*words))
    assert (text[: len(message)], status) == (message, code)


def test_a_data_directory_is_a_folder_that_is_named(tmp_path: Path) -> None:
    @click.command()
    @click.option("--data-dir", type=DATA_FOLDER)
    def keeps(data_dir: Path) -> None:
        echo(f"{data_dir!r}")

    (tmp_path / "file").touch()
    for value, why in [
        ("", "it is empty (is a variable of your shell's not set?)"),  # it would be the shell's own folder
        (f"{tmp_path}/file", f"Directory '{tmp_path}/file' is a file"),
    ]:
        with pytest.raises(click.UsageError) as caught:
            keeps.main(["--data-dir", value], standalone_mode=False)
        assert explain_usage(caught.value)[0].startswith(f'invalid argument for "--data-dir" flag: {why}\n')
    shown = CliRunner().invoke(keeps, ["--data-dir", "."])
    assert (shown.exit_code, shown.stdout) == (0, "PosixPath('.')\n")


def test_a_flag_that_is_required_is_named() -> None:
    @click.command()
    @click.option("--to", type=click.Choice(["a", "b"]), required=True)
    def moves(to: str) -> None:
        del to

    with pytest.raises(click.UsageError) as caught:
        moves.main([], prog_name="tool", standalone_mode=False)
    assert explain_usage(caught.value) == ("required flag \"--to\" not set: a or b\nSee 'tool --help'.", 1)


def test_click_shows_dockers_words_without_its_own() -> None:
    @click.command()
    def outer() -> None:
        with dockers_usage():
            raise wrong("x", "--nope")

    shown = CliRunner().invoke(outer)
    assert (shown.exit_code, shown.stdout, shown.stderr) == (125, "", "unknown flag: --nope\nSee 'tool --help'.\n")


def test_other_errors_are_left_as_they_are() -> None:
    with pytest.raises(click.FileError), dockers_usage():
        raise click.FileError("x")


def test_examples_stay_a_line_each() -> None:
    assert as_epilog("\n  program a\n    program b\n") == "\b\nExamples:\n  program a\n  program b"
    assert as_epilog("  \n") == ""
