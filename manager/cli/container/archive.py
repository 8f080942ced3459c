"""Tar archives that are written while they are sent, and unpacked while they come."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import stat
import tarfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import IO, Protocol

from common.errors import InvalidArgument
from manager.cli.failures import CommandFailed

END = bytes(1024)
_CHUNK = 256 * 1024


class Source(Protocol):
    """Where an archive comes from: as `aiohttp.StreamReader` reads, some bytes a call, none at the end."""

    async def read(self, n: int = -1) -> bytes: ...


async def pieces(descriptor: int) -> AsyncIterator[bytes]:
    """Read an open file to its end."""
    while data := await asyncio.to_thread(os.read, descriptor, _CHUNK):
        yield data


async def write_all(source: Source, file: IO[bytes]) -> int:
    """Write all that comes to a file; return how many bytes that were."""
    size = 0
    while data := await source.read(_CHUNK):
        size += len(data)
        await asyncio.to_thread(file.write, data)
    file.flush()
    return size


async def member(path: Path, name: str, *, owner: bool = False, follow: bool = False) -> AsyncIterator[bytes]:
    """Write one file, folder or link, without what is in a folder. Sockets, pipes and devices are passed over.

    `owner` takes the file's user and group along; `follow` writes what a link leads to, not the link.

    Raises:
        InvalidArgument: it cannot be read, or becomes shorter while it is read.

    """
    try:
        info = _describe_file(path, name, owner=owner, follow=follow)
        if info is None:
            return
        yield info.tobuf(tarfile.PAX_FORMAT)
        if not info.isreg():
            return
        left = info.size
        with path.open("rb") as file:
            while left:
                piece = await asyncio.to_thread(file.read, min(_CHUNK, left))
                if not piece:
                    raise InvalidArgument(f"{path} became shorter while it was read: try again")
                left -= len(piece)
                yield piece
        yield bytes(-info.size % tarfile.BLOCKSIZE)
    except OSError as error:
        raise InvalidArgument(f"cannot read {path}: {error.strerror or error}") from error


def _describe_file(path: Path, name: str, *, owner: bool, follow: bool) -> tarfile.TarInfo | None:
    status = path.stat() if follow else path.lstat()
    info = tarfile.TarInfo(name)
    info.mode, info.mtime = stat.S_IMODE(status.st_mode), int(status.st_mtime)
    if owner:
        info.uid, info.gid = status.st_uid, status.st_gid
    if stat.S_ISREG(status.st_mode):
        info.size = status.st_size
    elif stat.S_ISDIR(status.st_mode):
        info.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(status.st_mode):
        info.type, info.linkname = tarfile.SYMTYPE, os.readlink(path)  # noqa: PTH115 - as it is written, not resolved
    else:
        return None
    return info


async def unpack(source: Source, folder: Path, rename: Callable[[str], str], *, owner: bool = False) -> int:
    """Unpack an archive below a folder as it comes, each member under the name that `rename` gives it.

    What is there is replaced, a folder is merged with a folder. `owner` gives files the user and group they had, which
    takes root. Returns the number of bytes that came.

    Raises:
        CommandFailed: a file cannot be written, would replace a folder (or the other way round), or its name leads out
            of the folder; it is not an archive, or it is truncated.

    """
    pipe = _Pipe(source, asyncio.get_running_loop())
    await asyncio.to_thread(_unpack_all, pipe, folder, rename, owner=owner)
    while data := await source.read(_CHUNK):  # what pads the archive: a sender is not cut off
        pipe.received += len(data)
    return pipe.received


class _Pipe:
    """The source as a file for a thread."""

    def __init__(self, source: Source, loop: asyncio.AbstractEventLoop) -> None:
        self.received = 0
        self._source = source
        self._loop = loop

    def read(self, size: int) -> bytes:
        data = asyncio.run_coroutine_threadsafe(self._source.read(size), self._loop).result()
        self.received += len(data)
        return data


def _unpack_all(pipe: _Pipe, folder: Path, rename: Callable[[str], str], *, owner: bool) -> None:
    folders: list[tuple[Path, tarfile.TarInfo]] = []
    root = folder.resolve()
    try:
        with tarfile.open(fileobj=pipe, mode="r|", bufsize=_CHUNK) as tar:  # type: ignore[call-overload]
            for info in _without_an_end(tar):
                path = _inside(root, rename(info.name))
                if info.isdir():
                    _make_folder(path)
                    folders.append((path, info))
                elif _write(tar, info, path, root, rename):
                    _dress(path, info, owner=owner)
        for path, info in reversed(folders):  # what is in a folder changes its time, and it may be read-only
            _dress(path, info, owner=owner)
    except tarfile.TarError as error:
        raise CommandFailed(f"what came is not a complete archive: {error}") from error
    except OSError as error:
        raise CommandFailed(f"cannot write {error.filename or folder}: {error.strerror or error}") from error


def _without_an_end(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the members; the list of them that the class keeps is emptied, as it grows with the archive."""
    for info in tar:
        yield info
        tar.members = []  # type: ignore[attr-defined]  # typeshed leaves it out


def _inside(root: Path, name: str) -> Path:
    """Return a member's path. The archive is not trusted: no name or earlier link may lead out of the folder."""
    path = root.joinpath(*(part for part in name.split("/") if part not in ("", ".")))
    if ".." in name.split("/") or not path.parent.resolve().is_relative_to(root if path != root else root.parent):
        raise CommandFailed(f"the archive's member {name!r} leads out of {root}: nothing more was unpacked")
    return path


def _make_folder(path: Path) -> None:
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise CommandFailed(f"cannot overwrite non-directory {str(path)!r} with a directory")
    path.mkdir(parents=True, exist_ok=True)


def _write(tar: tarfile.TarFile, info: tarfile.TarInfo, path: Path, root: Path, rename: Callable[[str], str]) -> bool:
    """Write a file or link; False for what is neither."""
    if path.is_dir() and not path.is_symlink():
        raise CommandFailed(f"cannot overwrite directory {str(path)!r} with a non-directory")
    path.parent.mkdir(parents=True, exist_ok=True)
    if info.isreg():
        content: IO[bytes] | None = tar.extractfile(info)
        assert content is not None
        _replace(path, content)
        return True
    path.unlink(missing_ok=True)
    if info.issym():
        path.symlink_to(info.linkname)
    elif info.islnk():
        os.link(_inside(root, rename(info.linkname)), path, follow_symlinks=False)
    else:
        return False
    return True


def _replace(path: Path, content: IO[bytes]) -> None:
    """Write a file in the place of what is there, which stays if that fails: on a full disk, of a broken archive."""
    draft = path.parent / f".{secrets.token_hex(8)}.part"
    try:
        with draft.open("xb") as file:
            shutil.copyfileobj(content, file, _CHUNK)
        draft.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        draft.unlink(missing_ok=True)


def _dress(path: Path, info: tarfile.TarInfo, *, owner: bool) -> None:
    if info.islnk():
        return  # it is the earlier file
    if owner:
        os.chown(path, info.uid, info.gid, follow_symlinks=False)
    if not info.issym():
        path.chmod(stat.S_IMODE(info.mode))
        os.utime(path, (info.mtime, info.mtime))
