"""The docker command line's `config.json`: credentials of registries, and the layouts that its user gave to lists."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.errors import InvalidArgument
from common.text.terminal import echo

# The keys of the layouts that are used where --format says none, by the words of the command.
_LAYOUTS: Mapping[tuple[str, ...], str] = {
    ("ps",): "psFormat",
    ("images",): "imagesFormat",
    ("stats",): "statsFormat",
    ("container", "ls"): "psFormat",
    ("container", "stats"): "statsFormat",
    ("image", "ls"): "imagesFormat",
    ("volume", "ls"): "volumesFormat",
    ("network", "ls"): "networksFormat",
    ("node", "ls"): "nodesFormat",
    ("node", "ps"): "tasksFormat",
    ("secret", "ls"): "secretFormat",
    ("config", "ls"): "configFormat",
    ("service", "ls"): "servicesFormat",
    ("service", "ps"): "tasksFormat",
    ("service", "inspect"): "serviceInspectFormat",
    ("stack", "services"): "servicesFormat",
    ("stack", "ps"): "tasksFormat",
}


def config_path() -> Path:
    return Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"


def load(path: Path) -> dict[str, Any]:
    """Read the file; nothing where there is none.

    Raises:
        InvalidArgument: it cannot be read.

    """
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"cannot read docker's configuration {path}: {error}") from error
    return content if isinstance(content, dict) else {}


def layout_of(words: Sequence[str]) -> str:
    """Return the layout that the user gave to a command's list; empty: none. A file that is broken is warned of."""
    key = _LAYOUTS.get(tuple(words))
    if key is None:
        return ""
    try:
        layout = load(config_path()).get(key)
    except InvalidArgument as error:
        echo(f"WARNING: {error.message}", err=True)
        return ""
    return layout if isinstance(layout, str) else ""
