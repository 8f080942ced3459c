"""Commands that are loaded when they are used: what lists say of them is what they say themselves."""

from collections.abc import Iterator

import click
import pytest

from common.process.deferred import Commands, Deferred, DeferredGroup
from manager.cli.command import SwarmGroup
from manager.main import cli
from worker.main import main as worker


def deferred(group: DeferredGroup, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Deferred]]:
    """Yield each deferred command of a group and of the groups in it, by the words that call it."""
    for name, entry in group.commands.deferred.items():
        yield (*path, name), entry
    for name, command in group.commands.items():
        if isinstance(command, DeferredGroup):
            yield from deferred(command, (*path, name))


ALL = {**dict(deferred(cli, ("swarm-manager",))), **dict(deferred(worker, ("swarm-worker",)))}


@pytest.mark.parametrize("path", ALL, ids="-".join)
def test_a_list_says_of_a_command_what_the_command_says(path: tuple[str, ...]):
    entry = ALL[path]
    command = entry.load()
    said = (command.name, command.get_short_help_str(1000), getattr(command, "aliases", ()), command.hidden)
    listed = entry.stand_in(path[-1])
    assert said == (path[-1], listed.get_short_help_str(1000), entry.aliases, listed.hidden)


def test_there_are_deferred_commands_and_groups():
    some = {"swarm-manager init", "swarm-manager service create", "swarm-manager stack", "swarm-worker join"}
    assert some <= {" ".join(path) for path in ALL}


def missing(name: str) -> Deferred:
    return Deferred(f"no.such.module:{name}", f"Do {name}. And more.", aliases=(f"{name}-too",))


@pytest.fixture
def group() -> SwarmGroup:
    return SwarmGroup("group", deferred={name: missing(name) for name in ("go", "come")})


def test_a_list_of_commands_cuts_no_sentence_short():
    long = "Say whether what is kept here is whole, which nobody else may use meanwhile, and what is left of it"
    group = DeferredGroup("group", deferred={"repair": Deferred("no.such.module:repair", f"{long}. And more.")})
    shown = " ".join(group.get_help(click.Context(group, max_content_width=80)).split())
    assert f"repair {long}." in shown
    assert "And more" not in shown


def test_help_and_completion_load_nothing(group: SwarmGroup):
    group.add_command(click.Command("gone", help="Be away."))
    group.add_command(click.Command("secret", hidden=True))
    ctx = click.Context(group)
    lines = [line.split() for line in group.get_help(ctx).splitlines()]
    assert [line for line in lines if line[:1] in (["come"], ["go"], ["gone"], ["secret"])] == [
        ["come", "Do", "come."],
        ["go", "Do", "go."],
        ["gone", "Be", "away."],
    ]
    assert [(item.value, item.help) for item in group.shell_complete(ctx, "go")] == [
        ("go", "Do go."),
        ("gone", "Be away."),
    ]


@pytest.mark.parametrize("name", ["go", "go-too"])
def test_a_command_is_loaded_when_it_is_looked_up(group: SwarmGroup, name: str):
    with pytest.raises(ModuleNotFoundError):
        group.get_command(click.Context(group), name)


def test_a_command_is_loaded_once():
    commands = Commands({"node": Deferred("manager.cli.node.commands:node", "")})
    assert commands["node"] is commands["node"]


def test_what_is_not_a_command_is_found_in_development():
    with pytest.raises(AssertionError, match=r"manager\.cli\.root:PROGRAM is not a command"):
        Deferred("manager.cli.root:PROGRAM", "").load()
