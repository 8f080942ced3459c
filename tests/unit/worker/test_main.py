import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from worker.main import main


def run(*argv):
    return CliRunner().invoke(main, argv, prog_name="swarm-worker")


@pytest.mark.parametrize("name", [None, *main.commands])
def test_every_help_has_an_example(name):
    shown = run(*filter(None, [name]), "--help")
    assert shown.exit_code == 0
    examples = shown.stdout.partition("Examples:")[2].strip().splitlines()
    assert examples
    assert all(line.strip().startswith(f"swarm-worker {name or 'join'}") for line in examples)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["bogus"], 1, "No such command 'bogus'.\nSee 'swarm-worker --help'.\n"),
        (["--bogus"], 125, "unknown flag: --bogus\nSee 'swarm-worker --help'.\n"),
        (["join", "--bogus"], 125, "unknown flag: --bogus\nSee 'swarm-worker join --help'.\n"),
        (["join"], 1, '"swarm-worker join" requires exactly 1 argument.\nSee '),
        (
            ["join", "--image-port", "x", "10.0.0.1"],
            125,
            "invalid argument for \"--image-port\" flag: 'x' is not a whole number\nSee 'swarm-worker join --help'.\n",
        ),
        ([], 0, "Usage: swarm-worker [OPTIONS] COMMAND [ARGS]..."),
    ],
)
def test_a_wrong_command_line_ends_as_with_docker(words, code, message):
    said = run(*words)
    assert (said.exit_code, said.stderr[: len(message)]) == (code, message)


def test_a_full_disk_below_the_output_is_no_bug():
    command = [sys.executable, "-m", "worker.main", "completion", "bash"]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (1, "Error: cannot write the output: No space left on device\n")


def test_an_interruption_ends_as_with_docker(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("common.text.shell_completion.script", interrupted)
    said = run("completion", "bash")
    assert (said.exit_code, said.stdout.strip(), said.stderr.strip()) == (130, "", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell):
    assert "_SWARM_WORKER_COMPLETE" in run("completion", shell).stdout


def test_options_have_help():
    command = main.commands["join"]
    assert isinstance(command, click.Command)
    assert all(option.help for option in command.params if isinstance(option, click.Option))
