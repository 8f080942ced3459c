"""Join tokens: `SWMTKN-1-<digest of the root certificate>-<secret>`, as swarmkit `ca/config.go` writes them."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass

from common.errors import InvalidArgument
from common.ids import ID_LENGTH
from common.tls import DIGEST_DIGITS, root_digest

PREFIX = "SWMTKN-1"
_FORM = re.compile(rf"{PREFIX}-(?P<digest>[0-9a-z]{{{DIGEST_DIGITS}}})-(?P<secret>[0-9a-z]{{{ID_LENGTH}}})")


@dataclass(frozen=True, slots=True)
class JoinToken:
    """`digest` names the cluster (its root certificate), `secret` is what entitles to join it."""

    digest: str
    secret: str

    def __str__(self) -> str:
        return f"{PREFIX}-{self.digest}-{self.secret}"

    def __repr__(self) -> str:
        return f"JoinToken(digest={self.digest!r}, secret=<hidden>)"

    def pins(self, root_certificate: bytes) -> bool:
        """Whether this root (PEM) is the one that the token was made for."""
        return hmac.compare_digest(self.digest, root_digest(root_certificate))

    def same(self, other: JoinToken) -> bool:
        """Compare in constant time."""
        return hmac.compare_digest(str(self), str(other))


def parse_token(text: str) -> JoinToken:
    """Read a join token.

    Raises:
        InvalidArgument: it does not have a token's form.

    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise InvalidArgument(
            "this is not a join token: its form is SWMTKN-1-<50 characters>-<25 characters>; "
            "'swarm-manager join-token worker' on a manager prints it"
        )
    return JoinToken(match["digest"], match["secret"])
