"""A digest of a secret's content, kept as a label, so that a plan can tell whether it changes without being told it.

Labels are shown to whoever may inspect, and secrets are often short; so the digest has a salt of its own and is slow to
compute (scrypt), which makes guessing from it expensive.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping

from common.model.service import EXTENSION_PREFIX

LABEL = f"{EXTENSION_PREFIX}digest"
_SALT_BYTES = 16


def with_digest(labels: Mapping[str, str], data: bytes, known: str = "") -> dict[str, str]:
    """Add the digest of `data`; the one that is `known` already is kept if it is right."""
    return {**labels, LABEL: known if known and matches(known, data) else make(data)}


def make(data: bytes) -> str:
    salt = secrets.token_bytes(_SALT_BYTES)
    return f"{salt.hex()}:{_hash(salt, data)}"


def matches(digest: str, data: bytes) -> bool:
    """Whether a digest is that of `data`."""
    salt, _, wanted = digest.partition(":")
    return hmac.compare_digest(_hash(bytes.fromhex(salt), data), wanted)


def decode_content(content: str) -> bytes:
    """Return the bytes of what is sent as base64."""
    return base64.b64decode(content)


def _hash(salt: bytes, data: bytes) -> str:
    # Hashed before: scrypt alone takes two contents for the same that differ in zero bytes at the end.
    return hashlib.scrypt(hashlib.sha256(data).digest(), salt=salt, n=2**14, r=8, p=1, dklen=32).hex()
