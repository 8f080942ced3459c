"""Backups: one file with all that a new host needs to go on as the manager of a cluster.

It is a gzipped tar archive of `MEMBERS`, in this order. The store is in it as SQLite has it, with what is secret in it
sealed; the key that opens it is beside it, locked where there is autolock. The manager's own certificate is not in it:
a new one is made.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import random
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, BinaryIO

import msgspec

from common.clock import Clock, SystemClock, rfc3339
from common.errors import InvalidArgument, Unavailable
from common.process.private_files import private_file, write_private
from common.text.terminal import echo
from common.version import version
from manager.ca.files import ManagerFiles
from manager.ca.keyring import KeyFile, Locked
from manager.ca.migration import unlocked_keyring
from manager.cli.cluster.lock import read_unlock_key
from manager.config import DataDir
from manager.etcd import etcd_of
from manager.store.backends.confirmed import confirmed_path, read_confirmed
from manager.store.backends.contents import read
from manager.store.backends.failures import WHAT_IS_LEFT, Damaged, explaining
from manager.store.backends.sqlite import snapshot
from manager.whole_store import read_etcd, write_file

MANIFEST, CONFIG, KEY, STORE = "manifest.json", "config.json", "store.key", "store.db"
CA_CERTIFICATE, CA_KEY = "ca.crt", "ca.key"
MEMBERS = (MANIFEST, CONFIG, KEY, STORE)
# By format. In the first the store is not sealed, and the authority is not in it.
_MEMBERS = {1: (MANIFEST, CONFIG, CA_CERTIFICATE, CA_KEY, STORE), 2: MEMBERS}
FORMAT = max(_MEMBERS)
_CHUNK = 1 << 16


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup says of itself. `made_at` is in Unix seconds; `release` is the program that made it."""

    format: int
    cluster_id: str
    release: str
    made_at: float


def back_up(data: DataDir, out: IO[bytes], clock: Clock, scratch: Path) -> Manifest:
    """Write a backup of the manager in `data`, whether it runs or not; the store is as it is at one instant.

    A copy of the store is made in a private folder in `scratch`, and removed.

    Raises:
        FailedPrecondition: there is no manager in `data`.
        Unavailable: a file cannot be read or written, or the store in it is damaged.

    """
    data.load()
    with _private_folder(scratch) as folder:
        manifest = _copy_store(data, folder / STORE, clock)
        contents: dict[str, bytes | Path] = {
            MANIFEST: msgspec.json.encode(manifest),
            CONFIG: data.config,
            KEY: data.key,
            STORE: folder / STORE,
        }
        try:
            with gzip.open(out, "wb", compresslevel=6) as packed, tarfile.open(fileobj=packed, mode="w|") as archive:
                for name in MEMBERS:
                    _add(archive, name, contents[name], manifest.made_at)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise Unavailable(f"cannot write the backup: {error.strerror}") from error
    return manifest


def save(data: DataDir, file: Path) -> None:
    """Write a backup to a file that is its owner's only, in one step, or for `-` to standard output; say so.

    Raises:
        InvalidArgument: standard output is a terminal.
        SwarmError: as `back_up`.

    """
    if str(file) == "-":
        if sys.stdout.isatty():
            raise InvalidArgument("a backup is binary and holds keys: name a file, or send it into another program")
        manifest = back_up(data, sys.stdout.buffer, SystemClock(), data.path)
        sys.stdout.buffer.flush()
    else:
        try:
            with private_file(file) as out:
                # Not beside the store: that disk may be full, and be why a backup is made.
                manifest = back_up(data, out, SystemClock(), file.absolute().parent)
        except OSError as error:
            raise Unavailable(f"cannot write {file}: {error.strerror}") from error
    _note_backup(data, manifest)
    echo(f"Backup of cluster {manifest.cluster_id} as of {rfc3339(manifest.made_at)}: {file}", err=True)
    echo(_whom_it_serves(data), err=True)


def _note_backup(data: DataDir, manifest: Manifest) -> None:
    """Leave word of a backup for the manager's metrics. That this disk is full makes the backup no worse."""
    try:
        write_private(data.last_backup, f"{rfc3339(manifest.made_at)}\n".encode())
    except OSError as error:
        echo(f"The metrics will not show this backup: cannot write {data.last_backup}: {error.strerror}", err=True)


def _whom_it_serves(data: DataDir) -> str:
    try:
        KeyFile(data.key).load()
    except Locked:
        return "It opens only with the cluster's unlock key: keep the two apart, and keep both."
    return "It holds the cluster's secrets and keys: keep it where nobody else reads it."


@contextmanager
def _private_folder(scratch: Path) -> Iterator[Path]:
    try:
        folder = tempfile.TemporaryDirectory(prefix=".backup-", dir=scratch)
    except OSError as error:
        raise Unavailable(f"cannot write to {scratch}: {error.strerror}") from error
    with folder as name:
        yield Path(name)


def _copy_store(data: DataDir, copy: Path, clock: Clock) -> Manifest:
    """Copy the store, of any backend, into a file, and read the copy back: an unreadable copy is not a backup."""
    made_at = clock.now()
    config = data.load()
    if config.etcd is None:
        _copy_file(data, copy)
    else:
        seal = unlocked_keyring(data, read_unlock_key).seal()
        own = etcd_of(data, config, seal, clock, random.SystemRandom())
        write_file(copy, seal, asyncio.run(read_etcd(own)))
        confirmed_path(copy).unlink()
    cluster_id = ManagerFiles(data.path).node.identity().cluster_id
    return Manifest(format=FORMAT, cluster_id=cluster_id, release=version(), made_at=made_at)


def _copy_file(data: DataDir, copy: Path) -> None:
    """Copy a store that is a file.

    Where the key is locked what is sealed is not opened; that it is there, and as it was written, is known even so.
    """
    try:
        seal = KeyFile(data.key).load().seal()
    except Locked:
        seal = None
    with explaining(data.store):
        confirmed = read_confirmed(data.store)
        snapshot(data.store, copy)
        contents = replace(read(copy, seal), confirmed=confirmed)
    contents.check(data.store)
    if contents.cluster is None and not contents.unopened:
        raise Damaged(f"the store {data.store} does not contain a cluster: {WHAT_IS_LEFT}")


def _add(archive: tarfile.TarFile, name: str, content: bytes | Path, made_at: float) -> None:
    member = tarfile.TarInfo(name)
    member.mode, member.mtime = 0o600, int(made_at)
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
        member.size = file.seek(0, io.SEEK_END)
        file.seek(0)
        archive.addfile(member, file)


@contextmanager
def members(source: BinaryIO, name: str) -> Iterator[tuple[Manifest, Iterator[tuple[str, IO[bytes]]]]]:
    """Read what a backup says of itself, and its other members one after the other, each before the next is asked for.

    `name` is for errors.

    Raises:
        InvalidArgument: it is not a backup, or one of a newer release, or damaged or cut off, which may be seen only
            while a member is read.

    """
    try:
        with gzip.open(source) as plain, tarfile.open(fileobj=plain, mode="r|") as archive:
            manifest = _read_manifest(archive, name)
            yield manifest, _each(archive, _MEMBERS[manifest.format][1:], name)
            while plain.read(_CHUNK):  # the checksum is at the end
                pass
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InvalidArgument(f"{name} is not a backup of a manager, or it is damaged or cut off") from error


def _each(archive: tarfile.TarFile, names: Sequence[str], name: str) -> Iterator[tuple[str, IO[bytes]]]:
    expected = list(names)
    while (member := archive.next()) is not None:
        content = archive.extractfile(member)
        if not expected or member.name != expected.pop(0) or content is None:
            raise InvalidArgument(f"{name} is not a backup of a manager: it contains {member.name!r}")
        yield member.name, content
    if expected:
        raise InvalidArgument(f"{name} is cut off: {expected[0]!r} is missing")


def _read_manifest(archive: tarfile.TarFile, name: str) -> Manifest:
    member = archive.next()
    content = archive.extractfile(member) if member is not None and member.name == MANIFEST else None
    if content is None:
        raise InvalidArgument(f"{name} is not a backup of a manager")
    try:
        manifest = msgspec.json.decode(content.read(), type=Manifest)
    except msgspec.MsgspecError as error:
        raise InvalidArgument(f"{name} is not a backup of a manager, or it is damaged: {error}") from error
    if manifest.format not in _MEMBERS:
        raise InvalidArgument(
            f"{name} was made by release {manifest.release}, and this is {version()}: install that release"
        )
    return manifest
