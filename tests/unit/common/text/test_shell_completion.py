import click
import pytest

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
