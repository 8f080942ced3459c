"""Tokens of the shared dashboard: what is shown is what is read, and nothing else is."""

import hashlib
import re

import pytest

from common.http.dashboard_token import Token, is_token_id, new_token, parse_token


def test_a_token_is_read_as_it_was_written() -> None:
    made = new_token()
    assert re.fullmatch(r"dash_[0-9a-f]{12}_[\w-]{43}", str(made))
    assert parse_token(str(made)) == made
    assert is_token_id(made.id)


def test_the_digest_is_of_the_secret() -> None:
    made = Token("token-0123456789ab", "s" * 43)
    assert made.digest == hashlib.sha256(b"s" * 43).hexdigest()
    assert made.matches(made.digest)
    assert not made.matches(new_token().digest)


def test_a_token_is_not_in_what_is_logged() -> None:
    made = new_token()
    assert made.secret not in repr(made)


@pytest.mark.parametrize(
    "text", ["", "dash_", "dash_0123456789ab_", f"dash_0123456789ab_{'s' * 42}", f"dash_0123456789AB_{'s' * 43}"]
)
def test_what_is_not_a_token_is_not_read(text: str) -> None:
    assert parse_token(text) is None
    assert parse_token(f"{text}\n") is None
