"""The keys that the store is sealed with: `store.key` in a manager's data directory, 0600.

With autolock the file is itself sealed with the cluster's unlock key, which is on no manager's disk in the clear: who
starts a manager has to say it then. The manager's own private key is encrypted with it, too (`manager.ca.files`).
"""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from common.errors import InvalidArgument, Unavailable
from common.process.private_files import replace_secret
from manager.store.backends.sealed import KEY_BYTES, KEY_NUMBERS, AesSeal, NotOpened

T = TypeVar("T")

# As docker has it: swarmkit `manager/encryption/encryption.go`.
_UNLOCK_PREFIX = "SWMKEY-1-"
_UNLOCK_KEY_NUMBER = 1
# What a locked file is sealed for.
_PATH = "store.key"


class Locked(Unavailable):
    """The keys are locked, and open with the cluster's unlock key."""


@dataclass(frozen=True, slots=True)
class Keyring:
    """The store's keys by number, 32 bytes each, the number of the one that seals, and what locks them, if anything."""

    keys: dict[int, bytes] = field(repr=False)
    current: int
    unlock_key: str = field(default="", repr=False)

    def seal(self) -> AesSeal:
        return AesSeal(self.keys, self.current)

    def locked_with(self, unlock_key: str) -> Keyring:
        """Return the same keys, to be locked with another unlock key; with none they are not locked."""
        return Keyring(self.keys, self.current, unlock_key)

    def renewed(self) -> Keyring:
        """Return a keyring with one new key, under a new number, in place of all others; it is locked as they are."""
        later = (*range(self.current + 1, KEY_NUMBERS.stop), *KEY_NUMBERS)
        number = next(each for each in later if each not in self.keys)
        return Keyring({number: os.urandom(KEY_BYTES)}, number, self.unlock_key)

    def lock(self) -> AesSeal | None:
        """Return what seals the keys themselves; None where nothing does.

        Raises:
            InvalidArgument: the unlock key is not one.

        """
        return _unlock_seal(self.unlock_key) if self.unlock_key else None


class _Keys(msgspec.Struct, frozen=True):
    """The content of an open file."""

    current: int
    keys: dict[int, bytes]


class _File(msgspec.Struct, frozen=True, omit_defaults=True):
    """The file: JSON, with either `keys`, or their encoding `locked`."""

    keys: _Keys | None = None
    locked: bytes = b""


class KeyFile:
    """The file at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self, unlock_key: str | None = None) -> Keyring:
        """Read the keys; `unlock_key` is looked at when they are locked.

        Raises:
            Locked: they are locked, and no unlock key is given.
            InvalidArgument: the unlock key is not the one that they are locked with, or not one at all.
            Unavailable: the file is missing, damaged, or cannot be read.

        """
        file = self._read()
        if file.keys is not None:
            return _keyring(file.keys, self.path)
        if unlock_key is None:
            raise Locked(f"{self.path} is locked: unlock it with 'swarm-manager unlock' and the cluster's unlock key")
        seal = _unlock_seal(unlock_key)
        try:
            content = seal.open(_PATH, file.locked)
        except NotOpened:
            raise InvalidArgument("swarm could not be unlocked: invalid key provided") from None
        return _keyring(self._decode(content, _Keys), self.path).locked_with(unlock_key)

    def save(self, keyring: Keyring) -> None:
        """Replace the file in one step, locked if the keyring is to be.

        Raises:
            OSError: it cannot be written; it is as it was then.

        """
        keys = _Keys(keyring.current, keyring.keys)
        lock = keyring.lock()
        locked = lock.seal(_PATH, msgspec.json.encode(keys)) if lock is not None else b""
        replace_secret(self.path, msgspec.json.encode(_File(locked=locked) if locked else _File(keys=keys)))

    def _read(self) -> _File:
        try:
            file = self._decode(self.path.read_bytes(), _File)
        except FileNotFoundError:
            raise Unavailable(
                f"{self.path} is missing: without this key nothing in the store can be read: put it back, or restore a "
                "backup"
            ) from None
        except OSError as error:
            raise Unavailable(f"cannot read {self.path}: {error.strerror}: run this as root") from error
        if (file.keys is None) != bool(file.locked):
            raise self._damaged("it has no keys")
        return file

    def _decode(self, content: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(content, type=kind)
        except msgspec.MsgspecError as error:
            raise self._damaged(str(error)) from error

    def _damaged(self, why: str) -> Unavailable:
        return Unavailable(f"{self.path} is damaged: {why}: put back a copy, or restore a backup")


def new_keyring() -> Keyring:
    return Keyring({1: os.urandom(KEY_BYTES)}, 1)


def new_unlock_key() -> str:
    """Make an unlock key as docker writes it: `SWMKEY-1-` and 32 random bytes in base64."""
    return _UNLOCK_PREFIX + base64.b64encode(os.urandom(KEY_BYTES)).decode().rstrip("=")


def _unlock_seal(unlock_key: str) -> AesSeal:
    return AesSeal({_UNLOCK_KEY_NUMBER: _parse_unlock_key(unlock_key)}, _UNLOCK_KEY_NUMBER)


def _parse_unlock_key(text: str) -> bytes:
    """Return the 32 bytes of an unlock key.

    Raises:
        InvalidArgument: it is not one.

    """
    digits = text.removeprefix(_UNLOCK_PREFIX)
    try:
        key = base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if digits == text or len(key) != KEY_BYTES:
        raise InvalidArgument("invalid key string")
    return key


def _keyring(keys: _Keys, path: Path) -> Keyring:
    numbered = all(number in KEY_NUMBERS and len(key) == KEY_BYTES for number, key in keys.keys.items())
    if keys.current not in keys.keys or not numbered:
        raise Unavailable(f"{path} is damaged: it has no usable key: put back a copy, or restore a backup")
    return Keyring(keys.keys, keys.current)
