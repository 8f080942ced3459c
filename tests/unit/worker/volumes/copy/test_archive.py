"""A volume as a tar archive, and back: of ours, of other programs', of strangers'."""

from __future__ import annotations

import contextlib
import io
import os
import random
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import InvalidArgument, ResourceExhausted, SwarmError
from tests.fakes.archives import tar_of
from tests.unit.worker.volumes.copy.trees import SmallDisk, look, scratch
from worker.volumes.copy.archive import export, restore
from worker.volumes.copy.walk import open_root

MIB = 1024 * 1024
ROOT = os.geteuid() == 0
CALLS = int(os.environ.get("SWARM_FUZZ_CALLS", "100"))
SEED = int(os.environ.get("SWARM_FUZZ_SEED", "1"))


@pytest.fixture
def place() -> Iterator[Path]:
    with scratch() as folder:
        for name in ("source", "target"):
            (folder / name).mkdir()
        yield folder


def archive_of(folder: Path, base: int = 0) -> bytes:
    out = io.BytesIO()
    root = open_root(str(folder))
    try:
        export(root, base, out.write)
    finally:
        os.close(root)
    return out.getvalue()


def unpack(archive: bytes, folder: Path, base: int = 0) -> None:
    root = open_root(str(folder))
    try:
        restore(root, base, io.BytesIO(archive).read)
    finally:
        os.close(root)


def fill(source: Path) -> None:
    (source / "file").write_bytes(os.urandom(70_000))
    (source / "empty").write_bytes(b"")
    (source / "sub" / ("x" * 200)).mkdir(parents=True)
    os.link(source / "file", source / "sub" / "linked")
    (source / "sub" / "link").symlink_to("../file")
    os.mkfifo(source / "pipe")
    (source / os.fsdecode(b"\xff name\n")).write_text("x")
    with (source / "sparse").open("wb") as file:
        file.truncate(32 * MIB)
        file.seek(5 * MIB + 3)
        file.write(b"data")
    os.utime(source / "file", ns=(0, 1_234_567_890_123_456_789))
    os.utime(source / "empty", ns=(0, -1_500_000_001))
    if ROOT:
        os.mknod(source / "device", stat.S_IFCHR | 0o640, os.makedev(1, 5))
        os.chown(source / "empty", 3_000_000, 4_000_000)
        (source / "empty").chmod(0o4755)


def test_an_archive_restores_the_same_tree(place: Path) -> None:
    fill(place / "source")
    archive = archive_of(place / "source")
    assert len(archive) < 2 * MIB, "holes take no room"
    unpack(archive, place / "target")
    assert look(place / "target") == look(place / "source")
    assert (place / "target" / "sparse").stat().st_blocks * 512 <= MIB


def members(*sizes: int) -> bytes:
    """Return the beginning of an archive of files of these sizes, filled; none of them ends it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for number, size in enumerate(sizes):
            info = tarfile.TarInfo(f"{number}")
            info.size = size
            tar.addfile(info, io.BytesIO(b"x" * size))
    return out.getvalue()


@pytest.mark.parametrize("sizes", [[96 * MIB], [MIB] * 96, [0] * 300], ids=["one", "many", "empty"])
def test_an_archive_cannot_fill_the_disk(place: Path, monkeypatch: pytest.MonkeyPatch, sizes: list[int]) -> None:
    monkeypatch.setattr(os, "statvfs", SmallDisk.beside(place / "target"))
    monkeypatch.setattr(SmallDisk, "f_files", 250)  # it counts them all for each that arrives
    with pytest.raises(ResourceExhausted, match="the rest of its disk is for others"):
        unpack(members(*sizes), place / "target")
    disk = SmallDisk(place / "target")
    assert disk.f_bavail > 0
    assert disk.f_favail > 0


def test_an_archives_holes_need_no_room(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (place / "source" / "sparse").open("wb") as file:
        file.truncate(96 * MIB)
    monkeypatch.setattr(os, "statvfs", SmallDisk.beside(place / "target"))
    unpack(archive_of(place / "source"), place / "target")
    assert look(place / "target") == look(place / "source")


def test_attributes_survive_an_archive(place: Path) -> None:
    (place / "source" / "file").write_text("x")
    value = bytes(range(256))
    try:
        os.setxattr(place / "source" / "file", "user.any=%3Dbytes", value)
    except OSError as error:
        pytest.skip(f"the file system of {place} has no such attributes: {error}")
    unpack(archive_of(place / "source"), place / "target")
    assert os.getxattr(place / "target" / "file", "user.any=%3Dbytes") == value


def test_gnu_tar_reads_our_archives(place: Path) -> None:
    fill(place / "source")
    subprocess.run(
        ["tar", "-xpf", "-", "--numeric-owner", "-C", place / "target"],
        input=archive_of(place / "source"),
        check=True,
        capture_output=True,
    )
    assert look(place / "target") == look(place / "source")


@pytest.mark.parametrize("format_name", ["gnu", "posix", "ustar"])
def test_archives_of_gnu_tar_are_read(place: Path, format_name: str) -> None:
    (place / "source" / "sub").mkdir()
    (place / "source" / "sub" / "file").write_bytes(os.urandom(70_000))
    with (place / "source" / "sparse").open("wb") as file:
        file.truncate(3 * MIB)
        file.seek(MIB)
        file.write(b"data")
    for each in (*(place / "source").rglob("*"), place / "source"):
        os.utime(each, ns=(0, 1_234_567_890 * 10**9))
    sparse = [] if format_name == "ustar" else ["--sparse"]
    made = subprocess.run(
        ["tar", f"--format={format_name}", *sparse, "-C", place / "source", "-cf", "-", "."],
        check=True,
        capture_output=True,
    )
    unpack(made.stdout, place / "target")
    assert look(place / "target") == look(place / "source")


def test_owners_are_relative_to_a_base(place: Path) -> None:
    if not ROOT:
        pytest.skip("needs root: it gives files away")
    (place / "source" / "file").write_text("x")
    for each in (place / "source", place / "source" / "file"):
        os.chown(each, 100_005, 100_006)
    unpack(archive_of(place / "source", base=100_000), place / "target", base=500_000)
    status = (place / "target" / "file").stat()
    assert (status.st_uid, status.st_gid) == (500_005, 500_006)


@pytest.mark.parametrize(
    "members",
    [
        [("../outside", tarfile.REGTYPE, "")],
        [("/outside", tarfile.REGTYPE, "")],
        [("a/../../outside", tarfile.REGTYPE, "")],
        [("link", tarfile.LNKTYPE, "../secret")],
        [("link", tarfile.SYMTYPE, "../secret"), ("hard", tarfile.LNKTYPE, "link")],
        [(".", tarfile.REGTYPE, "")],
        [("odd", b"Z", "")],
    ],
)
def test_nothing_leads_out_of_the_folder(place: Path, members: list[tuple[str, bytes, str]]) -> None:
    (place / "secret").write_text("secret")
    with pytest.raises(InvalidArgument):
        unpack(tar_of(*members), place / "target")
    assert not (place / "outside").exists()
    assert (place / "secret").stat().st_nlink == 1


def test_a_link_that_is_taken_for_a_folder_becomes_one(place: Path) -> None:
    unpack(tar_of(("link", tarfile.SYMTYPE, ".."), ("link/outside", tarfile.REGTYPE, "")), place / "target")
    assert not (place / "outside").exists()
    assert (place / "target" / "link" / "outside").read_bytes() == b""


@pytest.mark.parametrize("cut", [100, 700, 5000])
def test_half_an_archive_is_refused(place: Path, cut: int) -> None:
    (place / "source" / "file").write_bytes(os.urandom(70_000))
    with pytest.raises(InvalidArgument):
        unpack(archive_of(place / "source")[:cut], place / "target")


def member(kind: bytes, size: int, content: bytes = b"", **pax: str) -> bytes:
    """Write a member that says that it has so many bytes, and what it has. pax: of GNU's sparse format."""
    info = tarfile.TarInfo("file")
    info.type, info.size = kind, size
    info.pax_headers = {f"GNU.sparse.{name}": value for name, value in pax.items()}
    return info.tobuf(tarfile.PAX_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)


SPARSE = {"major": "1", "minor": "0", "name": "file", "realsize": "3"}


@pytest.mark.parametrize(
    "archive",
    [
        member(tarfile.XHDTYPE, 2**40),
        member(tarfile.GNUTYPE_LONGNAME, 2**40),
        member(tarfile.REGTYPE, 512, b"x\n", **SPARSE),
        member(tarfile.REGTYPE, 512, b"1\n", **SPARSE),
        member(tarfile.REGTYPE, 512, b"1\n0\n9999999999999999999999\n", **SPARSE),
        member(tarfile.REGTYPE, 512, b"1\n-1\n1\n", **SPARSE),
        member(tarfile.REGTYPE, 2**60, b"1\n0\n0\n", **SPARSE),
        b"".join(member(tarfile.XHDTYPE, 0) for _ in range(5000)),
    ],
)
def test_no_header_costs_more_than_what_comes(place: Path, archive: bytes) -> None:
    """Neither memory nor time: what cannot be is refused, and what is announced is not waited for."""
    with pytest.raises(InvalidArgument):
        unpack(archive, place / "target")


def test_an_archive_that_is_nearly_right_ends_in_words(place: Path) -> None:
    fill(place / "source")
    (place / "source" / "sparse").unlink()
    with (place / "source" / "holes").open("wb") as file:
        file.truncate(MIB)
        file.write(b"data")
    rng, right = random.Random(SEED), archive_of(place / "source")
    headers = [at for at in range(0, len(right), tarfile.BLOCKSIZE) if right[at + 257 : at + 262] == b"ustar"]
    for number in range(CALLS):
        wrong = bytearray(right)
        at = rng.choice(headers)
        begin, end = rng.choice(((0, 100), (100, 108), (124, 136), (136, 148), (156, 157), (157, 257), (512, 1024)))
        wrong[at + begin : at + end] = rng.choice(
            [
                b"7" * (end - begin),
                b"\x80" + bytes(end - begin - 1),
                b"\xff" * (end - begin),
                rng.randbytes(end - begin),
            ]
        )
        wrong[at + 148 : at + 156] = b" " * 8
        wrong[at + 148 : at + 156] = b"%06o\0 " % sum(wrong[at : at + tarfile.BLOCKSIZE])
        target = place / f"target{number}"
        target.mkdir()
        with contextlib.suppress(SwarmError):
            unpack(bytes(wrong), target)
