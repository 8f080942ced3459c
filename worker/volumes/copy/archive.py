"""A folder as a tar archive, and back: the PAX format, which keeps exact times, attributes and any bytes of a name.

Attributes are those records that GNU tar, bsdtar and Docker write and read (`SCHILY.xattr.`), ACLs among them as the
kernel has them. Holes are written in GNU's sparse format 1.0 (a map before the data), which all of these read. Sockets
are not in tar; like GNU tar this leaves them out.
"""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Callable
from decimal import Decimal
from typing import IO, Self, cast

import msgspec

from common.errors import InvalidArgument, ProtocolError, ResourceExhausted
from worker.volumes.copy.content import CHUNK, data_ranges, is_zeros, read_all, write_all
from worker.volumes.copy.entries import (
    BLOCK,
    BLOCK_DEVICE,
    CHARACTER_DEVICE,
    FILE,
    FOLDER,
    HARD_LINK,
    MIB,
    NANO,
    PIPE,
    SEPARATOR,
    SOCKET,
    SYMLINK,
    ZEROS,
    Attributes,
    Kind,
    Record,
    encode_record,
    is_copied,
    parent_of,
    parse_path,
    parse_record,
    show,
)
from worker.volumes.copy.scan import Scanner
from worker.volumes.copy.system import refusal, room_on
from worker.volumes.copy.target import Target
from worker.volumes.copy.walk import VANISHED, Found, Opener, opener, walk

_TYPES: dict[Kind, bytes] = {
    FILE: tarfile.REGTYPE,
    FOLDER: tarfile.DIRTYPE,
    SYMLINK: tarfile.SYMTYPE,
    HARD_LINK: tarfile.LNKTYPE,
    CHARACTER_DEVICE: tarfile.CHRTYPE,
    BLOCK_DEVICE: tarfile.BLKTYPE,
    PIPE: tarfile.FIFOTYPE,
}
_KINDS = {number: kind for kind, number in _TYPES.items()} | {tarfile.AREGTYPE: FILE, tarfile.GNUTYPE_SPARSE: FILE}
_METADATA = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)
_ATTRIBUTE = "SCHILY.xattr."
_BLOCK = tarfile.BLOCKSIZE
_END = bytes(2 * _BLOCK)
# What tarfile keeps whole: long names, and attributes.
_MOST_METADATA = MIB
# It asks again at the end, for as long as it takes to skip what a header says that there is.
_MOST_EMPTY_READS = 100
_SPARSE_VERSION = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}

_ENCODING, _ERRORS = "utf-8", "surrogateescape"
# More is written with its holes as zeros: a size beyond that of the header's field is not read back with a map.
_MOST_SPARSE = 8**11 - 1
_SYMLINK_MODE = 0o777
_UNNAMED_FOLDER = Record(kind=FOLDER, mode=0o755)

Write = Callable[[bytes], object]
Read = Callable[[int], bytes]


def export(root: int, base: int, write: Write) -> None:
    """Write an open folder as an archive.

    Raises:
        SwarmError: it cannot be read.

    """
    scanner, open_file = Scanner(base), opener(root)
    first_paths: dict[int, bytes] = {}
    for found in walk(root):
        try:
            _export_one(scanner, open_file, found, first_paths, write)
        except OSError as error:
            if error.errno not in VANISHED:
                raise refusal(error, "source", show(found.path)) from error
    write(_END)


def _export_one(scanner: Scanner, open_file: Opener, found: Found, first_paths: dict[int, bytes], write: Write) -> None:
    if not stat.S_ISREG(found.status.st_mode):
        record = scanner.record(found)
        if record is not None and record.kind != SOCKET:
            write(_header(found.path, record))
        return
    if found.status.st_nlink > 1 and (first := first_paths.get(found.status.st_ino)) is not None:
        write(_header(found.path, Record(kind=HARD_LINK, target=first)))
        return
    file = open_file(found.name, found.folder, os.O_RDONLY | os.O_NOATIME)
    if file is None:
        return
    try:
        first_paths[found.status.st_ino] = found.path
        status = os.fstat(file)
        _export_file(scanner.file_record(file, status, status.st_size, 0, b""), found.path, file, write)
    finally:
        os.close(file)


def _export_file(record: Record, path: bytes, file: int, write: Write) -> None:
    ranges = list(data_ranges(file, record.size))
    if not _MOST_SPARSE > sum(length for _, length in ranges) < record.size:
        write(_header(path, record, record.size))
        _export_data(file, [(0, record.size)], write)
        return
    # GNU tar closes a map with an empty range at the end of the file.
    numbers = [len(ranges) + 1, *(number for each in ranges for number in each), record.size, 0]
    table = b"".join(b"%d\n" % number for number in numbers)
    table += bytes(-len(table) % _BLOCK)
    size = len(table) + sum(length for _, length in ranges)
    write(_header(path, record, size, _SPARSE_VERSION | {"GNU.sparse.realsize": str(record.size)}))
    write(table)
    _export_data(file, ranges, write)


def _export_data(file: int, ranges: list[tuple[int, int]], write: Write) -> None:
    total = 0
    for start, length in ranges:
        for at in range(start, start + length, CHUNK):
            write(read_all(file, min(CHUNK, start + length - at), at))
        total += length
    write(bytes(-total % _BLOCK))


def _header(path: bytes, record: Record, size: int = 0, extra: dict[str, str] | None = None) -> bytes:
    info = tarfile.TarInfo(_member_name(path))
    info.type = _TYPES[record.kind]
    info.mode, info.uid, info.gid, info.size = record.mode, record.uid, record.gid, size
    info.mtime = record.mtime
    info.devmajor, info.devminor = os.major(record.device), os.minor(record.device)
    info.linkname = _member_name(record.target) if record.kind == HARD_LINK else _text(record.target)
    attributes = {_ATTRIBUTE + _keyword(name): _text(value) for name, value in record.attributes}
    named = {"GNU.sparse.name": info.name} if extra else {}
    info.pax_headers = attributes | {"mtime": _decimal(record)} | named | (extra or {})
    return info.tobuf(tarfile.PAX_FORMAT, _ENCODING, _ERRORS)


def _keyword(name: bytes) -> str:
    """Return an attribute's name as it can stand before an equals sign, escaped as GNU tar does."""
    return _text(name).replace("%", "%25").replace("=", "%3D")


def _member_name(path: bytes) -> str:
    return "./" + _text(path.replace(SEPARATOR, b"/"))


def _text(data: bytes) -> str:
    return data.decode(_ENCODING, _ERRORS)


def _bytes(text: str) -> bytes:
    return text.encode(_ENCODING, _ERRORS)


def _decimal(record: Record) -> str:
    time = record.mtime * NANO + record.nanoseconds
    return f"{'-' if time < 0 else ''}{abs(time) // NANO}.{abs(time) % NANO:09}"


# --- back -------------------------------------------------------------------------------------------------------------


def restore(root: int, base: int, read: Read) -> int:
    """Make an open, empty folder what an archive has; return the archive's length. `read` takes a largest length.

    Raises:
        InvalidArgument: it is not an archive of a folder, or leads out of it.
        ResourceExhausted: it has more than may be added to the disk.
        SwarmError: it cannot be written.

    """
    target = Target(root, base)
    folders: dict[bytes, Record] = {}
    path = b""
    archive = _Counted(read)
    try:
        with tarfile.open(
            fileobj=cast("IO[bytes]", archive), mode="r|", encoding=_ENCODING, errors=_ERRORS, tarinfo=_Member
        ) as tar:
            for info in tar:
                path = _path_of(info.name)
                _check_room(root, path)
                _restore_one(root, target, tar, info, path, folders)
                # It would keep all of them.
                tar.members.clear()  # type: ignore[attr-defined]  # typeshed leaves it out
        for path in sorted(folders, reverse=True):
            target.set_metadata(path, target.folder(path), folders[path])
    except tarfile.TarError as error:
        raise InvalidArgument(f"this is not a complete tar archive: {error}") from error
    except (ProtocolError, ArithmeticError, LookupError, ValueError, RecursionError, MemoryError) as error:
        # What tarfile does not look at before it takes it for numbers is among them.
        raise InvalidArgument(f"the archive contradicts itself at {show(path)}, or after it") from error
    except OSError as error:
        raise refusal(error, "target", show(path)) from error
    finally:
        target.close()
    # What follows the end of an archive is padding. Its writer is not to fail on it.
    while archive.read(CHUNK):
        pass
    return archive.length


class _Member(tarfile.TarInfo):
    """What is read where a member is to come. By itself tarfile takes for the end whatever is neither that nor one.

    What a header says of its own length is not read into memory, however long that is.
    """

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _METADATA and not 0 <= self.size <= _MOST_METADATA:
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        found: tarfile.TarInfo = super()._proc_member(tar)  # type: ignore[misc]  # typeshed leaves it out
        return found

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tar)
        except tarfile.HeaderError as error:
            if isinstance(error, tarfile.EOFHeaderError):  # type: ignore[attr-defined]  # typeshed leaves it out
                raise
            raise tarfile.ReadError(str(error)) from error


class _Counted:
    """As much of a file as tarfile needs to read a stream."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._empty = 0
        self.length = 0

    def read(self, size: int) -> bytes:
        data = self._read(size)
        self.length += len(data)
        self._empty = 0 if data else self._empty + 1
        if self._empty > _MOST_EMPTY_READS:
            raise tarfile.ReadError("unexpected end of data")
        return data


def _check_room(root: int, path: bytes, more: int = 0) -> None:
    """Refuse to fill the disk of everyone else here. `more`: bytes that are to be written."""
    room = room_on(root)
    if room._replace(bytes=room.bytes - more).is_used_up:
        raise ResourceExhausted(f"the target has too little room for {show(path)}: the rest of its disk is for others")


def _restore_one(
    root: int, target: Target, tar: tarfile.TarFile, info: tarfile.TarInfo, path: bytes, folders: dict[bytes, Record]
) -> None:
    record = _record_of(info)
    _make_parents(target, parent_of(path), folders)
    if record.kind == FOLDER:
        target.make_folder(path)
        folders[path] = record
    elif not path:
        raise InvalidArgument("the archive's root is not a directory")
    elif record.kind == HARD_LINK:
        target.make_link(path, record.target)
    elif record.kind == FILE:
        _restore_file(target, tar, info, path, record, lambda more: _check_room(root, path, more))
    else:
        target.make_other(path, record)


def _make_parents(target: Target, path: bytes, folders: dict[bytes, Record]) -> None:
    """Make folders that an archive takes for granted."""
    missing = []
    while path and path not in folders:
        missing.append(path)
        path = parent_of(path)
    for each in reversed(missing):
        target.make_folder(each)
        folders[each] = _UNNAMED_FOLDER


def _restore_file(
    target: Target,
    tar: tarfile.TarFile,
    info: tarfile.TarInfo,
    path: bytes,
    record: Record,
    check_room: Callable[[int], None],
) -> None:
    member = tar.extractfile(info)
    if member is None:
        raise InvalidArgument(f"the archive has {show(path)} without its content")
    # Unbuffered, it goes forward in a stream without asking whether it could go back.
    content = cast("io.BufferedReader", member).raw
    ranges = cast("list[tuple[int, int]] | None", info.sparse) or [(0, info.size)]
    if not all(0 <= start <= start + length <= info.size for start, length in ranges):
        raise InvalidArgument(f"the archive has data of {show(path)} where that has none")
    file = target.make_file(path)
    try:
        for start, length in ranges:
            content.seek(start, os.SEEK_SET)
            for at in range(start, start + length, CHUNK):
                data = content.read(min(CHUNK, start + length - at))
                if not is_zeros(data):
                    check_room(len(data))
                    write_all(file, data, at)
        os.ftruncate(file, info.size)
        target.set_metadata(path, file, record)
    finally:
        os.close(file)


def _path_of(name: str) -> bytes:
    if name.startswith("/"):
        raise InvalidArgument(f"the archive has a path that leads out of the volume: {show(_bytes(name))}")
    names = [each for each in _bytes(name).split(b"/") if each not in (b"", b".")]
    try:
        return parse_path(SEPARATOR.join(names))
    except ProtocolError:
        raise InvalidArgument(f"the archive has a path that leads out of the volume: {show(_bytes(name))}") from None


def _record_of(info: tarfile.TarInfo) -> Record:
    """Return what a member is to become; a file's content is not looked at."""
    kind = _KINDS.get(info.type)
    shown = show(_bytes(info.name))
    if kind is None:
        raise InvalidArgument(f"the archive has {shown} of an unknown type: {info.type!r}")
    try:
        time = int(Decimal(info.pax_headers.get("mtime") or info.mtime) * NANO)
        is_device = kind in (CHARACTER_DEVICE, BLOCK_DEVICE)
        record = Record(
            kind=kind,
            mode=stat.S_IMODE(info.mode) if kind != SYMLINK else _SYMLINK_MODE,
            uid=info.uid,
            gid=info.gid,
            mtime=time // NANO,
            nanoseconds=time % NANO,
            target=_path_of(info.linkname) if kind == HARD_LINK else _bytes(info.linkname) if kind == SYMLINK else b"",
            device=os.makedev(info.devmajor, info.devminor) if is_device else 0,
            attributes=_attributes_of(info),
        )
        # A file's size and content are not the record's business here, all else must be such as can be sent.
        parse_record(
            encode_record(msgspec.structs.replace(record, block=BLOCK, root=ZEROS) if kind == FILE else record)
        )
    except (ArithmeticError, ValueError, OverflowError, msgspec.MsgspecError, ProtocolError) as error:
        raise InvalidArgument(f"the archive has {shown} with impossible metadata: {error}") from error
    return record


def _attributes_of(info: tarfile.TarInfo) -> Attributes:
    found = (
        (_bytes(key.removeprefix(_ATTRIBUTE).replace("%3D", "=").replace("%25", "%")), _bytes(value))
        for key, value in info.pax_headers.items()
        if key.startswith(_ATTRIBUTE)
    )
    return tuple(sorted((name, value) for name, value in found if is_copied(name)))
