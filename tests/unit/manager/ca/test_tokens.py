import hmac
import random

import pytest

from common.errors import FailedPrecondition, Unauthenticated
from common.tls import root_digest
from common.wire.token import parse_token
from manager.ca.authority import create_root
from manager.ca.tokens import check_token, new_tokens, rotate

ROOT = create_root("c", 1_700_000_000.0).certificate
DIGEST = root_digest(ROOT)
TOKENS = new_tokens(DIGEST, random.Random(1))


def test_a_token_has_the_form_of_swarms_and_pins_its_root() -> None:
    prefix, version, digest, secret = TOKENS.worker.split("-")
    assert (prefix, version, len(digest), len(secret)) == ("SWMTKN", "1", 50, 25)
    token = parse_token(TOKENS.worker + "\n")
    assert token.pins(ROOT)
    assert not token.pins(create_root("c", 1_700_000_000.0).certificate)


def test_the_digest_is_of_the_certificate_not_of_its_text() -> None:
    assert root_digest(ROOT.replace(b"\n", b"\r\n")) == DIGEST


def test_both_secrets_differ_and_rotation_changes_one() -> None:
    assert TOKENS.worker != TOKENS.manager
    rotated = rotate(TOKENS, "worker", DIGEST, random.Random(2))
    assert rotated.worker != TOKENS.worker
    assert rotated.manager == TOKENS.manager


def test_each_wrong_token_has_its_own_words() -> None:
    check_token(TOKENS.worker, TOKENS, "worker")
    with pytest.raises(FailedPrecondition, match="token for managers"):
        check_token(TOKENS.manager, TOKENS, "worker")
    with pytest.raises(Unauthenticated, match="another cluster"):
        check_token(new_tokens("0" * 50, random.Random(1)).worker, TOKENS, "worker")
    with pytest.raises(Unauthenticated, match="rotated or mistyped"):
        check_token(rotate(TOKENS, "worker", DIGEST, random.Random(2)).worker, TOKENS, "worker")


def test_a_manager_joins_by_its_own_token_alone() -> None:
    check_token(TOKENS.manager, TOKENS, "manager")
    with pytest.raises(FailedPrecondition, match=r"'swarm-manager join' needs the one that .* join-token manager"):
        check_token(TOKENS.worker, TOKENS, "manager")


def test_tokens_are_compared_in_constant_time_and_both_always(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[str, str]] = []

    def compare(one: str, other: str) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    check_token(TOKENS.worker, TOKENS, "worker")
    assert compared == [(TOKENS.worker, TOKENS.worker), (TOKENS.worker, TOKENS.manager)]
