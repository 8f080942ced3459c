"""Every command of containers explains itself."""

import pytest
from click.testing import CliRunner

from manager.cli.root import cli

COMMANDS = """attach diff inspect kill logs ls pause port prune rename restart rm start stats stop top unpause wait"""


@pytest.mark.parametrize("command", COMMANDS.split())
def test_every_command_has_help(command: str) -> None:
    result = CliRunner().invoke(cli, ["container", command, "--help"])
    assert (result.exit_code, "Examples:" in result.output) == (0, True)
