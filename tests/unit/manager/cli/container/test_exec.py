"""A command in a container: its flags, its input and its output."""

from click.testing import CliRunner

from common.errors import SwarmError
from manager.cli.root import cli


def test_exec_takes_the_commands_own_flags_as_they_are() -> None:
    for words in (["exec", "web", "ls", "-l", "--all"], ["top", "web", "-o", "pid,comm"]):
        result = CliRunner().invoke(cli, ["-H", "unix:///nowhere", *words])
        assert isinstance(result.exception, SwarmError | SystemExit)
        assert "unknown flag" not in result.output
