"""Entries of one kind: each is parsed once, and again only when it is sent anew. Pure.

An entry that cannot be used on this host is left out, logged once, and reported in `NodeDescription.lacks`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from worker.intake.identifiers import Unusable, is_id, quote_foreign

S = TypeVar("S")
V = TypeVar("V")

# How a reader leaves out a part of an entry: the part's kind and name, and why.
Refuse: TypeAlias = Callable[[str, str, str], None]


class _Read(NamedTuple, Generic[S, V]):
    sent: S
    value: V | None
    refused: tuple[Refusal, ...]


class Entries(Generic[S, V]):
    """What `read` makes of the entries of a kind. It may refuse parts of one, or raise `Unusable` for all of it.

    `unique`: what no two of them may have, as a name for it and its value: the second one is out.
    """

    def __init__(
        self, kind: str, read: Callable[[S, Refuse], V], unique: Callable[[V], tuple[str, object]] | None = None
    ) -> None:
        self._kind = kind
        self._read = read
        self._unique = unique
        self._known: dict[str, _Read[S, V]] = {}
        self._values: dict[str, V] = {}

    def forget(self) -> None:
        """Read all of them anew the next time."""
        self._known.clear()

    def take(self, sent: Mapping[str, S], refused: list[Refusal]) -> Mapping[str, V]:
        """Return what can be used, by name, the very same mapping if that is so; `refused` gets the rest."""
        self._known = {name: self._one(name, entry) for name, entry in sent.items()}
        for each in self._known.values():
            refused += each.refused
        values = {name: each.value for name, each in self._known.items() if each.value is not None}
        if self._unique is not None:
            _drop_seconds(values, self._kind, self._unique, refused)
        if not _same(self._values, values):
            self._values = values
        return self._values

    def _one(self, name: str, entry: S) -> _Read[S, V]:
        known = self._known.get(name)
        if known is not None and known.sent is entry:
            return known
        refused: list[Refusal] = []
        try:
            value = self._read(entry, lambda *what: refused.append(Refusal(*what)))
        except Unusable as error:
            return _Read(entry, None, (Refusal(self._kind, name, error.message),))
        return _Read(entry, value, tuple(refused))


def _drop_seconds(
    values: dict[str, V], kind: str, unique: Callable[[V], tuple[str, object]], refused: list[Refusal]
) -> None:
    holders: dict[object, str] = {}
    for name in sorted(values):  # the same one on every host, in whatever order they came
        what, value = unique(values[name])
        holder = holders.setdefault(value, name)
        if holder != name:
            del values[name]
            refused.append(Refusal(kind, name, f"{what} {value} already belongs to {holder}"))


def _same(old: Mapping[str, V], new: Mapping[str, V]) -> bool:
    return len(old) == len(new) and all(old.get(name) is value for name, value in new.items())


_TOLD = 3

_log = logging.getLogger(__name__)


class Refusal(NamedTuple):
    """An entry that is left out, whole or in part. `kind` and `name` tell it from others, `why` is a sentence."""

    kind: str
    name: str
    why: str

    @property
    def what(self) -> str:
        """Name the entry, in a few words whatever it is called."""
        return f"{self.kind} {self.name if is_id(self.name) else quote_foreign(self.name)}"


class Refusals:
    """What is left out of the present assignment set."""

    def __init__(self) -> None:
        self._present: dict[tuple[str, str], Refusal] = {}

    def note(self, found: Iterable[Refusal]) -> bool:
        """Take what is refused now; log what is new, and return whether others should hear of a change.

        An entry that is refused for another reason than before is not new: who sends nonsense could fill the log.
        """
        before = self._present
        self._present = {(each.kind, each.name): each for each in found}
        for key, refusal in self._present.items():
            if key not in before:
                _log.warning("%s is left out: %s", refusal.what, refusal.why)
        for key in before.keys() - self._present.keys():
            _log.info("%s is no longer left out", before[key].what)
        return before.keys() != self._present.keys()

    def lacks(self) -> Collection[str]:
        """Describe for `NodeDescription.lacks` what is left out, without quoting it."""
        if not self._present:
            return ()
        named = sorted(each.what for each in self._present.values())
        more = f" and {len(named) - _TOLD} more" if len(named) > _TOLD else ""
        return (f"left out, as the manager's entry for it cannot be used: {', '.join(named[:_TOLD])}{more}",)
