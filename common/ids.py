"""Identifiers: 25 characters of base 36, as SwarmKit makes them (identity/randomid.go)."""

from __future__ import annotations

import random

ID_LENGTH = 25
# So many digits of a container's id are shown, as by Docker, and are its name in networks.
SHORT_ID = 12
_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"


def to_base36(number: int, width: int) -> str:
    """Write a non-negative integer in base 36, padded with zeros on the left to `width` digits."""
    digits = []
    while number:
        number, digit = divmod(number, 36)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits)).rjust(width, "0")


def new_id(rng: random.Random) -> str:
    """Make an identifier of 128 random bits from `rng`: `random.SystemRandom` in production, seeded in simulation."""
    return to_base36(rng.getrandbits(128), ID_LENGTH)
