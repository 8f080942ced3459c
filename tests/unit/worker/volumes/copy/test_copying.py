"""A copy is what its source is, with all metadata."""

from __future__ import annotations

import contextlib
import mmap
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.worker.volumes.copy.sessions import session, tick_moment
from tests.unit.worker.volumes.copy.trees import look, scratch
from worker.volumes.copy.scan import Moment, begin_moment, unsettled_moment
from worker.volumes.copy.system import read_only
from worker.volumes.copy.target import Target
from worker.volumes.copy.walk import open_root, opener

MIB = 1024 * 1024
ROOT = os.geteuid() == 0
ACL = bytes.fromhex("02000000 01000700ffffffff 02000600e8030000 04000500ffffffff 10000700ffffffff 20000500ffffffff")


@contextlib.contextmanager
def descriptor(folder: Path) -> Iterator[int]:
    root = open_root(str(folder))
    try:
        yield root
    finally:
        os.close(root)


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    before = os.geteuid()
    if ROOT:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


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
    for mode in (0o000, 0o666, 0o4755):  # of root's own files, which are made with it
        (source / f"{mode:o}").write_bytes(b"own")
        (source / f"{mode:o}").chmod(mode)
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


@pytest.mark.parametrize("folder", [".", "folder"])
def test_a_folders_default_acl_is_not_left_on_its_files(place: Path, folder: str) -> None:
    """The kernel gives it to whatever is made in the folder at the target, also to what has none at the source."""
    source = place / "source"
    (source / "folder").mkdir(exist_ok=True)
    with session(source, place / "target", place / "work") as copying:
        copying.copy()
        (source / folder / "before").write_text("x")
        try:
            os.setxattr(source / folder, "system.posix_acl_default", ACL)
        except OSError:
            pytest.skip("this file system has no ACLs")
        copying.copy()
        (place / "elsewhere").write_text("x")
        (place / "elsewhere").rename(source / folder / "after")
        copying.copy(last=True)
    assert copying.receiver.error is None
    assert look(place / "target") == look(source)


def test_attributes_and_acls_are_copied(place: Path) -> None:
    source = place / "source"
    (source / "file").write_text("x")
    (source / "folder").mkdir()
    try:
        os.setxattr(source / "file", "user.colour", b"\x00red")
        os.setxattr(source / "file", "system.posix_acl_access", ACL)
        os.setxattr(source / "folder", "system.posix_acl_default", ACL)
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


def test_a_folder_of_many_folders_is_listed_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its removal takes the square of what is in it, in the last pass, too, while tasks stand still."""
    for number in range(50):
        (place / "target" / "old" / str(number) / "below").mkdir(parents=True)
        (place / "target" / "old" / str(number) / "file").write_text("gone")
    list_names, listed = os.listdir, []

    def listdir(folder: int) -> list[str]:
        listed.append(folder)
        return list_names(folder)

    root = os.open(place / "target", os.O_RDONLY)
    try:
        with monkeypatch.context() as patched:
            patched.setattr("os.listdir", listdir)
            Target(root, 0).remove(b"old")
    finally:
        os.close(root)
    assert not list((place / "target").iterdir())
    assert len(listed) == 1 + 2 * 50


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


def test_links_follow_their_file_through_changes(place: Path) -> None:
    source = place / "source"
    for first, second in (("a", "z"), ("b", "y")):
        (source / first).write_bytes(os.urandom(300_000))
        os.link(source / first, source / second)
    with session(source, place / "target", place / "work") as copying:
        copying.copy()
        with (source / "a").open("r+b") as file:
            file.write(b"changed through one name")
        (source / "b").unlink()
        (source / "b").write_text("a file of its own")
        os.link(source / "y", source / "c")
        copying.copy()
        (source / "z").unlink()
        copying.copy(last=True)
        copying.sender.verify()
    assert look(place / "target") == look(source)


def test_only_blocks_that_differ_are_sent(place: Path) -> None:
    file = place / "source" / "file"
    file.write_bytes(os.urandom(8 * MIB))
    with session(place / "source", place / "target", place / "work") as copying:
        copying.copy()
        with file.open("r+b") as changing:
            changing.seek(5 * MIB)
            changing.write(b"changed")
        tally, _ = copying.sender.make_pass(True, 0, lambda _: None)
        assert (tally.sent, tally.read) == (128 * 1024, 8 * MIB)
    assert look(place / "target") == look(place / "source")


def test_what_looks_the_same_is_not_read_again(place: Path) -> None:
    (place / "source" / "file").write_bytes(os.urandom(MIB))
    settled = Moment(2**63 - 1, unsettled_moment().clock)
    with session(place / "source", place / "target", place / "work", lambda _: settled) as copying:
        copying.copy()
        tally, _ = copying.sender.make_pass(True, 0, lambda _: None)
    assert (tally.files, tally.read) == (0, 0)


def test_waiting_for_the_disk_is_told_apart(place: Path) -> None:
    """It depends on what others write, and says nothing of how long the rest takes."""

    def begin(_: int) -> Moment:
        time.sleep(0.1)
        return tick_moment(_)

    with session(place / "source", place / "target", place / "work", begin) as copying:
        tally, _ = copying.sender.make_pass(False, 0, lambda _: None)
        assert tally.settling >= 0.1
        tally, _ = copying.sender.make_pass(True, 0, lambda _: None)
        assert tally.settling < 0.1  # it waits for the disk at its end, at the target


def test_a_clock_that_was_set_makes_all_be_read_again(place: Path) -> None:
    (place / "source" / "file").write_bytes(os.urandom(MIB))
    before = Moment(2**63 - 1, unsettled_moment().clock - 3600)
    with session(place / "source", place / "target", place / "work", lambda _: before) as copying:
        copying.copy()
        tally, _ = copying.sender.make_pass(True, 0, lambda _: None)
    assert (tally.files, tally.read, tally.sent) == (1, MIB, 0)


def test_a_store_through_mmap_is_not_missed(tmp_path: Path) -> None:
    """The second store into a dirty page changes no time, on a file system with a disk."""
    for name in ("source", "target", "work"):
        (tmp_path / name).mkdir()
    file = tmp_path / "source" / "file"
    file.write_bytes(bytes(4096))
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), 4096) as memory:
        with session(tmp_path / "source", tmp_path / "target", tmp_path / "work", begin_moment) as copying:
            memory[0] = 1

            def store_again(_: object) -> None:
                memory[1] += 1

            copying.copy(tick=store_again)
            memory[2] = 3
            copying.copy(last=True)
        assert (tmp_path / "target" / "file").read_bytes() == memory[:]


@pytest.mark.skipif(not ROOT, reason="needs root: it mounts, and makes a device")
def test_a_source_is_neither_written_nor_are_its_devices_opened(place: Path) -> None:
    source = place / "source"
    (source / "file").write_bytes(b"content")
    (source / "link").symlink_to("file")
    os.mkfifo(source / "pipe")
    os.mknod(source / "device", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    with descriptor(source) as root, read_only(root) as view:
        assert os.fstat(view) == os.fstat(root)
        with pytest.raises(OSError, match="Read-only file system"):
            os.open("new", os.O_WRONLY | os.O_CREAT, dir_fd=view)
        with pytest.raises(PermissionError):
            os.open("device", os.O_RDONLY, dir_fd=view)
        for folder in (root, view):
            opened = opener(folder)(b"file", folder, os.O_RDONLY)
            assert opened is not None
            assert os.read(opened, 100) == b"content"
            os.close(opened)
            assert opener(folder)(b"pipe", folder, os.O_RDONLY) is None
            assert opener(folder)(b"device", folder, os.O_RDONLY) is None
            assert opener(folder)(b"link", folder, os.O_RDONLY) is None
        assert opener(view) is not opener(root)


def test_who_may_not_mount_reads_the_source_itself(place: Path) -> None:
    with descriptor(place / "source") as root, as_nobody(), read_only(root) as view:
        assert view == root


@pytest.mark.skipif(not ROOT, reason="needs root: it mounts")
def test_another_file_system_is_left_out(place: Path) -> None:
    mounted = place / "source" / "mounted"
    mounted.mkdir()
    script = f"mount -t tmpfs tmpfs {mounted} && touch {mounted}/x && exec {sys.executable} -c"
    walk_it = """
import sys
from worker.volumes.copy.system import read_only
from worker.volumes.copy.walk import open_root, walk
root = open_root(sys.argv[1])
with read_only(root) as view:
    print(root != view, *([found.path for found in walk(each)] for each in (root, view)))
"""
    seen = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", f"{script} '{walk_it}' {place}/source"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert seen.stdout == "True [b''] [b'']\n"
