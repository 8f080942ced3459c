"""A copy is what its source is, with all metadata."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.worker.volumes.copy.sessions import session
from tests.unit.worker.volumes.copy.trees import look, scratch

MIB = 1024 * 1024
ROOT = os.geteuid() == 0


@pytest.fixture
def place() -> Iterator[Path]:
    with scratch() as folder:
        for name in ("source", "target", "work"):
            (folder / name).mkdir()
        yield folder


def copied(place: Path) -> None:
    """Copy in two passes; both sides agree, and really are the same."""
    with session(place / "source", place / "target", place / "work") as copying:
        copying.copy()
        copying.copy(last=True)
        copying.sender.verify()
    assert copying.receiver.error is None
    assert look(place / "target") == look(place / "source")


def test_files_of_all_sizes_are_copied(place: Path) -> None:
    for size in (0, 1, 65536, 131071, 131072, 131073, 3 * MIB + 5):
        (place / "source" / str(size)).write_bytes(os.urandom(size))
    copied(place)


def test_links_pipes_and_sockets_are_copied(place: Path) -> None:
    source = place / "source"
    (source / "file").write_text("x")
    (source / "folder").mkdir()
    os.link(source / "file", source / "folder" / "linked")
    (source / "symlink").symlink_to("/nowhere/at all")
    os.mkfifo(source / "pipe", 0o622)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(source / "socket"))
        copied(place)
    assert stat.S_ISSOCK((place / "target" / "socket").lstat().st_mode)


@pytest.mark.skipif(not ROOT, reason="needs root: it makes devices and gives files away")
def test_devices_owners_and_setuid_are_copied(place: Path) -> None:
    source = place / "source"
    os.mknod(source / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(source / "disk", stat.S_IFBLK | 0o600, os.makedev(259, 100000))
    (source / "tool").write_bytes(b"#!")
    os.chown(source / "tool", 1000, 2000)
    (source / "tool").chmod(0o6755)
    (source / "folder").mkdir()
    os.chown(source / "folder", 1000, 1000)
    (source / "folder").chmod(0o2770)
    (source / "folder" / "inner").write_text("")
    copied(place)


def test_a_name_may_have_any_bytes(place: Path) -> None:
    for name in (b"\xff\xfe", b"new\nline", b"-rf", b"a b", b"\x01", "é".encode(), b"." * 3, b"x" * 255):
        (place / "source" / os.fsdecode(name)).write_bytes(name)
    copied(place)


def test_holes_stay_holes(place: Path) -> None:
    with (place / "source" / "sparse").open("wb") as file:
        file.truncate(64 * MIB)
        file.seek(40 * MIB + 1)
        file.write(b"x")
    copied(place)
    assert (place / "target" / "sparse").stat().st_blocks * 512 <= MIB


def test_attributes_and_acls_are_copied(place: Path) -> None:
    source = place / "source"
    (source / "file").write_text("x")
    (source / "folder").mkdir()
    acl = bytes.fromhex("02000000 01000700ffffffff 02000600e8030000 04000500ffffffff 10000700ffffffff 20000500ffffffff")
    try:
        os.setxattr(source / "file", "user.colour", b"\x00red")
        os.setxattr(source / "file", "system.posix_acl_access", acl)
        os.setxattr(source / "folder", "system.posix_acl_default", acl)
    except OSError as error:
        pytest.skip(f"the file system of {place} has no such attributes: {error}")
    (source / "folder" / "inherits").write_text("")
    copied(place)


def test_what_is_gone_is_removed(place: Path) -> None:
    source, target = place / "source", place / "target"
    (source / "kept").write_text("x")
    (target / "stale" / "deep" / "er").mkdir(parents=True)
    (target / "stale" / "deep" / "file").write_text("x")
    (target / "kept").mkdir()
    (target / "kept" / "inner").write_text("x")
    copied(place)


def test_owners_are_relative_to_a_base(place: Path) -> None:
    if not ROOT:
        pytest.skip("needs root: it gives files away")
    file = place / "source" / "file"
    file.write_text("x")
    os.chown(file, 100_033, 100_044)
    os.chown(place / "source", 100_000, 100_000)
    with session(place / "source", place / "target", place / "work", bases=(100_000, 200_000)) as copying:
        copying.copy(last=True)
        copying.sender.verify()
    status = (place / "target" / "file").stat()
    assert (status.st_uid, status.st_gid) == (200_033, 200_044)
