"""What is installed is written down with its hashes, and nothing is installed by any other way."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parents[3]
RUN, TEST = PROJECT / "deploy" / "requirements.txt", PROJECT / "tests" / "requirements.txt"
NODE = PROJECT / "deploy" / "nodejs.txt"
PYTHONS = (
    {"python_version": "3.11", "python_full_version": "3.11.2"},
    {"python_version": "3.13", "python_full_version": "3.13.5"},
)


def pins(file: Path) -> dict[str, tuple[Requirement, list[str]]]:
    """Return what a file pins, by name: the requirement and its hashes."""
    found = {}
    for entry in file.read_text().replace("\\\n", " ").splitlines():
        if entry.startswith(("#", "-r ")):
            continue
        text, *hashes = entry.split(" --hash=")
        requirement = Requirement(text)
        found[canonicalize_name(requirement.name)] = requirement, [each.strip() for each in hashes]
    return found


def wanted(extra: str = "") -> list[Requirement]:
    setup = configparser.ConfigParser()
    setup.read(PROJECT / "setup.cfg")
    lines = setup["options.extras_require"][extra] if extra else setup["options"]["install_requires"]
    return [Requirement(line) for line in lines.strip().splitlines()]


@pytest.mark.parametrize("file", [RUN, TEST, NODE], ids=["run", "test", "node"])
def test_each_is_one_version_with_hashes_and_names_no_registry(file: Path) -> None:
    for requirement, hashes in pins(file).values():
        assert re.fullmatch(r"==[^=,*]+", str(requirement.specifier)), requirement
        assert hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes), requirement
    assert not re.search(r"://|--(extra-)?index-url|--find-links|--trusted-host", file.read_text())


@pytest.mark.parametrize("environment", PYTHONS, ids=["3.11", "3.13"])
def test_what_the_project_asks_for_is_in_it(environment: dict[str, str]) -> None:
    run, test = pins(RUN), pins(TEST)
    for requirement in (*wanted(), *wanted("test")):
        pinned, _ = (run | test)[canonicalize_name(requirement.name)]
        assert pinned.marker is None or pinned.marker.evaluate(environment), requirement
        assert requirement.specifier.contains(str(pinned.specifier).removeprefix("==")), requirement
    assert {canonicalize_name(each.name) for each in wanted()} <= run.keys()
    assert "setuptools" in run
    for name in run.keys() & test.keys():
        assert run[name][0].specifier == test[name][0].specifier, "pip installs both files at once"
        assert run[name][0].marker, "one that always runs is not in both"


@pytest.mark.parametrize("environment", PYTHONS, ids=["3.11", "3.13"])
def test_what_those_ask_for_is_in_it(environment: dict[str, str]) -> None:
    """With hashes pip installs nothing that is not written down; another Python may ask for more than this one."""
    here = [each for each, _ in (*pins(RUN).values(), *pins(TEST).values())]
    installed = {
        canonicalize_name(each.name) for each in here if each.marker is None or each.marker.evaluate(environment)
    }
    looked_at = 0
    for name in installed:
        try:
            asked = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # another Python's alone
            continue
        looked_at += 1
        for requirement in map(Requirement, asked):
            if requirement.marker is None or requirement.marker.evaluate({**environment, "extra": ""}):
                assert canonicalize_name(requirement.name) in installed, f"{name} asks for {requirement}"
    assert looked_at > 40


def test_scripts_install_by_hashes_alone() -> None:
    for script in ("deploy/install", "tests/run"):
        lines = (PROJECT / script).read_text().splitlines()
        calls = [line for line in lines if re.search(r"-m pip install .* -|\"\$\{pip\[@\]\}\" -", line)]
        by_hash = [line for line in calls if "--require-hashes" in line]
        own_files = [line for line in calls if "--no-index --no-deps" in line]
        assert by_hash, script
        assert own_files, script
        assert len(by_hash) + len(own_files) + len([line for line in calls if "local -a pip" in line]) == len(calls)


def test_a_file_of_another_content_is_refused(tmp_path: Path) -> None:
    entry = next(each for each in re.split(r"\n(?=\S)", RUN.read_text()) if each.startswith("cronsim=="))
    (tmp_path / "requirements.txt").write_text(entry)
    version = entry.partition("==")[2].split()[0]
    with zipfile.ZipFile(tmp_path / f"cronsim-{version}-py3-none-any.whl", "w") as wheel:
        folder = f"cronsim-{version}.dist-info"
        wheel.writestr("cronsim/__init__.py", "print('not what it was')")
        wheel.writestr(f"{folder}/METADATA", f"Metadata-Version: 2.1\nName: cronsim\nVersion: {version}\n")
        wheel.writestr(f"{folder}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{folder}/RECORD", "")
    pip = [sys.executable, "-m", "pip", "download", "--no-index", "--find-links", str(tmp_path), "--no-deps"]
    options = ["-d", str(tmp_path / "out"), "-r", str(tmp_path / "requirements.txt")]
    refused = subprocess.run([*pip, "--require-hashes", *options], capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "DO NOT MATCH THE HASHES" in refused.stderr
