"""Who may come in by the gate: a token from the terminal, good once and soon, and the key that a page gets for it."""

from __future__ import annotations

import hmac
import secrets

TOKEN_SECONDS = 60.0
_BYTES = 32


class Keys:
    """The token that was shown last, and the keys that were given for tokens. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._token = ""
        self._until = 0.0
        self._keys: set[str] = set()

    def new_token(self, now: float) -> str:
        """Make a token; the one before it is worth nothing any more."""
        self._token, self._until = secrets.token_urlsafe(_BYTES), now + TOKEN_SECONDS
        return self._token

    def exchange(self, token: str, now: float) -> str | None:
        """Return a key for the token; None when it is not the one that was shown, was used, or is late."""
        if not self._token or not _same(token, self._token):
            return None
        self._token = ""
        if now > self._until:
            return None
        key = secrets.token_urlsafe(_BYTES)
        self._keys.add(key)
        return key

    def accept(self, key: str) -> bool:
        return any([_same(key, each) for each in self._keys])  # noqa: C419 - all of them, in the same time


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(errors="replace"), other.encode())
