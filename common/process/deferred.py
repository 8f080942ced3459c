"""Commands whose modules are loaded when they are used: a program that asks one question starts without the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

# Longer than any first sentence: click cuts one short otherwise, most often where it says what the command does.
_WHOLE_SENTENCE = 1000


@dataclass(frozen=True, slots=True)
class Deferred:
    """A command whose module is loaded when it is used: where it is (`module:name`), and what lists say of it.

    `help` and `aliases` are the command's own, repeated here so that a list of commands loads none; a test compares.
    """

    where: str
    help: str
    aliases: tuple[str, ...] = ()

    def load(self) -> click.Command:
        module, _, name = self.where.partition(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, click.Command), f"{self.where} is not a command"
        return command

    def stand_in(self, name: str) -> click.Command:
        """Return what a list shows, which cannot be run."""
        return click.Command(name, help=self.help)


class Commands(MutableMapping[str, click.Command]):
    """The commands of a group by name, of which those that are deferred are loaded when they are looked up."""

    def __init__(self, deferred: Mapping[str, Deferred]) -> None:
        self._entries: dict[str, click.Command | Deferred] = {}
        self.deferred: dict[str, Deferred] = {}
        self.defer(deferred)

    def defer(self, commands: Mapping[str, Deferred]) -> None:
        self.deferred.update(commands)
        self._entries.update(commands)

    def __getitem__(self, name: str) -> click.Command:
        entry = self._entries[name]
        if isinstance(entry, Deferred):
            entry = self._entries[name] = entry.load()
        return entry

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._entries[name] = command

    def __delitem__(self, name: str) -> None:
        del self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def named(self, alias: str) -> str | None:
        """Return the name of the command that has this alias, None if there is none."""
        return next((name for name, entry in self._entries.items() if alias in getattr(entry, "aliases", ())), None)

    def listed(self) -> dict[str, click.Command]:
        """Return what a list of the commands shows, by name; nothing is loaded for it."""
        return {
            name: entry.stand_in(name) if isinstance(entry, Deferred) else entry
            for name, entry in sorted(self._entries.items())
        }


class DeferredGroup(click.Group):
    """A group of which those commands that are `deferred`, by name, are loaded when they are used.

    Help and completion of the group load none. The help has the whole first sentence of each.
    """

    commands: Commands

    def __init__(self, *args: Any, deferred: Mapping[str, Deferred] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **{"commands": Commands(deferred or {}), **kwargs})

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # click calls it
        rows = [
            (name, command.get_short_help_str(_WHOLE_SENTENCE))
            for name, command in self.commands.listed().items()
            if not command.hidden
        ]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[Any]]:
        fitting = [
            CompletionItem(name, help=command.get_short_help_str())
            for name, command in self.commands.listed().items()
            if name.startswith(incomplete) and not command.hidden
        ]
        return fitting + click.Command.shell_complete(self, ctx, incomplete)
