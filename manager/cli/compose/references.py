"""Names and labels inside one stack."""

from __future__ import annotations

from dataclasses import dataclass

from common.model.service import STACK_LABEL
from manager.cli.compose.config import Config, Tree
from manager.cli.compose.errors import KeyPath

IMAGE_LABEL = "com.docker.stack.image"
DEFAULT_NETWORK = "default"
_PREDEFINED = frozenset({"default", "bridge", "host", "none"})


def is_user_defined(network: str) -> bool:
    """Whether a network is somebody's, not one of those that every engine has."""
    return network not in _PREDEFINED and not network.startswith("container:")


@dataclass(frozen=True, slots=True)
class Scope:
    """A stack's name over its configuration."""

    stack: str
    config: Config

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
        """Name in full what a service refers to. Raises `ComposeError` when nothing of that name is declared."""
        if name in self.config.sections[section]:
            return self.declared(section, name)
        kind = section.removesuffix("s")
        raise self.config.error(used_at, f'undefined {kind} "{name}": declare it in the top-level {section}')
