"""The messages and statuses of failures for clients, which match on the engine's own words."""

from __future__ import annotations

from common.errors import NotFound, SwarmError, Unavailable


class EngineError(SwarmError):
    """A failure with the exact status and message that the engine's HTTP layer answers with."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.answered = status


class Unimplemented(SwarmError):
    """What the engine always refuses, or this manager does not do (yet); the message says which."""

    status = 501
    code = "Unimplemented"


def invalid(text: str) -> EngineError:
    """Make the error for a request that the engine itself, not its swarm part, finds wrong."""
    return EngineError(400, text)


def describe(error: SwarmError) -> tuple[int, str]:
    """Return the HTTP status and the message of an expected failure.

    The engine passes errors of its swarm part on with gRPC's wording in front; its HTTP layer's own errors, things not
    found and a missing swarm come without.
    """
    if isinstance(error, EngineError):
        return error.answered, error.message
    if isinstance(error, NotFound | Unavailable):
        return error.status, error.message
    return error.status, error.rpc()
