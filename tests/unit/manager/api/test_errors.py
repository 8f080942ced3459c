"""Failures are worded as the engine words them."""

import pytest

from common.errors import InvalidArgument, NotFound, SwarmError, Unavailable
from manager.api.errors import EngineError, Unimplemented, describe, invalid


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (NotFound("service web not found"), (404, "service web not found")),
        (Unavailable("no manager"), (503, "no manager")),
        (InvalidArgument("bad"), (400, "rpc error: code = InvalidArgument desc = bad")),
        (Unimplemented("not here"), (501, "rpc error: code = Unimplemented desc = not here")),
        (EngineError(409, "Conflict."), (409, "Conflict.")),
        (invalid("bad"), (400, "bad")),
        (SwarmError("x"), (500, "rpc error: code = Unknown desc = x")),
    ],
)
def test_each_failure_has_its_status_and_words(error: SwarmError, answer: tuple[int, str]) -> None:
    assert describe(error) == answer
