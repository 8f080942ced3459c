"""The kernel's refusals in words."""

from __future__ import annotations

import errno

from common.errors import FailedPrecondition, PermissionDenied, ResourceExhausted, SwarmError, Unavailable

_NO_ROOM = (ResourceExhausted, "the {side} has no room left for {what}: {reason}")
_NOT_ALLOWED = (PermissionDenied, "the {side}'s host does not allow this for {what}: {reason}")
_WORDS: dict[int, tuple[type[SwarmError], str]] = {
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EPERM: _NOT_ALLOWED,
    errno.EACCES: _NOT_ALLOWED,
    errno.ENAMETOOLONG: (
        FailedPrecondition,
        "the {side}'s file system does not take a name as long as that of {what}",
    ),
    errno.EOPNOTSUPP: (FailedPrecondition, "the {side}'s file system cannot keep all of {what}: {reason}"),
    errno.EFBIG: (FailedPrecondition, "{what} is larger than the {side} can have it"),
    errno.EROFS: (FailedPrecondition, "the {side}'s file system is read-only"),
}


def refusal(error: OSError, side: str, what: str) -> SwarmError:
    """Word what the kernel refused to do for a file. side: `source` or `target`; what: the file, for people."""
    reason = error.strerror or str(error)
    kind, words = _WORDS.get(error.errno or 0, (Unavailable, "the {side}'s disk fails for {what}: {reason}"))
    return kind(words.format(side=side, what=what, reason=reason))
