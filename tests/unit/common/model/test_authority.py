"""The root's replacement, phase by phase: who trusts what, and whose certificates are new."""

import pytest

from common.model.authority import RegistryLogin, RootKey, RotationPhase


@pytest.mark.parametrize(
    ("phase", "step", "trusting", "issuing"),
    [
        (RotationPhase.NONE, 0, 0, 0),  # never replaced
        (RotationPhase.TRUST, 1, 1, 2),
        (RotationPhase.ISSUE, 2, 1, 2),
        (RotationPhase.NONE, 3, 1, 2),
        (RotationPhase.TRUST, 4, 4, 5),
    ],
)
def test_members_trust_a_root_before_they_have_its_certificates(
    phase: RotationPhase, step: int, trusting: int, issuing: int
) -> None:
    root = RootKey(phase=phase, step=step)
    assert (root.trusting_step, root.issuing_step) == (trusting, issuing)


def test_while_a_root_is_replaced_both_are_trusted() -> None:
    root = RootKey(certificate=b"old", next_certificate=b"new")
    assert (root.trusted, root.newest) == (b"oldnew", b"new")
    assert RootKey(certificate=b"old").newest == b"old"


def test_keys_and_credentials_are_not_in_a_repr() -> None:
    assert "secret" not in repr(RootKey(certificate=b"c", key=b"secret", next_key=b"secret"))
    assert "secret" not in repr(RegistryLogin(id="s", auth="secret"))
