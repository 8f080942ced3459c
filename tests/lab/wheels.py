"""The Python packages that deploy/install installs, as files: hosts of the lab reach no package registry."""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.images import CACHE

_PROJECT = Path(__file__).parents[2]
_REQUIREMENTS = _PROJECT / "deploy" / "requirements.txt"


def wheelhouse(python: str = "/usr/bin/python3") -> Path:
    """Return a folder for PIP_FIND_LINKS with all that the project needs at run time, for this Python."""
    version = subprocess.run([python, "--version"], check=True, capture_output=True, text=True).stdout
    digest = hashlib.sha256(f"{version}{_REQUIREMENTS.read_text()}".encode()).hexdigest()[:16]
    folder = CACHE / f"wheels-{digest}"
    if folder.exists():
        return folder
    CACHE.mkdir(exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=CACHE))
    try:
        _download(python, draft)
        draft.rename(folder)
    except OSError:
        if not folder.exists():  # it does when tests beside this one were the first to put it there
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def _download(python: str, folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--python", python, "download", "-q", "--disable-pip-version-check"]
    options = ["--only-binary", ":all:", "--require-hashes", "-r", str(_REQUIREMENTS), "-d", str(folder)]
    done = subprocess.run([*pip, *options], check=False, capture_output=True, text=True)
    if done.returncode:
        raise LabError(f"pip cannot download the project's dependencies:\n{done.stderr}")
    folder.chmod(0o755)
