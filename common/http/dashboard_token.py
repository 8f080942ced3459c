"""Tokens of the shared dashboard: `dash_ID_SECRET`. Whoever has one may what its record says; the store has a digest.

The secret is 256 random bits, so a plain SHA-256 of it tells nothing. The prefix is for those who look for secrets in
what is published by mistake.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

_TEXT = re.compile(r"dash_(?P<id>[0-9a-f]{12})_(?P<secret>[A-Za-z0-9_-]{43})")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SECRET_BYTES = 32
_ID_BYTES = 6
# What tells the id of a token from the serial number of a certificate, where there may be either.
ID_PREFIX = "token-"


@dataclass(frozen=True, slots=True)
class Token:
    """A token as its owner has it. `id` is that of its record."""

    id: str
    secret: str

    def __str__(self) -> str:
        return f"dash_{self.id.removeprefix(ID_PREFIX)}_{self.secret}"

    def __repr__(self) -> str:
        return f"Token({self.id})"

    @property
    def digest(self) -> str:
        """The SHA-256 of the secret, in hexadecimal."""
        return hashlib.sha256(self.secret.encode()).hexdigest()

    def matches(self, digest: str) -> bool:
        return hmac.compare_digest(self.digest, digest)


def new_token() -> Token:
    return Token(f"{ID_PREFIX}{secrets.token_hex(_ID_BYTES)}", secrets.token_urlsafe(_SECRET_BYTES))


def parse_token(text: str) -> Token | None:
    """Read what somebody shows as a token; None when it is not one."""
    found = _TEXT.fullmatch(text)
    return Token(f"{ID_PREFIX}{found['id']}", found["secret"]) if found else None


def is_token_id(text: str) -> bool:
    return text.startswith(ID_PREFIX)


def is_digest(text: str) -> bool:
    return _DIGEST.fullmatch(text) is not None
