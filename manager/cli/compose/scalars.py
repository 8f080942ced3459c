"""What an unquoted YAML scalar means, and how a number is written as text.

The rules are those of the YAML library of Docker's command line (go-yaml 2), so that `0440`, `1_000` and `1e3` are the
numbers that they are there, without its one trap: `yes`, `no`, `on`, `off`, `y` and `n` stay words here (`BareWord`),
and are booleans only where a key asks for one.
"""

from __future__ import annotations

import math
import re
from typing import TypeAlias

Scalar: TypeAlias = str | int | float | bool | None


class BareWord(str):
    """An unquoted `yes`, `no`, `on`, `off`, `y` or `n`: a string, but a boolean for a key that wants one."""

    __slots__ = ()


class Substituted(str):
    """A string that a variable went into: it may stand for a number or a boolean."""

    __slots__ = ()


_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
_TRUE = frozenset({"y", "yes", "on", "true"})
_FALSE = frozenset({"n", "no", "off", "false"})
_BARE = re.compile(r"[yY]|[nN]|yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF")
_INTEGER = re.compile(
    r"(?P<sign>[-+]?)(?:0[xX](?P<hex>[0-9a-fA-F]+)|0[bB](?P<bin>[01]+)|0[oO]?(?P<oct>[0-7]+)|(?P<dec>0|[1-9][0-9]*))"
)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_BASES = {"hex": 16, "bin": 2, "oct": 8, "dec": 10}
_EXPONENT_FROM = 6
_MAX_DIGITS = 300  # beyond it nothing is a number that Docker would read


def plain(text: str) -> Scalar:
    """Read an unquoted scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if _BARE.fullmatch(text):
        return BareWord(text)
    if text[0] in "+-.0123456789" and len(text) <= _MAX_DIGITS:
        number = _number(text)
        return text if number is None else number
    return text


def _number(text: str) -> int | float | None:
    digits = text if text.startswith(".") else text.replace("_", "")
    if match := _INTEGER.fullmatch(digits):
        base = next(name for name in _BASES if match[name] is not None)
        value = int(match["sign"] + match[base], _BASES[base])
        if -(2**63) <= value < 2**64:
            return value
    if _FLOAT.fullmatch(digits) and math.isfinite(value_ := float(digits)):
        return value_
    return None


def boolean(text: str) -> bool | None:
    """Read a boolean (the words of YAML 1.1, in any case); None if it is not one."""
    word = text.lower()
    return True if word in _TRUE else False if word in _FALSE else None


def text_of(value: Scalar) -> str:
    """Write a scalar as Docker writes it into a string: 1.50 becomes `1.5`, 1e6 becomes `1e+06`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float_text(value)
    return "" if value is None else str(value)


def _float_text(value: float) -> str:
    """Format like Go's `%v`: the shortest digits, with an exponent below 1e-4 and from 1e6 on."""
    mantissa, _, exponent = f"{value!r}".partition("e")
    sign, digits = ("-", mantissa[1:]) if mantissa.startswith("-") else ("", mantissa)
    whole, _, fraction = digits.partition(".")
    point = len(whole) + int(exponent or 0)
    figures = (whole + fraction).lstrip("0")
    point -= len(whole + fraction) - len(figures)
    figures = figures.rstrip("0")
    return sign + _place_point(figures, point)


def _place_point(figures: str, point: int) -> str:
    """Write 0.FIGURES * 10**point."""
    if not figures:
        return "0"
    if point - 1 < -4 or point - 1 >= _EXPONENT_FROM:
        mantissa = figures[0] + (f".{figures[1:]}" if len(figures) > 1 else "")
        return f"{mantissa}e{point - 1:+03d}"
    if point <= 0:
        return "0." + "0" * -point + figures
    if len(figures) <= point:
        return figures + "0" * (point - len(figures))
    return f"{figures[:point]}.{figures[point:]}"
