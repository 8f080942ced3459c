"""Names and labels inside one stack."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from common.model.service import STACK_LABEL
from manager.cli.compose.config import Config, Tree
from manager.cli.compose.errors import ComposeError, KeyPath, Problem

IMAGE_LABEL = "com.docker.stack.image"
DEFAULT_NETWORK = "default"
_PREDEFINED = frozenset({"default", "bridge", "host", "none"})


def is_user_defined(network: str) -> bool:
    """Whether a network is somebody's, not one of those that every engine has."""
    return network not in _PREDEFINED and not network.startswith("container:")


@dataclass(frozen=True, slots=True)
class Scope:
    """A stack's name over its configuration, and what was found to be wrong with that, so that all is told at once."""

    stack: str
    config: Config
    problems: list[Problem] = field(default_factory=list)

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Note what is wrong, and go on after the block."""
        try:
            yield
        except ComposeError as error:
            self.problems.extend(error.problems)

    def full(self, name: str) -> str:
        return f"{self.stack}_{name}"

    def labels(self, entry: Tree) -> dict[str, str]:
        """Give an entry's own labels and the stack's."""
        return {**entry.get("labels", {}), STACK_LABEL: self.stack}

    def declared(self, section: str, name: str) -> str:
        """Name a declared network, volume, secret or config in full: its own `name`, or the stack's prefix."""
        own: str = self.config.sections[section][name].get("name", "")
        return own or self.full(name)

    def network(self, name: str) -> str:
        """Name a network in full; `default` needs no declaration."""
        return self.declared("networks", name) if name in self.config.networks else self.full(name)

    def lookup(self, section: str, name: str, used_at: KeyPath) -> str:
        """Name in full what a service refers to; that nothing of that name is declared is a problem."""
        if name in self.config.sections[section]:
            return self.declared(section, name)
        kind = section.removesuffix("s")
        error = self.config.error(used_at, f'undefined {kind} "{name}": declare it in the top-level {section}')
        self.problems.extend(error.problems)
        return self.full(name)
