"""What is said of a tool that fails."""

import pytest

from common.errors import Unavailable
from worker.host import command

BANNER = """\
┌──────────────────────────────────────────────────────┐
│                                                      │
│   Running wireguard-go is not required because this  │
└──────────────────────────────────────────────────────┘
"""
WRONG = "ERROR: (orc-wg0) 2026/01/02 03:04:05 UAPI listen error: unix socket in use"


@pytest.mark.parametrize(
    ("errors", "output", "said"),
    [
        (BANNER, f"DEBUG: starting\n{WRONG}\n", WRONG),
        (f"{BANNER}{WRONG}\n", "", WRONG),
        ("RTNETLINK answers: File exists\nmore\n", "an error of before", "RTNETLINK answers: File exists"),
        ("/dev/stdin:3:1-2: Error: syntax error\nfoo bar\n^^^\n", "", "/dev/stdin:3:1-2: Error: syntax error"),
        (BANNER, "", "exit status 3"),
        ("", "", "exit status 3"),
    ],
)
async def test_the_line_that_says_what_is_wrong_is_told(errors: str, output: str, said: str) -> None:
    with pytest.raises(Unavailable) as caught:
        await command.must("sh", "-c", 'printf "%s" "$1"; cat >&2; exit 3', "sh", output, stdin=errors)
    assert caught.value.message == f"sh failed: {said}"
