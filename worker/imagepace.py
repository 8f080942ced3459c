"""How fast the other end of a transfer must be: one that only trickles holds a place that others wait for."""

from __future__ import annotations

from dataclasses import dataclass

from common.errors import Unavailable

# Bytes a second. The slowest line that an image is worth sending over takes nine hours for a gibibyte.
SLOWEST_PEER = 32 * 1024


class TooSlow(Unavailable):
    """The peer does not get on."""


@dataclass(slots=True)
class Pace:
    """Judges a peer by the time that this end had to wait for it: what this end's own disk needs does not count.

    After `window` seconds of waiting in all it must have moved `least` bytes for each of them; then it is judged anew.
    """

    window: float
    least: int = SLOWEST_PEER
    _waited: float = 0.0
    _moved: int = 0

    def moved(self, size: int, waited: float) -> None:
        """Note that so many bytes have come or gone after so many seconds.

        Raises:
            TooSlow: the peer is.

        """
        self._waited += waited
        self._moved += size
        if self._waited < self.window:
            return
        if self._moved < self.least * self._waited:
            raise TooSlow(f"only {self._moved} bytes in {self._waited:.2g} s, which is too slow to be of use")
        self._waited, self._moved = 0.0, 0
