"""Forms: a rule for each field of a struct, and how a struct is taken by them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import msgspec
from msgspec.structs import fields, replace

from common.model import Network, NetworkAttachment, Node, Task
from manager.domain.refusals import Refusal
from manager.store.view import View

S = TypeVar("S", bound=msgspec.Struct)

# What no field says.
_NOTHING = object()
# As many tasks as a message is about at most: more than a frame holds of honest ones.
MAX_ENTRIES = 100_000


class Implausible(Exception):
    """A value that does not hold; the argument says why, in a sentence that names it."""


class Dropped(Implausible):
    """A struct of which nothing is used, as a field of it was refused: that is noted already."""


@dataclass(slots=True)
class Hearing:
    """One message of one node while it is looked at: what the node is, and what of the message was refused.

    `node` is its record, None for a host that is joining; `source` the address that its connection comes from, empty
    where that says nothing; `loopback`: whether this manager is itself at a loopback address, as in a trial on one
    machine. `task` and `attachment` are those that a part of the message is about; `said` is the struct that is looked
    at just now, as it was said, and `at` the field.
    """

    view: View
    now: float
    node: Node | None = None
    source: str = ""
    loopback: bool = False
    refusals: list[Refusal] = field(default_factory=list)
    task: Task = field(default_factory=Task)
    attachment: NetworkAttachment = field(default_factory=NetworkAttachment)
    said: Any = None
    at: str = ""

    @property
    def node_id(self) -> str:
        return self.node.id if self.node is not None else ""

    def refuse(self, reason: str, at: str = "") -> None:
        """Note that something is not used; without `at`, in the field that is being looked at."""
        self.refusals.append(Refusal(at or self.at, reason))

    def lease(self, network: Network) -> str:
        """Return this node's part of a network (CIDR); empty when it has none."""
        return network.leases.get(self.node_id, "")


Take: TypeAlias = Callable[[Any, Hearing], Any]


def keep(value: Any, _hearing: Hearing) -> Any:
    """Take any value: its type is all that it must have."""
    return value


class Rule(NamedTuple):
    """What a field may say.

    `take` returns what may be used of a value: itself, or less. It raises `Implausible` when that is nothing: then the
    field is as if nothing had been said. `words` describe it in the documentation; `form` is that of structs within.
    """

    words: str
    take: Take
    form: Form[Any] | None = None


class Form(Generic[S]):
    """The rules of all fields of a struct.

    Where a field of `needed` is refused, or one that has no default, nothing of the struct is used. Those of `optional`
    say nothing by their default, and are not looked at then.

    Raises:
        TypeError: a field has no rule, or a rule no field.

    """

    def __init__(
        self, kind: type[S], /, needed: tuple[str, ...] = (), optional: tuple[str, ...] = (), **rules: Rule
    ) -> None:
        known = {each.name: each for each in fields(kind)}
        if known.keys() != rules.keys():
            wrong = ", ".join(sorted(known.keys() ^ rules.keys()))
            raise TypeError(f"{kind.__name__}: every field that a worker sends needs a rule, and only those: {wrong}")
        self.kind = kind
        self.rules = rules
        asked = {name: rule for name, rule in rules.items() if rule.take is not keep}
        self._values = attrgetter(*asked, *asked) if asked else None  # twice, as of one name it would not be a tuple
        self._defaults = {name: _default(each) for name, each in known.items() if not each.required}
        self._steps = [
            (
                name,
                f"{kind.__name__}.{name}",
                rule.take,
                name in needed or known[name].required,
                self._defaults[name] if name in optional else _NOTHING,
            )
            for name, rule in asked.items()
        ]

    def take(self, said: S, hearing: Hearing) -> S:
        """Return what of a struct may be used: itself, if all holds.

        Raises:
            Unbelievable: nothing of it may be; why is noted.

        """
        if self._values is None:
            return said
        changed: dict[str, Any] = {}
        for value, (name, at, take, needed, nothing) in zip(self._values(said), self._steps, strict=False):
            if value is nothing:
                continue
            hearing.said, hearing.at = said, at
            try:
                found = take(value, hearing)
            except Implausible as error:
                if not isinstance(error, Dropped):
                    hearing.refuse(str(error), at)
                if needed:
                    raise Dropped from None
                found = self._defaults[name]
            if found is not value:
                changed[name] = found
        return replace(said, **changed) if changed else said


def _default(known: Any) -> Any:
    return known.default if known.default is not msgspec.NODEFAULT else known.default_factory()


def part(form: Form[Any]) -> Rule:
    """Let a field hold a struct."""

    def take(value: msgspec.Struct | None, hearing: Hearing) -> msgspec.Struct | None:
        return None if value is None else form.take(value, hearing)

    return Rule(form.kind.__name__, take, form)


def entries(form: Form[Any], most: int = MAX_ENTRIES) -> Rule:
    """Let a field hold a tuple of structs, `most` at most; those that do not hold are left out."""

    def take(value: tuple[msgspec.Struct, ...], hearing: Hearing) -> tuple[msgspec.Struct, ...]:
        return unchanged_or(value, _take_items(form, some(value, most, hearing), hearing))

    return Rule(f"{most:,} of {form.kind.__name__}", take, form)


def some(value: tuple[Any, ...], most: int, hearing: Hearing) -> tuple[Any, ...]:
    """Return the first entries of a tuple that may have `most`."""
    if len(value) <= most:
        return value
    hearing.refuse(f"it has {len(value):,} entries: the first {most:,} are used")
    return value[:most]


def unchanged_or(value: tuple[Any, ...], found: Iterator[Any] | list[Any]) -> tuple[Any, ...]:
    """Return a tuple itself when nothing in it was changed, else what was found."""
    result = tuple(found)
    if len(result) == len(value) and all(one is other for one, other in zip(result, value, strict=True)):
        return value
    return result


def _take_items(form: Form[Any], value: tuple[Any, ...], hearing: Hearing) -> Iterator[Any]:
    for each in value:
        try:
            yield form.take(each, hearing)
        except Dropped:
            continue
