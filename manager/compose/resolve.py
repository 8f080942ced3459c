"""What one file's normalised tree takes from outside: variables, env files, the project directory, old spellings."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping

from manager.compose.config import Reader, Tree
from manager.compose.dotenv import decode, parse_env_file
from manager.compose.rules import Cursor
from manager.compose.schema import ENTRIES, SERVICE

_WINDOWS_PATH = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_NAMED_SINCE = {"networks": 5, "volumes": 4, "secrets": 5, "configs": 5}


def resolve(tree: Tree, root: Cursor, env: Mapping[str, str], read: Reader, directory: str) -> Tree:
    """Complete a normalised tree. Problems and warnings go to the cursor's report."""
    out = dict(tree)
    services = tree.get("services", {})
    at = root / "services"
    out["services"] = {name: _service(services[name], at / name, env, read, directory) for name in services}
    for section in _NAMED_SINCE:
        if section in tree:
            entries = {
                name: _external(section, name, entry, root / section / name) for name, entry in tree[section].items()
            }
            out[section] = entries
    for section in ("secrets", "configs"):
        if section in out:
            at = root / section
            out[section] = {
                name: _file_object(entry, at / name, env, directory) for name, entry in out[section].items()
            }
    return out


def _service(service: Tree, at: Cursor, env: Mapping[str, str], read: Reader, directory: str) -> Tree:
    files = _env_files(service.get("env_file", []), at / "env_file", env, read, directory)
    variables = {**_looked_up(files, env), **_looked_up(service.get("environment", {}), env)}
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


def _looked_up(variables: Mapping[str, str | None], env: Mapping[str, str]) -> dict[str, str | None]:
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


def _file_object(entry: Tree, at: Cursor, env: Mapping[str, str], directory: str) -> Tree:
    """Place the file of a secret or config that is made from one; a variable that holds one must be set."""
    if entry.get("external") or entry.get("driver"):
        return entry
    if ("file" in entry) == ("environment" in entry):
        at.fail('needs one of "file", "environment" and "external: true"')
        return entry
    if "file" in entry:
        return {**entry, "file": absolute(directory, entry["file"])}
    if entry["environment"] not in env:
        (at / "environment").fail(f"the variable {entry['environment']} is not set")
    return entry
