"""The resolv.conf of a container that was connected to a network of the cluster after it was made.

It cannot be given a file of ours any more, but the engine's own file for it can be written. The engine leaves one alone
that is not as it wrote it, until the container starts again.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import ClassVar

from worker.net.resolvconf import TARGET, write_in_place

_log = logging.getLogger(__name__)


class ResolvFile:
    """`ours` is the file that the container should have, `theirs` the engine's; what that was is kept beside ours."""

    TARGET: ClassVar[str] = TARGET

    def __init__(self, ours: str, theirs: str) -> None:
        self._ours = Path(ours)
        self._theirs = Path(theirs)
        self._kept = self._ours.with_name(self._ours.name + ".own")

    def lend(self) -> None:
        """Write our content into the engine's file. Repeatable."""
        try:
            wanted, found = self._ours.read_bytes(), self._theirs.read_bytes()
            if wanted == found:
                return
            if not self._kept.exists():
                write_in_place(self._kept, found)
            write_in_place(self._theirs, wanted)
        except OSError as error:
            _log.warning("a container asks no name server of the cluster: %s", error)

    def give_back(self) -> None:
        """Put back what the engine had written, if the container is still there. Repeatable."""
        try:
            if self._theirs.exists() and self._kept.exists():
                write_in_place(self._theirs, self._kept.read_bytes())
            self._kept.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("cannot give a container its own resolv.conf back: %s", error)
