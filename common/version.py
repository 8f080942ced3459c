"""Which release this is."""

from __future__ import annotations

# setup.cfg takes it from here: to ask for an installed distribution's metadata costs more than a command may take.
VERSION = "0.1.0"


def version() -> str:
    return VERSION
