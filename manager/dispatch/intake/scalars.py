"""Rules for texts, words and numbers, whichever message they are in."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from common.text.image_names import is_id
from common.text.terminal import printable, quote
from manager.dispatch.intake.form import Implausible, MessageContext, Rule, keep, some, unchanged_or

MAX_INTEGER = 2**63 - 1
_IMAGE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/@+-]*")


FLAG = Rule("yes or no", keep)


def _nothing(value: object, _context: MessageContext) -> object:
    if value:
        raise Implausible("nothing is expected there")
    return value


NOTHING = Rule("nothing", _nothing)


def text(longest: int) -> Rule:
    """Let a field hold a sentence for a person. Nothing is refused: what cannot be shown is replaced, the rest cut."""

    def take(value: str, _context: MessageContext) -> str:
        return value if len(value) <= longest and value.isprintable() else printable(value, longest)

    return Rule(f"text, cut at {longest:,} characters", take)


def word(longest: int, what: str = "") -> Rule:
    """Let a field hold one printable word, or nothing."""

    def take(value: str, _context: MessageContext) -> str:
        if len(value) > longest:
            raise Implausible(f"{quote(value)} is longer than {longest:,} characters")
        if not value.isprintable() or " " in value:
            raise Implausible(f"{quote(value)} has characters that do not belong there")
        return value

    return Rule(what or f"a word, {longest:,} characters", take)


def several(one: Rule, most: int, words: str) -> Rule:
    """Let a field hold up to so many values of one rule; those that do not hold are left out."""

    def take(value: tuple[Any, ...], context: MessageContext) -> tuple[Any, ...]:
        return unchanged_or(value, _check_items(one, some(value, most, context), context))

    return Rule(f"{most:,} {words}", take)


def _check_items(one: Rule, value: Iterable[Any], context: MessageContext) -> Iterator[Any]:
    for each in value:
        try:
            yield one.take(each, context)
        except Implausible as error:
            context.refuse(str(error))


def choice(*options: str) -> Rule:
    shown = ", ".join(option or "nothing" for option in options)

    def take(value: str, _context: MessageContext) -> str:
        if value not in options:
            raise Implausible(f"{quote(value)} is not one of {shown}")
        return value

    return Rule(shown, take)


def whole(least: int, most: int, words: str = "") -> Rule:
    """Let a field hold a whole number."""

    def take(value: int, _context: MessageContext) -> int:
        if not least <= value <= most:
            raise Implausible(f"{value} is not between {least} and {most}")
        return value

    return Rule(words or f"{least:,} to {most:,}", take)


def amount(most: float, words: str, least: float = 0.0) -> Rule:
    """Let a field hold a finite number, or nothing."""

    def take(value: float | None, _context: MessageContext) -> float | None:
        if value is not None and not (math.isfinite(value) and least <= value <= most):
            raise Implausible(f"{value:g} is not a number between {least:g} and {most:g}")
        return value

    return Rule(words, take)


def labels(most: int, longest: int) -> Rule:
    """Let a field hold labels: names and values, `longest` characters together at most."""

    def take(value: Mapping[str, str], context: MessageContext) -> Mapping[str, str]:
        wrong = {name: why for name, content in value.items() if (why := label_problem(name, content, longest))}
        for why in wrong.values():
            context.refuse(why)
        right = {name: content for name, content in value.items() if name not in wrong} if wrong else value
        if len(right) > most:
            context.refuse(f"it has {len(right):,} labels: {most} are used")
            return dict(list(right.items())[:most])
        return right

    return Rule(f"{most:,} labels of {longest:,} characters", take)


def label_problem(name: str, value: str, longest: int) -> str:
    """Say what is wrong with a label; nothing if nothing is."""
    if not name or " " in name or not name.isprintable() or not value.isprintable():
        return f"label {quote(name)} is empty or has characters that cannot be shown"
    if len(name) + len(value) > longest:
        return f"label {quote(name)} is longer than {longest:,} characters"
    return ""


def _image_id(value: str, _context: MessageContext) -> str:
    if value and not is_id(value):
        raise Implausible(f"{quote(value)} is not an image's id")
    return value


IMAGE_ID = Rule("an image's id", _image_id)


def _image_name(value: str, _context: MessageContext) -> str:
    if value and (len(value) > _LONGEST_IMAGE_NAME or _IMAGE_NAME.fullmatch(value) is None):
        raise Implausible(f"{quote(value)} is not an image's name")
    return value


_LONGEST_IMAGE_NAME = 512
IMAGE_NAME = Rule("an image's name", _image_name)
