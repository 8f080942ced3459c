"""A loaded configuration as YAML text, in the order and spelling of `docker stack config`."""

from __future__ import annotations

import re
from typing import Any

import yaml

from manager.cli.compose.config import SECTIONS, Config
from manager.cli.compose.interpolate import escape
from manager.cli.compose.scalars import BareWord, plain, text_of


class _Dumper(yaml.SafeDumper):
    """Block style, no aliases, strings quoted when Docker would read them otherwise."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 -- the signature is PyYAML's
        return True


def _string(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    style = '"' if not value or _ambiguous(value) else "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


def _ambiguous(value: str) -> bool:
    """Whether a reader, of YAML 1.1 too, may take the bare word for something else than a string."""
    word = plain(value)
    return not isinstance(word, str) or isinstance(word, BareWord) or bool(_OLD_NUMBER.fullmatch(value))


# What YAML 1.1 also takes for a number or a date: 190:20:30, 2001-01-01.
_OLD_NUMBER = re.compile(r"[-+]?[0-9][0-9_]*(:[0-9]+)+(\.[0-9]*)?|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}.*|[<=]{1,2}")


def _float(dumper: _Dumper, value: float) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:float", text_of(value))


_Dumper.add_representer(str, _string)
_Dumper.add_representer(float, _float)


def render(config: Config, *, filled_in: bool = True) -> str:
    """Write the configuration as one YAML document that loads back to itself: a dollar is written `$$`.

    Without `filled_in`, where variables were not filled in either, dollars are written as they are.
    """
    tree = _escape(as_tree(config)) if filled_in else as_tree(config)
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, default_flow_style=False, allow_unicode=True, width=4096)


def _escape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _escape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escape(item) for item in value]
    return escape(value) if isinstance(value, str) else value


def as_tree(config: Config) -> dict[str, Any]:
    """Give the configuration as plain values, what is empty left out; `services` is always there."""
    sections = {name: config.sections[name] for name in SECTIONS if config.sections[name] or name == "services"}
    return {"version": config.version, **sections, **config.extensions}
