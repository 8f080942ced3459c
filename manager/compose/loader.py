"""From the text of compose files to one normalised `Config`."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import Any

from manager.compose.config import SECTIONS, ComposeFile, Config, Reader, Tree
from manager.compose.dotenv import decode, parse_dotenv
from manager.compose.errors import ComposeError, KeyPath, Position, Problem
from manager.compose.interpolate import interpolate
from manager.compose.resolve import resolve
from manager.compose.rules import Cursor, Report
from manager.compose.schema import IGNORED_KEYS, NEWEST_MINOR, ROOT
from manager.compose.yaml_loader import Document, load_yaml

_UNSET = "the variable {} is not set and counts as empty"
_VERSION = re.compile(r"3\.(?P<minor>[0-9]{1,2})")


def load(
    files: Sequence[ComposeFile], env: Mapping[str, str], read: Reader, directory: str, *, filled_in: bool = True
) -> Config:
    """Load compose files, each over the ones before it (`docker stack deploy -c a -c b`).

    `directory` is the absolute project directory, for relative paths and for `.env`; `env` wins over that file. Without
    `filled_in` variables stay as they are written. Raises `ComposeError` with every problem of the first file that has
    any.
    """
    if not files:
        raise ComposeError([Problem("no compose file is given")])
    own, warnings = _dotenv(read, directory, env)
    variables = {**own, **env}
    merged: Tree = {}
    positions: dict[KeyPath, Position] = {}
    unset: dict[str, str] = {}
    for file in files:
        document = load_yaml(file.path, file.text)
        if filled_in:
            document, places = interpolate(document, variables)
            unset = {**_unset_warnings(document, places), **unset}
        minor = _minor(document, merged.get("version"))
        tree, found = _read(document, minor, variables, read, directory)
        merged = _merge(merged, {**tree, "version": f"3.{minor}"})
        positions = {**positions, **document.positions}
        warnings += found
    ignored = _ignored(merged)
    return Config(
        version=merged["version"],
        sections={section: merged.get(section, {}) for section in SECTIONS},
        extensions={name: merged[name] for name in sorted(merged) if name.startswith("x-")},
        warnings=(*ignored, *unset.values(), *dict.fromkeys(warnings)),
        positions=positions,
        variables={name: variables[name] for name in _contents(merged)},
    )


def _contents(tree: Tree) -> set[str]:
    """Name the variables that secrets and configs are made from."""
    entries = [*tree.get("secrets", {}).values(), *tree.get("configs", {}).values()]
    return {entry["environment"] for entry in entries if "environment" in entry}


def _dotenv(read: Reader, directory: str, env: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Read the project's `.env`; return its variables, and warnings of those that it refers to and that are not set."""
    path = posixpath.join(directory, ".env")
    try:
        content = read(path)
    except FileNotFoundError:
        return {}, []
    except OSError as error:
        raise ComposeError([Problem(f"cannot read {path}: {error.strerror or error}")]) from error
    variables, unset = parse_dotenv(path, decode(path, content), env)
    return variables, [f"{path}: {_UNSET.format(name)}" for name in unset]


def _unset_warnings(document: Document, places: Mapping[str, KeyPath]) -> dict[str, str]:
    """Say of each variable that is not set where it stands first."""
    return {
        name: str(Problem(_UNSET.format(name), path, document.positions.get(path))) for name, path in places.items()
    }


def _minor(document: Document, earlier: str | None) -> int:
    """Find the minor version of a file: 3 alone or none at all mean the newest."""
    value: Any = document.tree.get("version", "3")
    match = _VERSION.fullmatch(value) if isinstance(value, str) else None
    minor = NEWEST_MINOR if value in ("3", "") else int(match["minor"]) if match else NEWEST_MINOR + 1
    path: KeyPath = ("version",)
    if minor > NEWEST_MINOR:
        message = f'expected a version in quotes, from "3.0" to "3.{NEWEST_MINOR}", got {value!r}'
        raise ComposeError([Problem(message, path, document.positions.get(path))])
    if earlier is not None and earlier != f"3.{minor}":
        message = f"this file's version is 3.{minor}, the files before it say {earlier}; they must agree"
        raise ComposeError([Problem(message, path, document.positions.get(path, document.positions[()]))])
    return minor


def _read(
    document: Document, minor: int, env: Mapping[str, str], read: Reader, directory: str
) -> tuple[Tree, list[str]]:
    root = Cursor(Report(document, minor))
    tree = ROOT.read(document.tree, root)
    report = root.report
    if not report.problems:
        tree = resolve(tree, root, env, read, directory)
    if report.problems:
        raise ComposeError(report.problems)
    return tree, report.warnings


def _merge(base: Tree, override: Tree) -> Tree:
    """Merge two files. As in Docker, the first file's top-level `x-` keys count and the others' do not."""
    if not base:
        return override
    tree: Tree = ROOT.merge(base, {name: value for name, value in override.items() if not name.startswith("x-")})
    return tree


def _ignored(tree: Tree) -> list[str]:
    services = tree.get("services", {}).values()
    networks = (options for service in services for options in service.get("networks", {}).values() if options)
    used = {key for mapping in (*services, *networks) for key in mapping}
    names = [key for key in IGNORED_KEYS if key in used]
    return [f"Ignoring options that have no meaning in a stack: {', '.join(names)}"] if names else []
