"""A command in a container: its flags, its input and its output."""

from click.testing import CliRunner

from common.errors import SwarmError
from manager.cli.root import cli


def test_exec_takes_the_commands_own_flags_as_they_are() -> None:
    result = CliRunner().invoke(cli, ["-H", "unix:///nowhere", "exec", "web", "ls", "-l", "--all"])
    assert isinstance(result.exception, SwarmError | SystemExit)
    assert "unknown flag" not in result.output
