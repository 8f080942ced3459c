"""Earlier releases of the project, to run beside this one: its commands as a commit of this repository has them."""

import io
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.images import CACHE

_PROJECT = Path(__file__).parents[2]
_FOLDERS = ("common", "manager", "worker")
# With the libraries of this environment; the commit's code comes before this one's, and before what is in the folder
# where it runs. What a command starts by `sys.executable -m`, or by its name, is of the same commit.
_COMMAND = """\
#!/bin/sh
export PYTHONSAFEPATH=1 PYTHONPATH={tree} PATH={tree}/bin:"$PATH"
exec {python} -c 'from {package}.program import main; main()' "$@"
"""


def release(commit: str) -> Path:
    """Return a folder with `swarm-manager` and `swarm-worker` of a commit: put it first in `PATH`.

    Raises:
        LabError: the repository does not have the commit, as a shallow clone has not.

    """
    folder = CACHE / f"release-{commit}"
    if not folder.exists():
        CACHE.mkdir(exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=CACHE))
        try:
            _unpack(commit, draft)
            draft.chmod(0o755)
            draft.rename(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    commands = folder / "bin"
    commands.mkdir(exist_ok=True)
    for package in ("manager", "worker"):
        command = commands / f"swarm-{package}"
        words = {"tree": shlex.quote(str(folder)), "python": shlex.quote(sys.executable), "package": package}
        command.write_text(_COMMAND.format(**words))
        command.chmod(0o755)
    return commands


def _unpack(commit: str, folder: Path) -> None:
    archived = subprocess.run(["git", "archive", commit, *_FOLDERS], cwd=_PROJECT, check=False, capture_output=True)
    if archived.returncode:
        raise LabError(f"no commit {commit} in this repository: {archived.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(archived.stdout)) as tar:
        tar.extractall(folder, filter="data")
