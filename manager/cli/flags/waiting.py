"""Flags of every command that waits until services have converged."""

from __future__ import annotations

from manager.cli.command import flag
from manager.cli.flags.types import DURATION

DETACH = flag("-d", "--detach", switch=True, help="Exit immediately instead of waiting for the services to converge.")
TIMEOUT = flag(
    "--timeout", type=DURATION, default="10m", show_default=True, help="Stop waiting after this time without progress."
)
