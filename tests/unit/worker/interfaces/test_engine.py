"""What a caller learns when the engine refuses."""

from common.errors import SwarmError
from worker.interfaces.engine import EngineError


def test_a_refusal_keeps_the_engines_status_and_words() -> None:
    refusal = EngineError(409, "name is in use")
    assert isinstance(refusal, SwarmError)
    assert (refusal.http_status, refusal.message) == (409, "name is in use")
