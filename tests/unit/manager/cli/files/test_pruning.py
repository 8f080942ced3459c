"""`prune` asks before it removes anything."""

import click
import pytest
from click.testing import CliRunner

from manager.cli import cli
from manager.cli.files.pruning import prune_command


@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [
        ("n\n", 0, ""),
        ("", 1, "\nNobody has confirmed it: nothing was removed. --force does not ask.\n"),  # no terminal, as in cron
    ],
)
def test_what_is_not_confirmed_is_not_removed(typed: str, code: int, said: str) -> None:
    """Where nothing listens: who asked the manager would fail."""
    ended = CliRunner().invoke(cli, ["-H", "unix:///nowhere", "network", "prune"], input=typed)
    assert (ended.exit_code, ended.stderr) == (code, said)
    assert ended.stdout.startswith("WARNING! This will remove all custom networks not used by at least one container.")


def test_an_interruption_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: str) -> bool:
        raise click.Abort

    monkeypatch.setattr("click.confirm", interrupted)
    ended = CliRunner().invoke(cli, ["-H", "unix:///nowhere", "network", "prune"])
    assert (ended.exit_code, ended.stderr) == (130, "")


def test_its_help_says_what_it_removes() -> None:
    command = prune_command("container", "all stopped containers", "Remove all stopped containers.")
    assert CliRunner().invoke(command, ["--help"]).stdout.splitlines()[2].strip() == "Remove all stopped containers."
