"""Join tokens as they are read: which root they pin, and what is none."""

import pytest

from common.errors import InvalidArgument
from common.tls import root_digest
from common.wire.token import JoinToken, parse_token
from manager.ca.authority import create_root

ROOT = create_root("c", 1_700_000_000.0).certificate
DIGEST = root_digest(ROOT)
TOKEN = f"SWMTKN-1-{DIGEST}-{'s' * 25}"


def test_a_token_pins_its_root_and_no_other() -> None:
    token = parse_token(f" {TOKEN}\n")
    assert token == JoinToken(DIGEST, "s" * 25)
    assert str(token) == TOKEN
    assert token.pins(ROOT)
    assert not token.pins(create_root("c", 1_700_000_000.0).certificate)


@pytest.mark.parametrize(
    "text",
    ["", "x", "SWMTKN-1-abc-def", TOKEN.upper(), TOKEN + "0"],
    ids=["empty", "word", "short", "upper", "long"],
)
def test_what_is_not_a_token_is_told_so(text: str) -> None:
    with pytest.raises(InvalidArgument, match="not a join token"):
        parse_token(text)


def test_a_secret_is_not_in_a_repr() -> None:
    token = parse_token(TOKEN)
    assert token.secret not in repr(token)
    assert token == JoinToken(token.digest, token.secret)
