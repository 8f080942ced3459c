"""Compose files that only Docker Compose has a word for: ours makes of each what docker compose makes of it.

`docker-compose config` writes what it has understood, with nothing of Compose's own left; that is loaded as any file.
"""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from manager.cli.compose import ComposeFile, load
from manager.cli.compose.render import as_tree
from tests.clients.installed import debian_program
from tests.compose_corpus import ENVIRONMENT, ROOT, read
from tests.compose_corpus.compare import differences

PROFILES = """
services:
  web: {image: web, depends_on: {opt: {condition: service_started, required: false}}}
  opt: {image: opt, profiles: [a, b]}
  heir: {extends: opt, profiles: [c]}
"""
SWITCHED = """
services:
  base: {image: base, init: true, read_only: true, hostname: b, dns: [192.0.2.1], environment: [A=1, B]}
  web: {extends: base, init: false, read_only: false, hostname: "", dns: [], environment: {A: "", B: x}}
"""


def as_docker(folder: Path, file: str, *profiles: str) -> dict[str, Any]:
    """Return what docker compose makes of a file."""
    program = debian_program("docker-compose", "docker-compose")
    chosen = [word for profile in profiles for word in ("--profile", profile)]
    done = subprocess.run(
        [program, "-f", file, *chosen, "config"],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", **ENVIRONMENT},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    # What was not chosen is not in it, but what was still says of which profile it is.
    theirs = load([ComposeFile("theirs", done.stdout)], ENVIRONMENT, read, str(folder), profiles="*")
    return plain(as_tree(theirs))


def as_ours(folder: Path, file: str, *profiles: str) -> dict[str, Any]:
    compose = ComposeFile(file, (folder / file).read_text(encoding="utf-8"))
    return plain(as_tree(load([compose], ENVIRONMENT, read, str(folder), profiles=profiles)))


def plain(tree: dict[str, Any]) -> dict[str, Any]:
    """Leave out what docker compose writes in any case, and what has been read: names, defaults, env files."""
    for service in tree["services"].values():
        service.pop("env_file", None)
        networks = {name: each for name, each in service.pop("networks", {}).items() if name != "default"}
        if networks:
            service["networks"] = networks
        dependencies = service.get("depends_on", [])
        if dependencies:
            service["depends_on"] = sorted(dependencies)
        for volume in service.get("volumes", []):
            volume.pop("volume", None)
            volume.pop("bind", None)
        service["volumes"] = sorted(service.get("volumes", []), key=lambda volume: volume["target"])
        for secret in service.get("secrets", []):
            secret.pop("target", None)
    for section in ("networks", "volumes", "secrets", "configs"):
        for entry in tree.get(section, {}).values():
            entry.pop("name", None)
        tree[section] = {name: each for name, each in tree.get(section, {}).items() if name != "default"}
    return tree


@pytest.mark.parametrize(
    "file",
    ["profiles.yaml", "extends/compose.yaml", "include/compose.yaml", "env_file_long/compose.yaml"],
)
def test_a_file_of_the_corpus_is_what_compose_makes_of_it(file: str) -> None:
    path = ROOT / "only_here" / file
    assert list(differences(as_ours(path.parent, path.name), as_docker(path.parent, path.name))) == []


@pytest.mark.parametrize("profiles", [(), ("a",), ("b", "c"), ("c",), ("*",)], ids=str)
def test_profiles_choose_what_they_choose_in_compose(tmp_path: Path, profiles: tuple[str, ...]) -> None:
    (tmp_path / "c.yaml").write_text(PROFILES)
    ours, theirs = as_ours(tmp_path, "c.yaml", *profiles), as_docker(tmp_path, "c.yaml", *profiles)
    assert sorted(ours["services"]) == sorted(theirs["services"])


def test_what_is_switched_off_is_switched_off_in_compose(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(SWITCHED)
    assert list(differences(as_ours(tmp_path, "c.yaml"), as_docker(tmp_path, "c.yaml"))) == []
