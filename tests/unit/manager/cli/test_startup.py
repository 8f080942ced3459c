"""What a command loads before it does anything: a command line that is asked often starts at once."""

import json
import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

# Runs the program as its console script does, and says in a file what was loaded.
_PROGRAM = """
import sys
from pathlib import Path
from manager.program import main
report = Path(sys.argv.pop(1))
try:
    main()
except SystemExit as end:
    report.write_text("\\n".join([str(end.code or 0), *sys.modules]))
"""
HEAVY = (
    *("aiohttp", "cryptography", "cronsim", "email", "importlib.metadata", "pyroute2", "rich", "uvloop", "yaml"),
    *("zoneinfo", "common.tls", "common.wire", "common.spec.gotemplate"),
    *("manager.cli.compose", "manager.cli.progress", "manager.config"),
)
OF_REQUESTS = ("asyncio", "msgspec", "ssl", "socket", "common.model", "manager.cli.client")


class Manager(BaseHTTPRequestHandler):
    """A manager with nothing in it."""

    def do_GET(self) -> None:
        self.send_response(200)
        body = json.dumps({"/volumes": {"Volumes": []}, "/info": {}}.get(self.path.partition("?")[0], [])).encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    path = str(tmp_path / "socket")
    with socketserver.ThreadingUnixStreamServer(path, Manager) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"unix://{path}"
        server.shutdown()
        serving.join()


def loaded(folder: Path, *words: str, **variables: str) -> set[str]:
    """Run a command, and return the modules that it has loaded in the end."""
    report = folder / "report"
    command = [sys.executable, "-c", _PROGRAM, str(report), *words]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **variables}, timeout=50)
    code, *modules = report.read_text().splitlines()
    assert code == "0"
    return set(modules)


def among(modules: set[str], names: tuple[str, ...]) -> list[str]:
    """Return those modules that have one of these names, or are in a package that has."""
    return sorted(each for each in modules if any(each == name or each.startswith(f"{name}.") for name in names))


def others(modules: set[str]) -> list[str]:
    """Return the modules that are not Python's own, nor how this tree is installed."""
    names = (*sys.stdlib_module_names, "__editable___swarm_0_1_0_finder", "_distutils_hack")
    return sorted(each for each in modules if each.partition(".")[0] not in names)


@pytest.mark.parametrize("words", ["--version", "--help", "-h"])
def test_what_needs_no_command_loads_none(tmp_path: Path, words: str):
    modules = loaded(tmp_path, *words.split())
    assert among(modules, (*HEAVY, *OF_REQUESTS)) == []
    assert len(others(modules)) <= 45


@pytest.mark.parametrize("words", ["service --help", "stack --help", "completion bash"])
def test_help_of_a_group_loads_the_group_alone(tmp_path: Path, words: str):
    assert among(loaded(tmp_path, *words.split()), HEAVY) == []


@pytest.mark.parametrize(
    "noun", ["config", "container", "image", "network", "node", "secret", "service", "stack", "task", "volume"]
)
def test_a_list_loads_what_it_shows(tmp_path: Path, host: str, noun: str):
    modules = loaded(tmp_path, "-H", host, noun, "ls")
    # Of nodes the default columns are templates with conditions.
    assert among(modules, HEAVY) == (among(modules, ("common.spec.gotemplate",)) if noun == "node" else [])
    assert len(others(modules)) <= 120


@pytest.mark.parametrize("line", ["swarm-manager ", "swarm-manager service l", "swarm-manager service ls --"])
def test_completion_of_words_loads_what_has_them(tmp_path: Path, line: str):
    variables = {"_SWARM_MANAGER_COMPLETE": "bash_complete", "COMP_WORDS": line}
    assert among(loaded(tmp_path, **variables), HEAVY) == []
