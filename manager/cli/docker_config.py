"""The docker command line's `config.json`: its user's layouts of lists, and the registries that they logged in to."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.errors import InvalidArgument
from common.text.image_names import HUB, Image
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
    """Read the file; empty if it is missing.

    Raises:
        InvalidArgument: it cannot be read.

    """
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InvalidArgument(f"cannot read docker's configuration {path}: {error.strerror}") from error
    except ValueError as error:
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


AUTH_HEADER = "X-Registry-Auth"
_HUB_SERVER = "https://index.docker.io/v1/"
_HELPER_SECONDS = 30


def auth_header(image: str, path: Path) -> str:
    """Return the `AUTH_HEADER` value for an image: base64url of JSON, `{}` when nobody logged in.

    Raises:
        InvalidArgument: the file with the credentials, or the helper it names, does not work.

    """
    try:
        server = Image.parse(image).registry
    except ValueError as error:
        raise InvalidArgument(str(error)) from error
    credentials = _credentials(_HUB_SERVER if server == HUB else server, load(path), path)
    return base64.urlsafe_b64encode(json.dumps(credentials).encode()).decode()


def every_auth(path: Path) -> str:
    """Return the `X-Registry-Config` value of a build: the credentials of every registry, by its name."""
    config = load(path)
    servers = [*(config.get("auths") or {}), *(config.get("credHelpers") or {})]
    known = {server: found for server in servers if (found := _credentials(server, config, path))}
    return base64.urlsafe_b64encode(json.dumps(known).encode()).decode()


def _credentials(server: str, config: dict[str, Any], path: Path) -> dict[str, str]:
    try:
        helper = (config.get("credHelpers") or {}).get(server) or config.get("credsStore")
        program = f"docker-credential-{_text(helper)}" if helper else ""
        entry = (config.get("auths") or {}).get(server) or {}
        login = base64.b64decode(entry.get("auth") or "").decode(errors="replace")
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidArgument(
            f"docker's configuration {path} has credentials in no form that docker writes: log in with 'docker login'"
        ) from error
    if program:
        return _from_helper(program, server)
    if not entry:
        return {}
    user, _, password = login.partition(":")
    known = {"username": user, "password": password, "identitytoken": entry.get("identitytoken", "")}
    return {key: value for key, value in known.items() if value} | {"serveraddress": server}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value


def _from_helper(program: str, server: str) -> dict[str, str]:
    """Ask a credential helper; that it knows no credentials is not an error."""
    command = [program, "get"]
    try:
        answer = subprocess.run(  # the argument vector is a list; the helper is the user's own choice
            command, input=server, capture_output=True, text=True, timeout=_HELPER_SECONDS, check=False
        )
        if answer.returncode:
            return {}
        found = json.loads(answer.stdout)
        user, secret = found["Username"], found["Secret"]
    except (OSError, ValueError, KeyError, TypeError, subprocess.TimeoutExpired) as error:
        raise InvalidArgument(f"the credential helper {program} does not work: {error}") from error
    if user == "<token>":
        return {"identitytoken": secret, "serveraddress": server}
    return {"username": user, "password": secret, "serveraddress": server}
