"""Forms: a rule for each field of a struct, and how a struct is validated by them."""

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

# A value that no field has.
_NOTHING = object()
# The most entries of a list in a message: more than a frame of honest ones holds.
MAX_ENTRIES = 100_000


class Implausible(Exception):
    """An invalid value; the argument says why, in a sentence that names the value."""


class Dropped(Implausible):
    """A struct that is not used at all, as a needed field was refused; the refusal is noted already."""


@dataclass(slots=True)
class MessageContext:
    """One message of one node while it is validated: what is known of the node, and what was refused.

    `node` is its record, None for a host that is joining; `source` the address that its connection comes from, empty
    where that says nothing; `loopback`: whether this manager is itself at a loopback address, as in a trial on one
    machine. `task` and `attachment` are those that a part of the message is about; `said` is the struct that is being
    validated, as it came, and `at` the field.
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
        """Note that a value is refused, in the field `at`, or in the one that is being validated."""
        self.refusals.append(Refusal(at or self.at, reason))

    def lease(self, network: Network) -> str:
        """Return this node's part of a network (CIDR); empty if it has none."""
        return network.leases.get(self.node_id, "")


Take: TypeAlias = Callable[[Any, MessageContext], Any]


def keep(value: Any, _context: MessageContext) -> Any:
    """Accept any value of the right type."""
    return value


class Rule(NamedTuple):
    """What a field may contain.

    `take` returns what may be used of a value: itself, or less. It raises `Implausible` when that is nothing: then the
    field counts as not set. `words` describe it in the documentation; `form` is that of structs within.
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

    def take(self, said: S, context: MessageContext) -> S:
        """Return what of a struct may be used: itself, if all holds.

        Raises:
            Implausible: nothing of it may be; why is noted.

        """
        if self._values is None:
            return said
        changed: dict[str, Any] = {}
        for value, (name, at, take, needed, nothing) in zip(self._values(said), self._steps, strict=False):
            if value is nothing:
                continue
            context.said, context.at = said, at
            try:
                found = take(value, context)
            except Implausible as error:
                if not isinstance(error, Dropped):
                    context.refuse(str(error), at)
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

    def take(value: msgspec.Struct | None, context: MessageContext) -> msgspec.Struct | None:
        return None if value is None else form.take(value, context)

    return Rule(form.kind.__name__, take, form)


def entries(form: Form[Any], most: int = MAX_ENTRIES) -> Rule:
    """Let a field hold a tuple of structs, `most` at most; those that do not hold are left out."""

    def take(value: tuple[msgspec.Struct, ...], context: MessageContext) -> tuple[msgspec.Struct, ...]:
        return unchanged_or(value, _take_items(form, some(value, most, context), context))

    return Rule(f"{most:,} of {form.kind.__name__}", take, form)


def some(value: tuple[Any, ...], most: int, context: MessageContext) -> tuple[Any, ...]:
    """Return the first entries of a tuple that may have `most`."""
    if len(value) <= most:
        return value
    context.refuse(f"it has {len(value):,} entries: the first {most:,} are used")
    return value[:most]


def unchanged_or(value: tuple[Any, ...], found: Iterator[Any] | list[Any]) -> tuple[Any, ...]:
    """Return a tuple itself when nothing in it was changed, else what was found."""
    result = tuple(found)
    if len(result) == len(value) and all(one is other for one, other in zip(result, value, strict=True)):
        return value
    return result


def _take_items(form: Form[Any], value: tuple[Any, ...], context: MessageContext) -> Iterator[Any]:
    for each in value:
        try:
            yield form.take(each, context)
        except Dropped:
            continue
