"""From the text of compose files to one normalised `Config`.

A file is read, gets the services that its own extend, is filled in from outside, and then what it includes; each `-c`
file is merged over the ones before it. Last, services whose profiles were not chosen are left out.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from manager.cli.compose.config import SECTIONS, ComposeFile, Config, Project, Reader, Tree, locate
from manager.cli.compose.dotenv import decode, parse_dotenv
from manager.cli.compose.errors import ComposeError, KeyPath, Position, Problem
from manager.cli.compose.extends import extend_services
from manager.cli.compose.ignored import ignored_keys
from manager.cli.compose.interpolate import UNSET, interpolate, unset_warnings
from manager.cli.compose.resolve import absolute, move_paths, remote_file, resolve
from manager.cli.compose.rules import Cursor, Report
from manager.cli.compose.schema import NEWEST_MINOR, ROOT
from manager.cli.compose.yaml_loader import Document, load_yaml

_VERSION = re.compile(r"3\.(?P<minor>[0-9]{1,2})")
_PROFILES = "COMPOSE_PROFILES"
_MAX_INCLUDED = 200


@dataclass(slots=True)
class _Found:
    """What the files of one project come to: their tree, and what is to be said of it.

    `contents` are the variables that secrets and configs are made of; of one that is not set there is none.
    """

    tree: Tree = field(default_factory=dict)
    positions: dict[KeyPath, Position] = field(default_factory=dict)
    contents: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    unset: dict[str, str] = field(default_factory=dict)


def load(
    files: Sequence[ComposeFile],
    env: Mapping[str, str],
    read: Reader,
    directory: str,
    *,
    filled_in: bool = True,
    profiles: Collection[str] = (),
) -> Config:
    """Load compose files, each over the ones before it (`docker stack deploy -c a -c b`).

    `directory` is the absolute project directory, for relative paths and for `.env`; `env` wins over that file. Without
    `filled_in` variables stay as they are written. Without `profiles` those of `COMPOSE_PROFILES` are chosen. Raises
    `ComposeError` with every problem of the first file that has any.
    """
    if not files:
        raise ComposeError([Problem("no compose file was given")])
    own, warnings = _dotenv(read, directory, env)
    variables = {**own, **env}
    chosen = profiles or filter(None, map(str.strip, variables.get(_PROFILES, "").split(",")))
    project = Project(directory, variables, read, filled_in, frozenset(chosen))
    found = _Loader().load(files, project, ())
    skipped, notes = _leave_out(found, project)
    _check_contents(found)
    return Config(
        version=found.tree["version"],
        sections={section: found.tree.get(section, {}) for section in SECTIONS},
        extensions={name: found.tree[name] for name in sorted(found.tree) if name.startswith("x-")},
        warnings=(
            *ignored_keys(found.tree, found.positions),
            *found.unset.values(),
            *dict.fromkeys([*warnings, *found.warnings]),
            *notes,
        ),
        positions=found.positions,
        variables=found.contents,
        skipped=skipped,
    )


class _Loader:
    """Loads the files of a project, and those that they include."""

    def __init__(self) -> None:
        self._included = 0

    def load(self, files: Sequence[ComposeFile], project: Project, above: tuple[str, ...]) -> _Found:
        """Load one project's files; `above` are the files that include them."""
        found = _Found()
        for file in files:
            document = load_yaml(file.path, file.text)
            if project.filled_in:
                document, places = interpolate(document, project.variables)
                found.unset = {**unset_warnings(document, places), **found.unset}
            minor = _minor(document, found.tree.get("version"))
            root = Cursor(Report(document, minor))
            tree = self._read(root, project)
            own = _Found(tree, dict(root.report.document.positions), _contents(tree, project), root.report.warnings)
            for index, entry in enumerate(tree.pop("include", ())):
                at = root / "include" / index
                _import(own, self._include(entry, at, project, (*above, file.path)), root, at)
            _raise(root.report)
            own.tree["version"] = f"3.{minor}"
            found = _over(found, own)
        return found

    def _read(self, root: Cursor, project: Project) -> Tree:
        tree: Tree = ROOT.read(root.report.document.tree, root)
        _raise(root.report)
        tree = move_paths(tree, project.folder) if project.folder else tree
        tree = resolve(extend_services(tree, root, project), root, project)
        _raise(root.report)
        return tree

    def _include(self, entry: Tree, at: Cursor, project: Project, above: tuple[str, ...]) -> _Found:
        """Load what one entry of `include` names, as a project of its own: its paths and its `.env` are of its folder.

        Variables of the project that includes it win over those of that `.env`.
        """
        if refusal := next(filter(None, map(remote_file, entry["path"])), ""):
            raise _error(at, refusal)
        relative = [absolute(project.folder, path) for path in entry["path"]]
        paths = [absolute(project.directory, path) for path in relative]
        self._included += len(paths)
        if again := [path for path in paths if path in above]:
            raise _error(at, f"includes itself: {' → '.join((*above, again[0]))}")
        if self._included > _MAX_INCLUDED:
            raise _error(at, f"more than {_MAX_INCLUDED} files are included")
        files = [ComposeFile(path, decode(path, _content(path, at, project))) for path in paths]
        given = entry.get("project_directory")
        folder = absolute(project.folder, given) if given else posixpath.dirname(relative[0])
        variables, warnings = self._variables(entry, at, absolute(project.directory, folder), project)
        inner = replace(project, folder=folder, variables={**variables, **project.variables})
        found = self.load(files, inner, above)
        found.warnings += warnings
        return found

    def _variables(self, entry: Tree, at: Cursor, directory: str, project: Project) -> tuple[dict[str, str], list[str]]:
        if "env_file" not in entry:
            return _dotenv(project.read, directory, project.variables)
        found: dict[str, str] = {}
        warnings: list[str] = []
        for given in entry["env_file"]:
            path = absolute(project.directory, absolute(project.folder, given))
            text = decode(path, _content(path, at / "env_file", project))
            own, unset = parse_dotenv(path, text, {**found, **project.variables})
            found |= own
            warnings += [f"{path}: {UNSET.format(name)}" for name in unset]
        return found, warnings


def _raise(report: Report) -> None:
    if report.problems:
        raise ComposeError(report.problems)


def _error(at: Cursor, message: str) -> ComposeError:
    at.fail(message)
    return ComposeError(at.report.problems)


def _content(path: str, at: Cursor, project: Project) -> bytes:
    try:
        return project.read(path)
    except OSError as error:
        raise _error(at, f"cannot read {path}: {error.strerror or error}") from error


def _import(own: _Found, included: _Found, root: Cursor, at: Cursor) -> None:
    """Add what a file includes to what it has itself. Of one name both may have only the same."""
    for section in SECTIONS:
        for name, entry in included.tree.get(section, {}).items():
            if own.tree.get(section, {}).get(name, entry) != entry:
                where = locate(included.positions, (section, name))
                (root / section / name).fail(
                    f"is included from {where}, too, where it differs: change what is included in a further -c file"
                )
            own.tree[section] = dict(sorted({name: entry, **own.tree.get(section, {})}.items()))
    for name, value in included.contents.items():
        if own.contents.setdefault(name, value) != value:
            at.fail(f"the variable {name}, which makes a secret or config, has another value elsewhere")
    own.positions = {**included.positions, **own.positions}
    own.unset = {**included.unset, **own.unset}
    own.warnings += included.warnings


def _over(base: _Found, own: _Found) -> _Found:
    """Merge a file over those before it. As in Docker, the first file's top-level `x-` keys count."""
    if not base.tree:
        return replace(own, unset={**own.unset, **base.unset})
    override = {name: value for name, value in own.tree.items() if not name.startswith("x-")}
    return _Found(
        ROOT.merge(base.tree, override),
        {**base.positions, **own.positions},
        {**base.contents, **own.contents},
        [*base.warnings, *own.warnings],
        {**own.unset, **base.unset},
    )


# --- variables and versions ---


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
    return variables, [f"{path}: {UNSET.format(name)}" for name in unset]


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


def _contents(tree: Tree, project: Project) -> dict[str, str]:
    """Return the variables that secrets and configs are made from, those that are set."""
    names = {entry["environment"] for _, entry in _from_environment(tree)}
    return {name: project.variables[name] for name in names if name in project.variables}


def _from_environment(tree: Tree) -> Iterator[tuple[KeyPath, Tree]]:
    for section in ("secrets", "configs"):
        for name, entry in tree.get(section, {}).items():
            if "environment" in entry and not entry.get("external"):
                yield (section, name, "environment"), entry


def _check_contents(found: _Found) -> None:
    """Refuse secrets and configs that a variable makes which is not set."""
    problems = [
        Problem(f"the variable {entry['environment']} is not set", path, locate(found.positions, path))
        for path, entry in _from_environment(found.tree)
        if entry["environment"] not in found.contents
    ]
    if problems:
        raise ComposeError(problems)


# --- profiles ---


def _leave_out(found: _Found, project: Project) -> tuple[frozenset[str], list[str]]:
    """Take the services out whose profiles were not chosen, with the secrets and configs that only they use."""
    services: Tree = found.tree.get("services", {})
    skipped = {name: service for name, service in services.items() if not project.runs(service)}
    kept = {name: service for name, service in services.items() if name not in skipped}
    found.tree["services"] = {
        name: {key: value for key, value in service.items() if key != "profiles"} for name, service in kept.items()
    }
    for section in ("secrets", "configs"):
        unused = _sources(skipped, section) - _sources(kept, section)
        if section in found.tree:
            found.tree[section] = {name: entry for name, entry in found.tree[section].items() if name not in unused}
    notes = []
    for name, service in skipped.items():
        path: KeyPath = ("services", name, "profiles")
        needed = " or ".join(f"--profile {each}" for each in service["profiles"])
        message = f"the service is not deployed, as no profile of it is chosen: {needed} or {_PROFILES} does"
        notes.append(str(Problem(message, path, locate(found.positions, path))))
    return frozenset(skipped), notes


def _sources(services: Tree, section: str) -> set[str]:
    """Name the secrets or configs that services use."""
    used = {entry["source"] for service in services.values() for entry in service.get(section, ())}
    specs = {service.get("credential_spec", {}).get("config") for service in services.values()}
    return used | specs if section == "configs" else used
