"""What a command loads before it does anything: a command line that is asked often starts at once."""

import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.loaded_modules import among, loaded, others

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
    variables: dict[str, Any] = {"_SWARM_MANAGER_COMPLETE": "bash_complete", "COMP_WORDS": line}
    assert among(loaded(tmp_path, **variables), HEAVY) == []
