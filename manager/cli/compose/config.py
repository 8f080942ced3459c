"""The values that pass between the steps of loading."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from manager.cli.compose.errors import ComposeError, KeyPath, Position, Problem

Reader: TypeAlias = Callable[[str], bytes]
Tree: TypeAlias = dict[str, Any]

SECTIONS = ("services", "networks", "volumes", "secrets", "configs")


@dataclass(frozen=True, slots=True)
class ComposeFile:
    """One `-c` file: its path as the user gave it, and its text."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Project:
    """What the files that are loaded together share: where relative paths start, and what `$NAME` stands for.

    Of files that are included they start in `folder`, which is relative to the `directory` of the stack, or absolute.
    `filled_in`: variables are replaced by their values. `profiles` are those that were chosen; `*` is every one.
    """

    directory: str
    variables: Mapping[str, str] = field(repr=False)
    read: Reader
    filled_in: bool = True
    profiles: frozenset[str] = frozenset()
    folder: str = ""

    def runs(self, service: Tree) -> bool:
        """Whether a service is deployed: it has no profile, or one that was chosen."""
        own = service.get("profiles")
        return not own or "*" in self.profiles or not self.profiles.isdisjoint(own)


@dataclass(frozen=True, slots=True)
class Config:
    """Compose files, merged and normalised: the long form of everything, as `docker stack config` would print it.

    `sections` holds services, networks, volumes, secrets and configs by name. Durations are in Go's canonical spelling
    (`1m30s`), sizes in bytes as digits, paths absolute. `extensions` are the top level's `x-` keys; `variables` are
    those that secrets and configs are made of, and never shown. `skipped` are the services whose profiles were not
    chosen; nothing of them is in `sections`.
    """

    version: str
    sections: Mapping[str, Tree]
    extensions: Tree = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    positions: Mapping[KeyPath, Position] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    skipped: frozenset[str] = frozenset()

    @property
    def services(self) -> Tree:
        return self.sections["services"]

    @property
    def networks(self) -> Tree:
        return self.sections["networks"]

    @property
    def volumes(self) -> Tree:
        return self.sections["volumes"]

    @property
    def secrets(self) -> Tree:
        return self.sections["secrets"]

    @property
    def configs(self) -> Tree:
        return self.sections["configs"]

    def error(self, path: KeyPath, message: str) -> ComposeError:
        """Make the error for a key of the merged files."""
        return ComposeError([Problem(message, path, locate(self.positions, path))])


def locate(positions: Mapping[KeyPath, Position], path: KeyPath) -> Position | None:
    """Find where a key stands; a key that normalising made up stands where its nearest parent does."""
    for length in range(len(path), -1, -1):
        if path[:length] in positions:
            return positions[path[:length]]
    return None
