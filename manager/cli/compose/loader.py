"""From the text of compose files to one normalised `Config`.

What a file takes from outside is filled in: variables, env files, paths below the project's directory, old spellings.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import Any

from manager.cli.compose.config import SECTIONS, ComposeFile, Config, Reader, Tree
from manager.cli.compose.dotenv import decode, parse_dotenv, parse_env_file
from manager.cli.compose.errors import ComposeError, KeyPath, Position, Problem
from manager.cli.compose.interpolate import interpolate
from manager.cli.compose.rules import Cursor, Report
from manager.cli.compose.schema import ENTRIES, IGNORED_KEYS, NEWEST_MINOR, ROOT, SERVICE
from manager.cli.compose.yaml_loader import Document, load_yaml

_UNSET = "the variable {} is not set and counts as empty"
_VERSION = re.compile(r"3\.(?P<minor>[0-9]{1,2})")

_WINDOWS_PATH = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_NAMED_SINCE = {"networks": 5, "volumes": 4, "secrets": 5, "configs": 5}


def load(
    files: Sequence[ComposeFile], env: Mapping[str, str], read: Reader, directory: str, *, filled_in: bool = True
) -> Config:
    """Load compose files, each over the ones before it (`docker stack deploy -c a -c b`).

    `directory` is the absolute project directory, for relative paths and for `.env`; `env` wins over that file. Without
    `filled_in` variables stay as they are written. Raises `ComposeError` with every problem of the first file that has
    any.
    """
    if not files:
        raise ComposeError([Problem("no compose file was given")])
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
    ignored = _ignored_keys(merged)
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
        expected = f'expected a version in quotes, from "3.0" to "3.{NEWEST_MINOR}"'
        message = f"{expected}, got {value!r}; without the line it is the newest"
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


def _ignored_keys(tree: Tree) -> list[str]:
    services = tree.get("services", {}).values()
    networks = (options for service in services for options in service.get("networks", {}).values() if options)
    used = {key for mapping in (*services, *networks) for key in mapping}
    names = [key for key in IGNORED_KEYS if key in used]
    return [f"Ignoring options that have no meaning in a stack: {', '.join(names)}"] if names else []


# --- what comes from outside ---


def resolve(tree: Tree, root: Cursor, env: Mapping[str, str], read: Reader, directory: str) -> Tree:
    """Complete a normalised tree. Problems and warnings go to the cursor's report."""
    out = {key: value for key, value in tree.items() if key != "name"}
    services = tree.get("services", {})
    at = root / "services"
    out["services"] = {name: _service(services[name], at / name, env, read, directory) for name in services}
    for section in _NAMED_SINCE:
        if section in tree:
            entries = {
                name: _external(section, name, entry, root / section / name) for name, entry in tree[section].items()
            }
            out[section] = entries
    for section, sources in _SOURCES.items():
        if section in out:
            at = root / section
            out[section] = {
                name: _file_object(entry, sources, at / name, env, directory) for name, entry in out[section].items()
            }
    return out


def _service(service: Tree, at: Cursor, env: Mapping[str, str], read: Reader, directory: str) -> Tree:
    files = _env_files(service.get("env_file", []), at / "env_file", env, read, directory)
    variables = {**_look_up_variables(files, env), **_look_up_variables(service.get("environment", {}), env)}
    out = {**service, "environment": dict(sorted(variables.items()))}
    if "volumes" in service:
        volumes = enumerate(service["volumes"])
        out["volumes"] = [_bind(volume, at / "volumes" / index, env, directory) for index, volume in volumes]
    return SERVICE.ordered({name: value for name, value in out.items() if name != "environment" or value})


def _env_files(files: list[str], at: Cursor, env: Mapping[str, str], read: Reader, directory: str) -> Mapping[str, str]:
    variables: dict[str, str] = {}
    for file in files:
        path = absolute(directory, file)
        try:
            content = read(path)
        except OSError as error:
            at.fail(f"cannot read {path}: {error.strerror or error}")
            continue
        variables.update(parse_env_file(path, decode(path, content), env))
    return variables


def _look_up_variables(variables: Mapping[str, str | None], env: Mapping[str, str]) -> dict[str, str | None]:
    """Give a variable without a value, or with an empty one, the environment's."""
    return {name: value or env.get(name, value) for name, value in variables.items()}


def _bind(volume: Tree, at: Cursor, env: Mapping[str, str], directory: str) -> Tree:
    if volume.get("type") != "bind":
        return volume
    source = volume.get("source", "")
    if not source:
        at.fail("a bind mount needs a source")
    if source.startswith("~"):
        if "HOME" not in env:
            at.fail(f'"{source}" needs the variable HOME, which is not set')
        source = source.replace("~", env.get("HOME", "~"), 1)
    return {**volume, "source": source if _WINDOWS_PATH.match(source) else absolute(directory, source)}


def absolute(directory: str, path: str) -> str:
    """Make a path absolute; only a relative one is tidied, as Docker does."""
    return path if posixpath.isabs(path) else posixpath.normpath(posixpath.join(directory, path))


def _external(section: str, name: str, entry: Tree, at: Cursor) -> Tree:
    """Write `external` as true, with the outside name under `name`."""
    external = entry.get("external")
    if external is None:
        return entry
    kind = section.removesuffix("s")
    if isinstance(external, dict) and external.get("name"):
        if entry.get("name"):
            at.fail("external.name and name conflict; use name only")
        if at.report.minor >= _NAMED_SINCE[section]:
            at.report.warnings.append(f"{kind} {name}: external.name is deprecated, use name")
        outside = external["name"]
    else:
        outside = entry.get("name") or name
    if section == "volumes":
        for key in ("driver", "driver_opts", "labels"):
            if key in entry:
                (at / key).fail("conflicts with external: the volume is made elsewhere")
    return ENTRIES[section].ordered({**entry, "name": outside, "external": True})


# What a secret's or a config's content may come from.
_SOURCES = {"secrets": ("file", "environment"), "configs": ("file", "environment", "content")}


def _file_object(entry: Tree, sources: tuple[str, ...], at: Cursor, env: Mapping[str, str], directory: str) -> Tree:
    """Place the file of a secret or config that is made from one; a variable that holds one must be set."""
    if entry.get("external") or entry.get("driver"):
        return entry
    if sum(key in entry for key in sources) != 1:
        named = ", ".join(f'"{key}"' for key in sources)
        at.fail(f'needs one of {named} and "external: true"')
        return entry
    if "file" in entry:
        return {**entry, "file": absolute(directory, entry["file"])}
    if "environment" in entry and entry["environment"] not in env:
        (at / "environment").fail(f"the variable {entry['environment']} is not set")
    return entry
