"""The one hierarchy of errors that people see.

Each class carries the HTTP status that the Docker Engine API gives it and the gRPC code name that the engine's
own swarm errors are worded with, because clients match on those words (`rpc error: code = NotFound desc = …`).
A message says what was wrong, where, and what to do. Anything that is not a `SwarmError` is a bug.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar


class SwarmError(Exception):
    """An expected failure with a message for a person."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "Unknown"

    @property
    def message(self) -> str:
        return str(self.args[0]) if self.args else type(self).__name__

    def rpc(self) -> str:
        """Word the error as the engine words errors of its swarm part."""
        return f"rpc error: code = {self.code} desc = {self.message}"


class InvalidArgument(SwarmError):
    """The request itself is wrong: a field, a flag, a file."""

    status = 400
    code = "InvalidArgument"


class FailedPrecondition(SwarmError):
    """The request is well formed, but the present state forbids it."""

    status = 400
    code = "FailedPrecondition"


class Unauthenticated(SwarmError):
    """No certificate or token that this cluster knows."""

    status = 401
    code = "Unauthenticated"


class PermissionDenied(SwarmError):
    """Known, but not allowed to do this."""

    status = 403
    code = "PermissionDenied"


class NotFound(SwarmError):
    status = 404
    code = "NotFound"


class AlreadyExists(SwarmError):
    """A name or address is taken."""

    status = 409
    code = "AlreadyExists"


class ResourceExhausted(SwarmError):
    """A pool, a port range, a limit is used up."""

    status = 400
    code = "ResourceExhausted"


class OutOfSequence(SwarmError):
    """An update carried another version than the object has now; the engine answers 500 and these words."""

    status = 500
    code = "Unknown"

    def __init__(self) -> None:
        super().__init__("update out of sequence")


class Unavailable(SwarmError):
    """Something needed is not there just now: no swarm, no manager, an engine that does not answer."""

    status = 503
    code = "Unavailable"


class ProtocolError(SwarmError):
    """The peer broke the wire protocol; its connection ends and nothing else is touched."""

    status = 400
    code = "InvalidArgument"


_BY_CODE: dict[str, type[SwarmError]] = {
    each.code: each
    for each in (
        AlreadyExists,
        FailedPrecondition,
        InvalidArgument,
        NotFound,
        PermissionDenied,
        ResourceExhausted,
        Unauthenticated,
        Unavailable,
    )
}
_LONGEST_MESSAGE = 1000


def kind_of(code: str, otherwise: type[SwarmError]) -> type[SwarmError]:
    """Return which error another process means by a code; `otherwise` where no error has it."""
    return _BY_CODE.get(code, otherwise)


def of_code(code: str, message: str) -> SwarmError:
    """Make the error that another process has told of, so that nothing in it acts on a terminal."""
    words = "".join(each if each.isprintable() else "?" for each in message[:_LONGEST_MESSAGE])
    return kind_of(code, SwarmError)(words)


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield what an error consists of: the errors of a group, however deep, else the error itself."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from leaves(each)
    else:
        yield error
