"""What a command of `swarm-worker` loads before it does anything."""

from pathlib import Path

import pytest

from common.process.private_files import private_folder
from tests.fakes.loaded_modules import among, loaded
from worker.config import DataDir, WorkerConfig

_PROGRAM = "worker.program"
_AGENT = ("aiohttp", "pyroute2", "uvloop", "worker.agent", "worker.engine", "worker.net", "worker.tasks")


@pytest.mark.parametrize("words", ["--version", "--help", "completion bash"])
def test_what_needs_no_command_loads_none(tmp_path: Path, words: str):
    modules = loaded(tmp_path, *words.split(), program=_PROGRAM)
    assert among(modules, (*_AGENT, "asyncio", "cryptography", "worker.commands", "worker.host")) == []


def test_the_status_loads_nothing_of_the_agent(tmp_path: Path):
    data = DataDir(tmp_path / "worker")
    private_folder(data.path)
    data.save(WorkerConfig(node_id="n1", cluster_id="c1", managers=("10.0.0.1:2377",)))
    modules = loaded(tmp_path, "status", "--data-dir", str(data.path), program=_PROGRAM, code=1)
    assert among(modules, _AGENT) == []
