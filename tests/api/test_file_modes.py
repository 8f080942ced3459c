"""What a real daemon makes is for its owner, and its socket for a group, whatever the umask of the shell is."""

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.ports import free_port

MANAGER = [sys.executable, "-m", "manager.main"]
SOCKET_MODE = 0o660


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="modes-") as name:  # short, for the socket's path
        yield Path(name)


@pytest.mark.timeout(240)  # six programs are loaded
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_nothing_that_a_manager_makes_is_for_others(folder: Path, umask: int):
    data, api = folder / "new" / "manager", folder / "run" / "new" / "docker.sock"
    environment = {**os.environ, "SWARM_MANAGER_HOST": f"unix://{api}"}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [*MANAGER, *arguments], umask=umask, env=environment, capture_output=True, text=True, check=False, input="x"
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    address = f"127.0.0.1:{free_port()}"
    run("init", "--data-dir", str(data), "--advertise-addr", address, "-H", f"unix://{api}")
    try:
        run("secret", "create", "key", "-")
        run("backup", "--data-dir", str(data), str(folder / "new" / "backups.backup"))
        run("client-cert", "alice", "--out", str(folder / "alice"))
        modes = {path: path.lstat().st_mode for path in folder.rglob("*") if not path.is_symlink()}
    finally:
        run("leave", "--force")
    assert stat.S_IMODE(modes.pop(api)) == SOCKET_MODE
    assert not [path for path, mode in modes.items() if mode & 0o022]
    assert stat.S_IMODE(modes[data]) == 0o700
    assert {stat.S_IMODE(mode) for path, mode in modes.items() if path.parent == data / "certificates"} == {0o600}
    others = {path.name for path, mode in modes.items() if stat.S_ISREG(mode) and mode & 0o077}
    assert others <= {"daemon.pid", "ca.pem", "cert.pem"}
    assert {"store.db", "store.db-wal", "store.db-shm", "store.db-confirmed", "config.json"} <= {p.name for p in modes}
    assert {"audit.log", "daemon.log", "backups.backup", "key.pem"} <= {p.name for p in modes}
