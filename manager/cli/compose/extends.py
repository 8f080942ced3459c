"""`extends`: a service begins as another one, of the same file or of a further one, and says what differs.

The two are merged as a further `-c` file is over the ones before it, with two exceptions, in which this follows Docker
Compose: what a service says itself counts when it is nothing, too (`privileged: false`, an empty variable), and its
aliases are added to those of the other. Paths in a further file are relative to that file.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from manager.cli.compose.config import Project, Tree
from manager.cli.compose.dotenv import decode
from manager.cli.compose.errors import ComposeError, KeyPath, Position
from manager.cli.compose.interpolate import interpolate, unset_warnings
from manager.cli.compose.resolve import absolute, move_paths, remote_file
from manager.cli.compose.rules import Cursor, Report
from manager.cli.compose.schema import ROOT, SERVICE
from manager.cli.compose.yaml_loader import load_yaml

# Where the keys of one service stand, by their paths in it.
_Places: TypeAlias = dict[KeyPath, Position]

_MAX_DEPTH = 50
_MAX_PLACES = 200_000
# Lists that an override replaces, also by an empty one.
_REPLACED = ("command", "entrypoint", "test")


def extend_services(tree: Tree, root: Cursor, project: Project) -> Tree:
    """Return a normalised tree whose services have what they extend. Problems go to the cursor's report.

    Where the keys that came so stand is added to the positions of the report's document.
    """
    services = tree.get("services", {})
    if not any("extends" in service for service in services.values()):
        return tree
    report = root.report
    extender = _Extender(project, report)
    here = _File("", report.document.file, services, root, project.folder)
    positions = dict(report.document.positions)
    complete: Tree = {}
    for name, service in services.items():
        complete[name] = service
        if "extends" in service:
            complete[name], places = extender.service(here, name, ())
            positions = {path: where for path, where in positions.items() if path[:2] != ("services", name)}
            positions |= {("services", name, *path): where for path, where in places.items()}
    report.document = replace(report.document, positions=positions)
    return {**tree, "services": complete}


@dataclass(slots=True)
class _File:
    """A file whose services others extend; `path` is empty for the one that is read.

    Files that it names are looked for in `folder`, which is relative to the project's, or absolute; in `services` paths
    start in the project's already.
    """

    path: str
    title: str
    services: Tree
    root: Cursor
    folder: str = ""
    places: dict[str, _Places] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for path, where in self.root.report.document.positions.items():
            if path[:1] == ("services",) and len(path) > 1:
                self.places.setdefault(str(path[1]), {})[path[2:]] = where


class _Extender:
    """Completes services; each once, and each file is read once."""

    def __init__(self, project: Project, report: Report) -> None:
        self._project = project
        self._report = report
        self._files: dict[str, _File | None] = {}
        self._done: dict[tuple[str, str], tuple[Tree, _Places]] = {}
        self._copied = 0

    def service(self, file: _File, name: str, chain: tuple[tuple[str, str], ...]) -> tuple[Tree, _Places]:
        """Complete one service of a file; `chain` are those that are to be completed with it."""
        key = (file.path, name)
        if key not in self._done:
            self._done[key] = self._complete(file, name, (*chain, key))
        return self._done[key]

    def _complete(self, file: _File, name: str, chain: tuple[tuple[str, str], ...]) -> tuple[Tree, _Places]:
        own: Tree = {key: value for key, value in file.services[name].items() if key != "extends"}
        places = file.places.get(name, {})
        extends = file.services[name].get("extends")
        if extends is None:
            return own, places
        found = self._base(file, extends, file.root / "services" / name / "extends", chain)
        if found is None:
            return own, places
        base, base_places = found
        self._copied += len(base_places)
        if self._copied > _MAX_PLACES:
            raise _refused(
                file.root / "services" / name / "extends",
                f"the services that are extended have more than {_MAX_PLACES} values together",
            )
        raw = file.root.report.document.tree["services"][name]
        merged = _insist(SERVICE.merge(base, own), own, raw)
        return _with_aliases(merged, base, own), _merge_places(base_places, places)

    def _base(
        self, file: _File, extends: Tree, at: Cursor, chain: tuple[tuple[str, str], ...]
    ) -> tuple[Tree, _Places] | None:
        """Return the service that is extended; None, and a problem, when there is none."""
        other = self._file(file, extends["file"], at / "file") if "file" in extends else file
        name = extends["service"]
        if other is None:
            return None
        if name not in other.services:
            self._fail(at, f"there is no service {name} in {other.title}")
            return None
        if (other.path, name) in chain or len(chain) >= _MAX_DEPTH:
            circle = " → ".join(service for _, service in (*chain, (other.path, name)))
            self._fail(at, f"{'extends itself' if len(chain) < _MAX_DEPTH else 'too many steps'}: {circle}")
            return None
        return self.service(other, name, chain)

    def _file(self, file: _File, given: str, at: Cursor) -> _File | None:
        """Read a file that is named in another; None, and a problem, when that cannot be done."""
        if refusal := remote_file(given):
            self._fail(at, refusal)
            return None
        relative = absolute(file.folder, given)
        path = absolute(self._project.directory, relative)
        if path not in self._files:
            self._files[path] = None
            self._files[path] = self._read(path, posixpath.dirname(relative), at)
        return self._files[path]

    def _read(self, path: str, folder: str, at: Cursor) -> _File | None:
        try:
            document = load_yaml(path, decode(path, self._project.read(path)))
        except OSError as error:
            self._fail(at, f"cannot read {path}: {error.strerror or error}")
            return None
        if self._project.filled_in:
            document, places = interpolate(document, self._project.variables)
            self._report.warnings += unset_warnings(document, places).values()
        root = Cursor(Report(document, self._report.minor))
        tree = ROOT.read(document.tree, root)
        if root.report.problems:
            self._report.problems += root.report.problems
            return None
        return _File(path, path, move_paths(tree, folder).get("services", {}), root, folder)

    def _fail(self, at: Cursor, message: str) -> None:
        at.fail(message)
        if at.report is not self._report:
            self._report.problems.append(at.report.problems[-1])


def _refused(at: Cursor, message: str) -> ComposeError:
    at.fail(message)
    return ComposeError(at.report.problems)


def _insist(merged: Tree, own: Tree, raw: Any) -> Tree:
    """Put into a merged tree what the extending one says itself though it is nothing; `raw` is that as written.

    Normalising leaves some of it out, and merging lets the rest not count.
    """
    out = dict(merged)
    for key, value in own.items():
        if isinstance(value, dict) and isinstance(out[key], dict):
            out[key] = _insist(out[key], value, raw.get(key) if isinstance(raw, dict) else None)
        elif not isinstance(value, list | dict) and not isinstance(out[key], dict):
            out[key] = value
    for key, value in raw.items() if isinstance(raw, dict) else ():
        if value is not None and key not in own and (key in _REPLACED or not isinstance(value, list | dict)):
            out.pop(key, None)
    return out


def _with_aliases(merged: Tree, base: Tree, own: Tree) -> Tree:
    """Give a merged service the aliases of both."""
    networks = dict(merged.get("networks", {}))
    for name in base.get("networks", {}).keys() & own.get("networks", {}).keys():
        given = [(each["networks"][name] or {}).get("aliases", []) for each in (base, own)]
        if all(given):
            networks[name] = {**networks[name], "aliases": list(dict.fromkeys([*given[0], *given[1]]))}
    return {**merged, "networks": networks} if networks else merged


def _merge_places(base: _Places, own: _Places) -> _Places:
    """Merge where keys stand. Items of a list that both have are no longer at their index: the list's place counts."""
    return {**_without_shared_items(base, own), **_without_shared_items(own, base)}


def _without_shared_items(places: _Places, others: _Places) -> _Places:
    kept = {}
    for path, where in places.items():
        index = next((number for number, part in enumerate(path) if isinstance(part, int)), None)
        if index is None or path[:index] not in others:
            kept[path] = where
    return kept
