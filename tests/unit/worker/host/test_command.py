"""What is said of a tool that fails."""

import pytest

from common.errors import Unavailable
from worker.host import command

BANNER = """\
┌──────────────────────────────────────────────────────┐
│                                                      │
│   Running wireguard-go is not required because this  │
└──────────────────────────────────────────────────────┘
ERROR: (orc-wg0) 2026/01/02 03:04:05 UAPI listen error: unix socket in use
"""


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        (BANNER, "ERROR: (orc-wg0) 2026/01/02 03:04:05 UAPI listen error: unix socket in use"),
        ("RTNETLINK answers: File exists\nmore\n", "RTNETLINK answers: File exists"),
        ("/dev/stdin:3:1-2: Error: syntax error\nfoo bar\n^^^\n", "/dev/stdin:3:1-2: Error: syntax error"),
        ("", "exit status 3"),
    ],
)
async def test_the_line_that_says_what_is_wrong_is_told(errors: str, said: str) -> None:
    with pytest.raises(Unavailable) as caught:
        await command.must("sh", "-c", "cat >&2; exit 3", stdin=errors)
    assert caught.value.message == f"sh failed: {said}"
