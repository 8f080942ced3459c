"""Every command explains itself, with an example."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from manager.cli import cli

SURFACE = """
client-cert-create client-cert-ls client-cert-revoke cluster-rebalance cluster-update completion config-create
config-inspect config-ls config-rm config-update container-attach container-cp container-diff container-inspect
container-kill container-logs container-ls container-pause container-port container-prune container-rename
container-restart container-rm container-start container-stats container-stop container-top container-unpause
container-wait events exec image-build image-ls image-rm join-token leave network-create network-inspect network-ls
network-rm network-rotate-keys node-activate node-demote node-drain node-inspect node-ls node-promote node-ps node-rm
node-update secret-create secret-inspect secret-ls secret-rm secret-update service-create service-history
service-inspect service-logs service-ls service-ps service-rebalance service-rm service-rollback service-scale
service-update stack-config stack-deploy stack-ls stack-plan stack-ps stack-rm stack-services status task-inspect
task-ls
"""


def commands(group: click.Group = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


ALL = sorted(commands())


def test_all_commands_are_there():
    assert ["-".join(path) for path in ALL if path not in (("init",), ("run",))] == SURFACE.split()


@pytest.mark.parametrize("path", ALL, ids="-".join)
def test_help_has_a_sentence_and_an_example_of_this_very_command(path: tuple[str, ...]):
    result = CliRunner().invoke(cli, [*path, "--help"], terminal_width=100)
    assert result.exit_code == 0
    _, _, examples = result.output.partition("Examples:")
    assert f"swarm-manager {' '.join(path)}" in examples
    assert "-H, --host" in result.output or "  -H ADDRESS" in result.output


@pytest.mark.parametrize(
    "alias", ["service list", "service remove", "stack up", "stack down", "node remove", "network list"]
)
def test_aliases(alias: str):
    assert CliRunner().invoke(cli, [*alias.split(), "--help"]).exit_code == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str):
    result = CliRunner().invoke(cli, ["completion", shell])
    assert result.exit_code == 0
    assert "_SWARM_MANAGER_COMPLETE" in result.output
