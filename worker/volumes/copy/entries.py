"""What is copied of each file: records, and the paths that they are kept under. Pure.

A path is the names that lead to a file, joined by NUL, which no name contains: so the order of their bytes is the order
of a walk in which each folder comes before what is in it, whatever other bytes the names have. The root's is empty.

Owners are relative to what an engine adds to those in its containers (`userns-remap`), in ACLs and capabilities too.
ACLs are as the kernel gives them in `system.posix_acl_access` and `_default` (linux/posix_acl_xattr.h): a version
and entries of tag, permissions, id, all little-endian; capabilities in `security.capability` (linux/capability.h), of
which revision 3 ends in the owner of the user namespace that they count in.
"""

from __future__ import annotations

import hashlib
import re
import stat
import struct
from typing import Literal

import msgspec

from common.errors import FailedPrecondition, ProtocolError

SEPARATOR = b"\0"
KIB, MIB, GIB = 1024, 1024**2, 1024**3
# Content is compared and sent in blocks of this size, or of the larger in files that are large when first seen.
BLOCK = 128 * KIB
LARGE_BLOCK = MIB
LARGE_FILE = GIB
DIGEST_BYTES = 20
# Stands for the digest of a block that has only zeros: it becomes a hole.
ZEROS = bytes(DIGEST_BYTES)
# A name is a byte at least and 255 at most, neither `.` nor `..`, and has no `/`.
_NAME = rb"(?!\.{1,2}(?:\0|\Z))[^/\0]{1,255}"
_PATH = re.compile(_NAME + rb"(?:\0" + _NAME + rb")*+")
# A container can nest folders deeper than PATH_MAX; this is what a record has room for.
_PATH_BYTES = 64 * KIB
# Characters of a path, for people.
_SHOWN = 500
_MODE = 0o7777
_LARGEST_ID = 2**32 - 2
# 16 TiB in large blocks: what bounds the memory that a file's digests take.
_MOST_BLOCKS = 16 * 1024 * 1024
_ATTRIBUTES_BYTES = 256 * KIB
_ATTRIBUTES = 1024
_TARGET_BYTES = 64 * KIB

_PREFIXES = (b"user.", b"trusted.", b"security.")
_NAMES = (b"system.posix_acl_access", b"system.posix_acl_default")
# The engine that mounts a volume labels it for its containers; these are of the source's policy and keys.
_OF_THE_HOST = (b"security.selinux", b"security.ima", b"security.evm")

NANO = 1_000_000_000

FILE: Literal["f"] = "f"
FOLDER: Literal["d"] = "d"
SYMLINK: Literal["l"] = "l"
HARD_LINK: Literal["h"] = "h"
CHARACTER_DEVICE: Literal["c"] = "c"
BLOCK_DEVICE: Literal["b"] = "b"
PIPE: Literal["p"] = "p"
SOCKET: Literal["s"] = "s"
Kind = Literal["f", "d", "l", "h", "c", "b", "p", "s"]

FORMATS: dict[Kind, int] = {
    FILE: stat.S_IFREG,
    FOLDER: stat.S_IFDIR,
    SYMLINK: stat.S_IFLNK,
    CHARACTER_DEVICE: stat.S_IFCHR,
    BLOCK_DEVICE: stat.S_IFBLK,
    PIPE: stat.S_IFIFO,
    SOCKET: stat.S_IFSOCK,
}
KINDS: dict[int, Kind] = {number: kind for kind, number in FORMATS.items()}

Attributes = tuple[tuple[bytes, bytes], ...]


class Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """All that is copied of a file, but its content, which `root` stands for.

    mode: permission bits. uid, gid: relative to the side's owner base. mtime: seconds, and besides nanoseconds, as both
    together can be too much for 64 bits. size: bytes; of files only. block: size of the blocks that `root` was made
    with. target: of a symbolic link; of a hard link the path that this one is the same file as, which comes before it
    in a walk. attributes: extended ones, sorted, ACLs and capabilities among them.
    """

    kind: Kind
    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    nanoseconds: int = 0
    size: int = 0
    block: int = 0
    root: bytes = b""
    target: bytes = b""
    device: int = 0
    attributes: Attributes = ()


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Record)


def encode_record(record: Record) -> bytes:
    """Return the one encoding of a record: equal records are equal bytes."""
    return _ENCODER.encode(record)


def decode_record(data: bytes) -> Record:
    """Read a record that this program has written itself."""
    return _DECODER.decode(data)


def parse_record(data: bytes) -> Record:
    """Read a record of the other side.

    Raises:
        ProtocolError: it is not one that a file can have.

    """
    try:
        record = _DECODER.decode(data)
    except msgspec.MsgspecError as error:
        raise ProtocolError(f"the other side sent a malformed record: {error}") from error
    is_file = record.kind == FILE
    wrong = (
        not 0 <= record.mode <= _MODE
        or not -_LARGEST_ID <= record.uid <= _LARGEST_ID
        or not -_LARGEST_ID <= record.gid <= _LARGEST_ID
        or not -(2**63) <= record.mtime < 2**63
        or not 0 <= record.nanoseconds < NANO
        or not (is_possible_size(record.size, record.block) if is_file else record.size == record.block == 0)
        or len(record.root) != (DIGEST_BYTES if is_file else 0)
        or bool(record.target) != (record.kind in (SYMLINK, HARD_LINK))
        or len(record.target) > _TARGET_BYTES
        or (record.kind == SYMLINK and b"\0" in record.target)
        or not 0 <= record.device < 2**64
        or (record.attributes and not _are_possible(record.attributes))
    )
    if wrong:
        raise ProtocolError(f"the other side sent a record that no file can have: {record.kind}")
    if record.kind == HARD_LINK:
        parse_path(record.target)
    return record


def _are_possible(attributes: Attributes) -> bool:
    names = [name for name, _ in attributes]
    return (
        names == sorted(set(names))
        and len(names) <= _ATTRIBUTES
        and all(is_copied(name) and b"\0" not in name for name in names)
        and sum(len(value) for _, value in attributes) <= _ATTRIBUTES_BYTES
    )


def is_copied(name: bytes) -> bool:
    """Return whether an extended attribute belongs to a file rather than to its host."""
    return name in _NAMES or (name.startswith(_PREFIXES) and name not in _OF_THE_HOST)


def parse_path(path: bytes) -> bytes:
    """Return a path of the other side as it is.

    Raises:
        ProtocolError: it could lead out of the folder, or nowhere.

    """
    if not path:
        return path
    if _PATH.fullmatch(path) is None:
        raise ProtocolError(f"the other side sent a path that leads out of the folder: {show(path)}")
    if len(path) > _PATH_BYTES:
        raise ProtocolError("the other side sent a path that is too long")
    return path


def show(path: bytes) -> str:
    """Return a path for people: bytes that are not UTF-8, and what would act on a terminal, escaped.

    Of a long one only the beginning and the end: a report of it must fit into a line to the parent.
    """
    if not path:
        return "."
    text = path.replace(SEPARATOR, b"/").decode(errors="backslashreplace")
    shown = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
    return shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN // 2]}…{shown[-_SHOWN // 2 :]}"


def is_below(path: bytes, folder: bytes) -> bool:
    return not folder or path.startswith(folder + SEPARATOR)


def parent_of(path: bytes) -> bytes:
    return path.rpartition(SEPARATOR)[0]


def block_size(size: int, before: int = 0) -> int:
    """Return the block size of a file. One that was seen `before` keeps it while it can, or all would be sent again."""
    if before and is_possible_size(size, before):
        return before
    return LARGE_BLOCK if size > LARGE_FILE else BLOCK


def is_possible_size(size: int, block: int) -> bool:
    return block in (BLOCK, LARGE_BLOCK) and 0 <= size <= _MOST_BLOCKS * block


def count_blocks(size: int, block: int) -> int:
    return -(-size // block)


def digest(data: bytes | bytearray | memoryview) -> bytes:
    """Return the digest of a block, or of the digests of a file's blocks."""
    return hashlib.sha256(data).digest()[:DIGEST_BYTES]


_ACL_VERSION = struct.Struct("<I")
_ACL_ENTRY = struct.Struct("<HHI")
_ACLS = (b"system.posix_acl_access", b"system.posix_acl_default")
# ACL_USER and ACL_GROUP; other entries have no id.
_ACL_NAMED = (0x02, 0x08)
_CAPABILITY = b"security.capability"
_CAPABILITY_V3_BYTES = 24


def moved_id(number: int, by: int) -> int:
    """Return an owner's number on the other side of a base.

    Raises:
        FailedPrecondition: there is none.

    """
    moved = number + by
    if by and not 0 <= moved <= _LARGEST_ID and by > 0:
        raise FailedPrecondition(f"owner {number} has no number on a host whose engine adds {by} to owners")
    return moved


def moved_attributes(attributes: Attributes, by: int) -> Attributes:
    """Return extended attributes with all owners in them moved."""
    if not by or not attributes:
        return attributes
    return tuple((name, _moved_value(name, value, by)) for name, value in attributes)


def _moved_value(name: bytes, value: bytes, by: int) -> bytes:
    if name in _ACLS and (len(value) - _ACL_VERSION.size) % _ACL_ENTRY.size == 0:
        entries = _ACL_ENTRY.iter_unpack(value[_ACL_VERSION.size :])
        moved = ((tag, bits, moved_id(owner, by) if tag in _ACL_NAMED else owner) for tag, bits, owner in entries)
        return value[: _ACL_VERSION.size] + b"".join(_ACL_ENTRY.pack(*each) for each in moved)
    if name == _CAPABILITY and len(value) == _CAPABILITY_V3_BYTES:
        (owner,) = _ACL_VERSION.unpack(value[-4:])
        return value[:-4] + _ACL_VERSION.pack(moved_id(owner, by))
    return value
