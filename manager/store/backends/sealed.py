"""Values encrypted at rest with AES-256-GCM: access to the disk or to etcd neither reveals nor forges them.

A sealed value is the number of its key (one byte), a random nonce (12 bytes), and the ciphertext with its tag of 16
bytes. The path that a value is stored at is authenticated with it: a value that was moved to another path does not
open. Nonces are random, so one key may seal some 2^32 values; more keys have more numbers.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from common.errors import Unavailable

KEY_BYTES = 32
# A key's number is one byte; no key has 0, so that zeroed storage never opens.
KEY_NUMBERS = range(1, 256)
_NONCE_BYTES = 12
_TAG_BYTES = 16
# What sealing adds to a value.
OVERHEAD_BYTES = 1 + _NONCE_BYTES + _TAG_BYTES


class NotOpened(Unavailable):
    """A sealed value that does not open: it was changed or moved, or sealed with a key that is not here."""


class Seal(Protocol):
    """Encrypts and decrypts stored values."""

    def seal(self, path: str, value: bytes) -> bytes:
        """Seal a value that is to be stored at `path`."""

    def open(self, path: str, value: bytes) -> bytes:
        """Return what was sealed for `path`.

        Raises:
            NotOpened: these keys have not sealed it for that path.

        """


class Unsealed:
    """Leaves values as they are: for stores that are on no disk."""

    def seal(self, path: str, value: bytes) -> bytes:  # noqa: ARG002 - as `Seal` has it
        return value

    def open(self, path: str, value: bytes) -> bytes:  # noqa: ARG002 - as `Seal` has it
        return value


class AesSeal:
    """Seals with the key `current` of `keys` (by number, 32 bytes each) and opens what any of them has sealed."""

    def __init__(self, keys: Mapping[int, bytes], current: int) -> None:
        self._ciphers = {number: AESGCM(key) for number, key in keys.items()}
        self._current = self._ciphers[current]
        self._number = bytes([current])

    def seal(self, path: str, value: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return self._number + nonce + self._current.encrypt(nonce, value, path.encode())

    def open(self, path: str, value: bytes) -> bytes:
        if len(value) < OVERHEAD_BYTES:
            raise NotOpened(f"{path} is not a sealed value: it was changed outside the manager")
        cipher = self._ciphers.get(value[0])
        if cipher is None:
            raise NotOpened(f"{path} was sealed with key {value[0]}, which is not among this manager's keys")
        try:
            return cipher.decrypt(value[1 : 1 + _NONCE_BYTES], value[1 + _NONCE_BYTES :], path.encode())
        except InvalidTag:
            raise NotOpened(
                f"{path} does not open with key {value[0]}: it was changed or moved outside the manager, or sealed "
                "with the key of another cluster"
            ) from None
