"""Every command explains itself, with an example."""

import re
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from manager.main import cli

SURFACE = """
backup ca client-cert-create client-cert-ls client-cert-revoke cluster-rebalance cluster-update completion config-create
config-inspect config-ls config-rm config-update container-attach container-commit container-cp container-diff
container-exec container-export container-inspect container-kill container-logs container-ls container-pause
container-port container-prune container-rename container-restart container-rm container-start container-stats
container-stop container-top container-unpause container-wait convert
dashboard-token-create dashboard-token-ls dashboard-token-rm events exec image-adopt image-build
image-inspect image-load image-ls image-prune image-pull image-push image-rm image-save image-tag init inspect join
join-token leave network-connect network-create network-disconnect network-inspect network-ls network-prune network-rm
network-rotate-keys node-activate node-demote node-drain node-inspect node-ls node-promote node-ps node-rm node-stats
node-update repair restore run secret-create secret-inspect secret-ls secret-rm secret-update service-create
service-history service-inspect service-logs service-ls service-ps service-rebalance service-rm service-rollback
service-scale service-stats service-update stack-config stack-deploy stack-ls stack-plan stack-ps stack-rm
stack-services start status task-inspect task-ls timeline unlock unlock-key volume-backup volume-cancel volume-claim
volume-cp volume-create volume-inspect volume-ls volume-move volume-prune volume-release volume-restore volume-rm
volume-snapshot volume-transfers
"""


def commands(group: click.Group = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


ALL = sorted(commands())


def test_all_commands_are_there():
    assert ["-".join(path) for path in ALL] == SURFACE.split()


@pytest.mark.parametrize("path", ALL, ids="-".join)
def test_help_has_a_sentence_and_an_example_of_this_very_command(path: tuple[str, ...]):
    result = CliRunner().invoke(cli, [*path, "--help"], terminal_width=100)
    assert result.exit_code == 0
    _, _, examples = result.output.partition("Examples:")
    assert f"swarm-manager {' '.join(path)}" in examples
    asks_none = path[0] in ("backup", "convert", "repair")
    assert ("-H, --host" in result.output or "  -H ADDRESS" in result.output) is not asks_none


@pytest.mark.parametrize(
    "alias", ["service list", "service remove", "stack up", "stack down", "node remove", "network list"]
)
def test_aliases(alias: str):
    assert CliRunner().invoke(cli, [*alias.split(), "--help"]).exit_code == 0


@pytest.mark.parametrize(
    "short",
    ["ps", "images", "rmi", "build", "pull", "push", "save", "load", "tag", "logs", "cp", "top", "stats", "stop"],
)
def test_dockers_names_without_a_noun(short: str):
    result = CliRunner().invoke(cli, [short, "--help"])
    assert (result.exit_code, f"Usage: swarm-manager {short} " in result.output) == (0, True)


@pytest.mark.parametrize("command", ["create", "container run", "image history", "system df", "info"])
def test_what_is_left_to_docker_is_said_with_the_address(command: str):
    result = CliRunner().invoke(cli, ["-H", "unix:///m.sock", *command.split(), "x"])
    expected = f"docker does this, at the same address: docker -H unix:///m.sock {command.removesuffix(' df')} …"
    assert (result.exit_code, expected in result.stderr) == (1, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("swarm", "docker swarm's commands are init, join-token, leave"),
        ("swarm init --foo", "'docker swarm init' is 'swarm-manager init' here"),
        ("swarm update", "'docker swarm update' is 'swarm-manager cluster update' here"),
        ("swarm join", "'docker swarm join' is 'swarm-worker join' here"),
    ],
)
def test_there_is_no_noun_swarm(words: str, said: str):
    result = CliRunner().invoke(cli, words.split())
    assert (result.exit_code, result.stderr.startswith(said)) == (1, True)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("node update --availability ", "active pause drain"),
        ("node update --availability d", "drain"),
        ("service create --mode replicated-", "replicated-job"),
        ("service create --rollback-failure-action ", "pause continue"),
        ("service update --update-order st", "start-first stop-first"),
        ("stack deploy --resolve-image ", "always changed never"),
        ("join-token w", "worker"),
    ],
)
def test_words_that_a_shell_completes(line: str, expected: str):
    words = f"swarm-manager {line}"
    environment = {
        "_SWARM_MANAGER_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    result = CliRunner().invoke(cli, [], env=environment, prog_name="swarm-manager")
    assert [each.removeprefix("plain,") for each in result.stdout.split()] == expected.split()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str):
    result = CliRunner().invoke(cli, ["completion", shell])
    assert result.exit_code == 0
    assert "_SWARM_MANAGER_COMPLETE" in result.output


@pytest.mark.parametrize("command", ["create", "update"])
def test_the_many_flags_of_services_are_in_sections_each_sorted(command: str):
    lines = CliRunner().invoke(cli, ["service", command, "--help"], terminal_width=100).output.splitlines()
    sections: dict[str, list[str]] = {}
    for line in lines[lines.index("Service:") : lines.index("  Examples:")]:
        if line and not line.startswith(" "):
            sections[line] = []
        elif found := re.match(r"  (?:-\w, )?(--[a-z-]+)", line):
            sections[next(reversed(sections))].append(found[1])
    assert len(sections) == 13
    assert all(names == sorted(names) for names in sections.values())
    assert set(sections["Options:"]) <= {
        *("--detach", "--help", "--host", "--no-resolve-image", "--quiet", "--timeout", "--with-registry-auth"),
    }
