"""Compose files of our own writing, each of them put to Docker's command line and to ours.

- `same`, `merged`: both accept, with the same result; a folder is several files, merged in the order of their names.
- `differs`: both accept, with the differences that `DIFFERENCES` lists.
- `refused`: both refuse. A first line `# expect: LINE:COLUMN: MESSAGE` is what we say.
- `only_here`, `only_docker`: one side accepts. docs/compose.md says why.
"""

from __future__ import annotations

import functools
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from manager.cli.compose import ComposeFile, Config, load
from manager.cli.compose.dotenv import parse_dotenv

ROOT = Path(__file__).parent

# The process environment of every case.
ENVIRONMENT = {
    "HOME": "/home/user",
    "TAG": "1.2.3",
    "EMPTY": "",
    "HOST": "example.com",
    "PORT": "8080",
    "REPLICAS": "4",
    "RATIO": "0.25",
    "FLAG": "yes",
    "FROM_PROCESS": "process",
    "NAMESPACE": "prod",
}

# Where the results differ: case → key path → the reason's name in the table of docs/compose.md.
DIFFERENCES: dict[str, dict[str, str]] = {
    "same/extensions_and_anchors": {"networks.net.x-note": "extension-kept"},
    "merged/scalars_and_lists": {
        "services.web.cap_add": "no-repetitions",
        "services.web.dns": "no-repetitions",
    },
    "differs/port_address": {
        "services.web.ports[0].host_ip": "port-address",
        "services.web.ports[1].host_ip": "port-address",
    },
    "differs/dollar_operator": {
        "services.web.image": "unbraced-operator",
        "services.web.command[0]": "unbraced-operator",
    },
    "differs/one_letter_volume": {
        "services.web.volumes[0].source": "one-letter-volume",
        "services.web.volumes[0].target": "one-letter-volume",
    },
    "differs/extension_words": {"x-flags[0]": "bare-words", "x-flags[1]": "bare-words"},
    "differs/override_healthcheck": {"services.web.healthcheck.test": "healthcheck-replaced"},
    "differs/same_port_twice": {"services.web.ports": "port-identity"},
}


@dataclass(frozen=True)
class Case:
    """One case: `name` is its path in the corpus without the suffix."""

    name: str
    files: tuple[Path, ...]

    @property
    def directory(self) -> Path:
        return self.files[0].parent


def cases(*kinds: str) -> list[Case]:
    """All cases of the given folders, by name."""
    return [case for kind in kinds for case in _cases(ROOT / kind)]


def _cases(folder: Path) -> Iterator[Case]:
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            yield Case(f"{folder.name}/{entry.name}", tuple(sorted(entry.glob("*.yaml"))))
        elif entry.suffix == ".yaml":
            yield Case(f"{folder.name}/{entry.stem}", (entry,))


def read(path: str) -> bytes:
    return Path(path).read_bytes()


def load_case(case: Case, *, filled_in: bool = True, environment: Mapping[str, str] = ENVIRONMENT) -> Config:
    """Load a case as `swarm-manager stack config` would."""
    files = [ComposeFile(path.name, path.read_text(encoding="utf-8")) for path in case.files]
    return load(files, environment, read, str(case.directory), filled_in=filled_in)


def docker_environment(case: Case, environment: Mapping[str, str] = ENVIRONMENT) -> dict[str, str]:
    """What Docker's command line must be given: it does not read a project's `.env` by itself."""
    dotenv = case.directory / ".env"
    own = parse_dotenv(str(dotenv), dotenv.read_text(), environment)[0] if dotenv.exists() else {}
    return {"PATH": os.environ["PATH"], **own, **environment}


@functools.cache
def docker_config(case: Case, *options: str) -> tuple[dict[str, Any] | None, str]:
    """Ask `docker stack config`, once a case: the tree that it prints (None when it refuses) and its standard error."""
    return ask_docker(case, docker_environment(case), *options)


def ask_docker(case: Case, environment: Mapping[str, str], *options: str) -> tuple[dict[str, Any] | None, str]:
    arguments = [argument for path in case.files for argument in ("-c", str(path))]
    done = subprocess.run(
        ["docker", "stack", "config", *options, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env=dict(environment),
    )
    return (yaml.load(done.stdout, _Strings) if done.returncode == 0 else None), done.stderr


class _Strings(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Docker prints dates without quotes where they are strings."""


_Strings.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith("timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
