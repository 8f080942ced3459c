"""What a compose file takes from outside, filled in: env files, paths below the project's folder, old spellings."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping

from manager.cli.compose.builds import REMOTE
from manager.cli.compose.config import Project, Tree
from manager.cli.compose.dotenv import decode, parse_dotenv, parse_env_file
from manager.cli.compose.interpolate import UNSET
from manager.cli.compose.rules import Cursor
from manager.cli.compose.schema import ENTRIES, SERVICE

WINDOWS_PATH = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_NAMED_SINCE = {"networks": 5, "volumes": 4, "secrets": 5, "configs": 5}
# The formats of env files whose values are all that follows the `=`: as it is said, and that of a path alone.
_RAW = "raw"
_SHORT = ""
_QUOTED = re.compile(r"(['\"]).*\1", re.DOTALL)
_MOST_NAMED = 3


def move_paths(tree: Tree, folder: str) -> Tree:
    """Write the paths of a normalised tree so that they start where the project's do; they started in `folder`."""
    out = dict(tree)
    if "services" in tree:
        out["services"] = {name: _move_service(service, folder) for name, service in tree["services"].items()}
    for section in _SOURCES:
        if section in tree:
            out[section] = {
                name: {**entry, "file": absolute(folder, entry["file"])} if "file" in entry else entry
                for name, entry in tree[section].items()
            }
    return out


def _move_service(service: Tree, folder: str) -> Tree:
    out = dict(service)
    if "env_file" in out:
        out["env_file"] = [
            {**each, "path": absolute(folder, each["path"])} if isinstance(each, dict) else absolute(folder, each)
            for each in out["env_file"]
        ]
    if "volumes" in out:
        out["volumes"] = [_move_volume(each, folder) for each in out["volumes"]]
    context = out.get("build", {}).get("context", ".")
    if "build" in out and not context.startswith(("~", *REMOTE)):
        out["build"] = {**out["build"], "context": absolute(folder, context)}
    return out


def _move_volume(volume: Tree, folder: str) -> Tree:
    source = volume.get("source", "")
    if volume.get("type") != "bind" or not source or source.startswith("~") or WINDOWS_PATH.match(source):
        return volume
    return {**volume, "source": absolute(folder, source)}


def resolve(tree: Tree, root: Cursor, project: Project) -> Tree:
    """Complete a normalised tree. Problems and warnings go to the cursor's report."""
    out = {key: value for key, value in tree.items() if key != "name"}
    services = tree.get("services", {})
    at = root / "services"
    out["services"] = {name: _service(services[name], at / name, project) for name in services}
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
                name: _file_object(entry, sources, at / name, project) for name, entry in out[section].items()
            }
    return out


def _service(service: Tree, at: Cursor, project: Project) -> Tree:
    # The files of one that is not deployed may be missing, as for Compose.
    paths = service.get("env_file", []) if project.runs(service) else []
    files, env = _env_files(paths, at / "env_file", project), project.variables
    variables = {**_look_up_variables(files, env), **_look_up_variables(service.get("environment", {}), env)}
    out = {**service, "environment": dict(sorted(variables.items()))}
    if "volumes" in service:
        volumes = enumerate(service["volumes"])
        out["volumes"] = [_bind(volume, at / "volumes" / index, project) for index, volume in volumes]
    return SERVICE.ordered({name: value for name, value in out.items() if name != "environment" or value})


def _env_files(files: list[str | Tree], at: Cursor, project: Project) -> Mapping[str, str]:
    variables: dict[str, str] = {}
    for file in files:
        long = file if isinstance(file, dict) else {"path": file, "format": _SHORT}
        path = absolute(project.directory, long["path"])
        try:
            content = project.read(path)
        except OSError as error:
            if not isinstance(error, FileNotFoundError) or long.get("required", True):
                at.fail(f"cannot read {path}: {error.strerror or error}")
            continue
        variables.update(_env_file(path, decode(path, content), long, at, project.variables))
    return variables


def _env_file(path: str, text: str, long: Tree, at: Cursor, env: Mapping[str, str]) -> Mapping[str, str]:
    """Read an env file: what stacks have named always as it stands, the long form, which is Compose's, as Compose."""
    form = long.get("format")
    if form in (_RAW, _SHORT):
        raw = parse_env_file(path, text, env)
        if form == _SHORT and (quoted := [name for name, value in raw.items() if _QUOTED.fullmatch(value)]):
            at.report.warnings.append(
                f"{path}: {', '.join(quoted[:_MOST_NAMED])}: the quotes are part of the value, as for docker stack "
                "deploy; docker compose takes them off, as `env_file: [{path: …}]` does here"
            )
        return raw
    variables, unset = parse_dotenv(path, text, env)
    at.report.warnings += [f"{path}: {UNSET.format(name)}" for name in unset]
    return variables


def _look_up_variables(variables: Mapping[str, str | None], env: Mapping[str, str]) -> dict[str, str | None]:
    """Give a variable without a value, or with an empty one, the environment's."""
    return {name: value or env.get(name, value) for name, value in variables.items()}


def _bind(volume: Tree, at: Cursor, project: Project) -> Tree:
    if volume.get("type") != "bind":
        return volume
    source = volume.get("source", "")
    if not source:
        at.fail("a bind mount needs a source")
    if source.startswith("~"):
        home = project.variables.get("HOME")
        if home is None:
            at.fail(f'"{source}" needs the variable HOME, which is not set')
        source = source.replace("~", home or "~", 1)
    return {**volume, "source": source if WINDOWS_PATH.match(source) else absolute(project.directory, source)}


def remote_file(path: str) -> str:
    """Say of a compose file that is named by an address that it has to be here; empty if it is named by a path."""
    if not path.startswith((*REMOTE, "oci://")):
        return ""
    return f"{path} is not a file on this host: fetch it, and name the file"


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


def _file_object(entry: Tree, sources: tuple[str, ...], at: Cursor, project: Project) -> Tree:
    """Place the file of a secret or config that is made from one; a variable that holds one must be set."""
    if entry.get("external") or entry.get("driver"):
        return entry
    if sum(key in entry for key in sources) != 1:
        named = ", ".join(f'"{key}"' for key in sources)
        at.fail(f'needs one of {named} and "external: true"')
        return entry
    if "file" in entry:
        return {**entry, "file": absolute(project.directory, entry["file"])}
    return entry
