"""Other people's programs that speak to the manager: installed when a test first asks for one, and kept.

They come from Debian, PyPI and the npm registry through those registries' own clients: Python's and Node's at the exact
versions and hashes of `programs/requirements.txt` and `programs/package-lock.json`, Debian's by name. They are kept in
`.clients` beside `.venv`, of which git knows nothing.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "programs"
KEPT = ROOT / ".clients"


def python() -> Path:
    """Return the interpreter of a virtual environment with testcontainers, python-on-whales and ansible-core."""
    requirements = PROGRAMS / "requirements.txt"

    def make(folder: Path) -> None:
        _run(sys.executable, "-m", "venv", folder)
        options = ("-q", "--disable-pip-version-check", "--require-hashes", "--only-binary=:all:", "-r", requirements)
        _run(folder / "bin/python", "-m", "pip", "install", *options)

    return _kept("python", requirements.read_bytes() + sys.version.encode(), make) / "bin/python"


def node() -> Path:
    """Return a folder whose `node_modules` has dockerode and testcontainers; programs that use them must lie in it."""
    if shutil.which("npm") is None:
        _apt_install("nodejs", "npm")
    described = [PROGRAMS / "package.json", PROGRAMS / "package-lock.json"]

    def make(folder: Path) -> None:
        for each in described:
            shutil.copy(each, folder)
        _run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent", cwd=folder)

    return _kept("node", b"".join(each.read_bytes() for each in described), make)


def node_program(name: str) -> Path:
    """Return a program of `programs`, copied to where Node finds what it imports."""
    return Path(shutil.copy(PROGRAMS / name, node()))


def debian(package: str, *paths: str) -> Path:
    """Return the folder with these files of a Debian package: nothing of it runs or is configured by itself."""

    def make(folder: Path) -> None:
        _apt("download", package, cwd=folder)
        (archive,) = folder.glob("*.deb")
        _run("dpkg-deb", "-x", archive, folder / "all")
        for path in paths:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / "all" / path).rename(folder / path)
        shutil.rmtree(folder / "all")
        archive.unlink()

    return _kept(package, " ".join(paths).encode(), make)


def debian_program(package: str, program: str) -> str:
    """Return a program of a Debian package, installed on this machine for what it needs of others."""
    found = shutil.which(program)
    if found is None:
        _apt_install(package)
        found = shutil.which(program)
    assert found is not None, f"Debian's package {package} has no program {program}"
    return found


def _kept(name: str, made_from: bytes, make: Callable[[Path], None]) -> Path:
    """Return a folder that `make` has filled, now or for an earlier test of the same description."""
    folder = KEPT / f"{name}-{hashlib.sha256(made_from).hexdigest()[:12]}"
    with _alone():
        if not folder.exists():
            for old in KEPT.glob(f"{name}-*"):
                shutil.rmtree(old)
            unfinished = KEPT / f".{folder.name}"
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            make(unfinished)
            unfinished.rename(folder)
    return folder


@contextmanager
def _alone() -> Iterator[None]:
    """Let one process install at a time."""
    KEPT.mkdir(exist_ok=True)
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _apt_install(*packages: str) -> None:
    with _alone():
        _apt("install", "-y", "-q", "--no-install-recommends", *packages)


def _apt(*arguments: str, cwd: Path | None = None) -> None:
    """Run apt-get; once more with new lists, if these are too old or were never fetched."""
    command = ("apt-get", "-o", "APT::Sandbox::User=root", *arguments)
    if subprocess.run(command, cwd=cwd, env=_QUIET, capture_output=True, check=False).returncode:
        _run("apt-get", "update", "-q")
        _run(*command, cwd=cwd)


_QUIET = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}


def _run(*command: str | Path, cwd: Path | None = None) -> None:
    """Run a command.

    Raises:
        AssertionError: it failed; with all that it said.

    """
    done = subprocess.run([*map(str, command)], cwd=cwd, env=_QUIET, capture_output=True, text=True, check=False)
    assert not done.returncode, f"{' '.join(map(str, command))}:\n{done.stdout}{done.stderr}"
