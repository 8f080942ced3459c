"""A copy on the same file system begins with shares of its source's blocks, where there are such."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.worker.volumes.copy.sessions import session
from tests.unit.worker.volumes.copy.trees import look, scratch
from worker.volumes.copy import share
from worker.volumes.copy.share import share_files
from worker.volumes.copy.walk import open_root

MIB = 1 << 20


@pytest.fixture(scope="module", params=["mkfs.xfs", "mkfs.btrfs"])
def disk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Mount a small file system that can share blocks; skip where this machine cannot make one."""
    folder = tmp_path_factory.mktemp("disk")
    image, place = folder / "image", folder / "place"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(320 * MIB)
    try:
        subprocess.run([request.param, "-q", image], check=True, capture_output=True)
        subprocess.run(["mount", "-o", "loop", image, place], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system of {request.param}: {error}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)  # a session's descriptors may be open still


def make_tree(source: Path) -> None:
    (source / "inside").mkdir(parents=True)
    (source / "inside" / "large").write_bytes(os.urandom(8 * MIB))
    os.link(source / "inside" / "large", source / "again")
    (source / "small").write_text("small")
    (source / "link").symlink_to("small")
    with (source / "holes").open("wb") as file:
        file.truncate(4 * MIB)
        file.seek(2 * MIB)
        file.write(os.urandom(MIB))
    (source / "inside" / "large").chmod(0o4750)
    os.sync()


def used(path: Path) -> int:
    os.sync()
    found = os.statvfs(path)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def opened(source: Path, target: Path) -> int:
    one, other = open_root(str(source)), open_root(str(target))
    try:
        return share_files(one, other, 0)
    finally:
        for each in (one, other):
            os.close(each)


def test_a_copy_that_shares_blocks_is_whole_and_takes_no_room(disk: Path, tmp_path: Path) -> None:
    source, target = disk / "source", disk / "target"
    make_tree(source)
    target.mkdir()
    before = used(disk)
    assert opened(source, target) == 2
    (source / "holes").write_bytes(b"changed since")
    with session(source, target, tmp_path) as copy:
        copy.copy()
        assert copy.copy(last=True)
    assert look(target) == look(source)
    assert used(disk) - before < 2 * MIB
    (source / "inside" / "large").write_bytes(b"other")
    assert (target / "inside" / "large").stat().st_size == 8 * MIB, "it is a copy, not the same file"


def test_where_blocks_cannot_be_shared_nothing_is_left(tmp_path: Path) -> None:
    """Another file system refuses it, as does one that cannot share."""
    with scratch() as elsewhere:
        source = tmp_path / "source"
        make_tree(source)
        assert opened(source, elsewhere) == 0
        assert not [path for path in elsewhere.rglob("*") if path.is_file()]


def test_what_has_something_already_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then there is an older copy: what it has must not go."""
    monkeypatch.setattr(share, "_share", lambda *_: pytest.fail("nothing is to be shared"))
    source, target = tmp_path / "source", tmp_path / "target"
    make_tree(source)
    target.mkdir()
    (target / "older").touch()
    assert opened(source, target) == 0
