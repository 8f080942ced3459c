"""The dashboard's libraries are written down with their hashes, and what cannot be fetched is said."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
WEB = PROJECT / "manager" / "web"


def fetch(folder: Path, path: str = "/usr/bin:/bin") -> subprocess.CompletedProcess[str]:
    environment = {"PATH": path, "PIP_NO_INDEX": "1", "HOME": str(folder)}
    script = PROJECT / "deploy" / "web-assets"
    return subprocess.run([script, folder], env=environment, capture_output=True, text=True, check=False, timeout=50)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(WEB / name, tmp_path)
    return tmp_path


def test_each_is_one_version_with_a_hash_and_names_no_registry() -> None:
    asked = json.loads((WEB / "package.json").read_text())
    packages = json.loads((WEB / "package-lock.json").read_text())["packages"]
    wanted = {**asked["dependencies"], **asked["devDependencies"]}
    assert {name: packages[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    for name, package in packages.items():
        if name:
            assert package["integrity"].startswith("sha512-"), name
            assert "resolved" not in package, name
            assert not package.get("hasInstallScript"), name


def test_what_was_fetched_is_kept(folder: Path) -> None:
    """It is not asked for again: here nothing could answer."""
    if not (WEB / "vendor" / "fetched").exists():
        pytest.skip("needs what deploy/web-assets fetches")
    shutil.copytree(WEB / "vendor", folder / "vendor")
    before = (folder / "vendor").stat().st_ino
    done = fetch(folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert (folder / "vendor").stat().st_ino == before


def test_what_cannot_be_fetched_is_said(folder: Path) -> None:
    """On a machine without npm whose pip reaches nothing."""
    tools = folder / "bin"
    tools.mkdir()
    for name in ("bash", "dirname", "sed", "cat", "sha256sum", "mktemp", "rm", "python3"):
        found = shutil.which(name, path="/usr/bin:/bin")
        assert found, name
        (tools / name).symlink_to(found)
    done = fetch(folder, str(tools))
    assert done.returncode == 1
    assert "web-assets: there is no npm here, and none could be installed" in done.stderr
    assert not (folder / "vendor").exists()
