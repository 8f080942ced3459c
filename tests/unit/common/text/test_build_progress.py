"""What went wrong, in engines' messages of old and new versions."""

import pytest

from common.text import build_progress


@pytest.mark.parametrize(
    ("message", "failure"),
    [
        ({"status": "Pulling"}, ""),
        ({"error": "short", "errorDetail": {"message": "denied: no such repository"}}, "denied: no such repository"),
        ({"error": "short"}, "short"),
        ({"errorDetail": {"code": 1, "message": "exit code 1"}}, "exit code 1"),
        ({"error": "", "errorDetail": None}, ""),
    ],
)
def test_a_failure_is_told_in_either_place(message: dict[str, object], failure: str) -> None:
    assert build_progress.failure(message) == failure
