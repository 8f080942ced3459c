"""The kernel's refusals in words that say on which side."""

import errno

import pytest

from common.errors import FailedPrecondition, PermissionDenied, ResourceExhausted, SwarmError, Unavailable
from worker.volumes.copy.errors import refusal


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, ResourceExhausted),
        (errno.EDQUOT, ResourceExhausted),
        (errno.EACCES, PermissionDenied),
        (errno.EROFS, FailedPrecondition),
        (errno.ENAMETOOLONG, FailedPrecondition),
        (errno.EIO, Unavailable),
    ],
)
def test_each_refusal_has_its_kind_and_names_the_side(number: int, kind: type[SwarmError]) -> None:
    found = refusal(OSError(number, "as the kernel says"), "target", "'a/b'")
    assert type(found) is kind
    assert "target" in found.message


def test_an_error_without_a_number_is_the_disks() -> None:
    assert refusal(OSError("odd"), "source", "'a'").message == "the source's disk fails for 'a': odd"
