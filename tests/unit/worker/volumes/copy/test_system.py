"""What a copying process does to itself, and the kernel's refusals in words that say on which side."""

import errno
import subprocess
import sys

import pytest

from common.errors import FailedPrecondition, PermissionDenied, ResourceExhausted, SwarmError, Unavailable
from worker.volumes.copy.system import refusal

_TAKES_TOO_MUCH = """
from worker.volumes.copy.system import bound_memory
bound_memory(256 << 20)
small = bytearray(16 << 20)
try:
    bytearray(512 << 20)
except MemoryError:
    print("refused", len(small))
"""


def test_a_process_has_no_more_memory_than_it_is_given() -> None:
    done = subprocess.run([sys.executable, "-c", _TAKES_TOO_MUCH], capture_output=True, text=True, check=True)
    assert done.stdout == f"refused {16 << 20}\n"


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
