"""Tokens and keys of the dashboard's gate."""

from manager.cli.dashboard.keys import TOKEN_SECONDS, Keys


def test_a_token_is_good_once() -> None:
    keys = Keys()
    token = keys.new_token(100.0)
    key = keys.exchange(token, 101.0)
    assert key is not None
    assert keys.accept(key)
    assert keys.exchange(token, 101.0) is None


def test_a_late_token_is_worth_nothing() -> None:
    keys = Keys()
    assert keys.exchange(keys.new_token(100.0), 100.0 + TOKEN_SECONDS) is not None
    token = keys.new_token(100.0)
    assert keys.exchange(token, 100.1 + TOKEN_SECONDS) is None
    assert keys.exchange(token, 100.0) is None


def test_a_new_token_replaces_the_one_before() -> None:
    keys = Keys()
    old, new = keys.new_token(0.0), keys.new_token(0.0)
    assert keys.exchange(old, 1.0) is None
    assert keys.exchange(new, 1.0) is not None


def test_a_wrong_token_costs_the_right_one_nothing() -> None:
    keys = Keys()
    token = keys.new_token(0.0)
    for wrong in ("", token[:-1], token + "x", "ä\ud800"):
        assert keys.exchange(wrong, 1.0) is None
        assert not keys.accept(wrong)
    assert keys.exchange(token, 1.0) is not None


def test_nothing_is_accepted_before_a_token_was_made() -> None:
    keys = Keys()
    assert keys.exchange("", 0.0) is None
    assert not keys.accept("")


def test_tokens_and_keys_have_256_bits() -> None:
    keys = Keys()
    token = keys.new_token(0.0)
    key = keys.exchange(token, 0.0)
    assert key is not None
    assert len(token) == len(key) == 43
    assert token != key
