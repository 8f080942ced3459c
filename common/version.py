"""Which release this is."""

from __future__ import annotations

from importlib import metadata


def version() -> str:
    """Return the version of the installed distribution; `dev` when it runs from a source tree that is not installed."""
    try:
        return metadata.version("swarm")
    except metadata.PackageNotFoundError:
        return "dev"
