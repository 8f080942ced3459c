"""Archives of containers' files, packed and unpacked on the client's side."""

import errno
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import InvalidArgument, SwarmError
from manager.cli.container.archive import END, member, unpack
from manager.cli.container.copy import renaming
from manager.cli.failures import CommandFailed
from tests.fakes.archives import tar_of


class Arriving:
    """An archive that comes in pieces of odd sizes."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    async def read(self, n: int = -1) -> bytes:
        return self._file.read(min(n, 777))


async def written(top: Path, name: str) -> bytes:
    files = [(top, name), *((each, f"{name}/{each.relative_to(top)}") for each in sorted(top.rglob("*")))]
    return b"".join([piece for path, each in files async for piece in member(path, each)]) + END


async def test_what_is_written_is_unpacked_the_same(tmp_path: Path) -> None:
    top, out = tmp_path / "top", tmp_path / "out"
    (top / "closed").mkdir(parents=True)
    (top / "run").write_bytes(os.urandom(700_000))
    (top / "run").chmod(0o4751)
    (top / "link").symlink_to("run")
    (top / "closed" / "file").write_text("x")
    (top / "closed").chmod(0o500)
    os.mkfifo(top / "pipe")
    os.utime(top / "closed", (1, 1))
    out.mkdir()
    data = await written(top, "top")
    assert await unpack(Arriving(data), out, renaming("new")) == len(data)
    new = out / "new"
    assert sorted(each.name for each in new.iterdir()) == ["closed", "link", "run"]
    assert (new / "run").read_bytes() == (top / "run").read_bytes()
    assert (new / "run").stat().st_mode == (top / "run").stat().st_mode
    assert (new / "link").readlink() == Path("run")
    assert ((new / "closed").stat().st_mode & 0o777, (new / "closed").stat().st_mtime) == (0o500, 1)
    await unpack(Arriving(data), out, renaming("new"))  # and again, over what is there


async def test_a_file_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "file").write_text("before")
    (tmp_path / "file").write_text("after")
    data = await written(tmp_path / "file", "file")

    def full(_content: object, file: io.BufferedWriter, _size: int) -> None:
        file.write(b"aft")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("shutil.copyfileobj", full)
    with pytest.raises(CommandFailed, match=f"^cannot write {out}/file: No space left on device$"):
        await unpack(Arriving(data), out, lambda name: name)
    assert [(each.name, each.read_text()) for each in out.iterdir()] == [("file", "before")]


REG, LINK, SYM, DIR = tarfile.REGTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE


@pytest.mark.parametrize(
    "members",
    [
        [("d/../../stolen", REG, "x")],
        [("d", SYM, "/"), ("d/stolen", REG, "x")],
        [("d/up", SYM, "../.."), ("d/up/stolen", DIR, "")],
        [("d/up", SYM, "../.."), ("d/hard", LINK, "d/up/x")],
    ],
)
async def test_an_archive_does_not_lead_out_of_its_folder(
    tmp_path: Path, members: list[tuple[str, bytes, str]]
) -> None:
    inside = tmp_path / "a" / "inside"
    inside.mkdir(parents=True)
    with pytest.raises(CommandFailed, match="leads out of"):
        await unpack(Arriving(tar_of(*members)), inside, renaming("d"))
    assert not list(tmp_path.rglob("stolen"))


async def test_a_link_that_comes_is_not_written_through(tmp_path: Path) -> None:
    kept, out = tmp_path / "kept", tmp_path / "out"
    kept.write_text("before")
    kept.chmod(0o600)
    out.mkdir()
    members = [("d/a", SYM, str(kept)), ("d/b", LINK, "d/a"), ("d/a", REG, "after"), ("d/b", REG, "after")]
    await unpack(Arriving(tar_of(*members)), out, renaming(""))
    assert (kept.read_text(), kept.stat().st_mode & 0o777) == ("before", 0o600)
    assert ((out / "a").read_text(), (out / "b").read_text()) == ("after", "after")


@pytest.mark.parametrize(
    ("prepare", "data", "why"),
    [
        (lambda out: (out / "x").mkdir(), tar_of(("d/x", REG, "")), "cannot overwrite directory .*/x'"),
        (lambda out: (out / "x").touch(), tar_of(("d/x", DIR, "")), "cannot overwrite non-directory .*/x'"),
        (lambda out: None, tar_of(("d/x", REG, "y" * 9000))[:3000], "not a complete archive"),
        (lambda out: None, b"<html>" * 200, "not a complete archive"),
    ],
)
async def test_what_cannot_be_unpacked(tmp_path: Path, prepare: Callable[[Path], None], data: bytes, why: str) -> None:
    prepare(tmp_path)
    with pytest.raises(SwarmError, match=why):
        await unpack(Arriving(data), tmp_path, renaming(""))


async def test_a_file_that_becomes_shorter_is_told(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"x" * 600_000)
    pieces = member(file, "log")
    await anext(pieces)
    await anext(pieces)
    os.truncate(file, 300_000)
    with pytest.raises(InvalidArgument, match="log became shorter while it was read: try again"):
        _ = [piece async for piece in pieces]
