"""`--ulimit`, `--generic-resource`, `--cap-add`: limits and rights of a task."""

from __future__ import annotations

from collections.abc import Iterable

from common.model.container import Ulimit
from common.model.service import DiscreteResourceSpec, GenericResource, NamedResourceSpec

# Words for capabilities: all of them; and, in an update, reset the earlier ones.
_ALL, _RESET = "ALL", "RESET"
ULIMITS = frozenset(
    [
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ]
)


def parse_ulimit(text: str) -> Ulimit:
    """Read `name=soft[:hard]`; -1 is unlimited.

    Raises:
        ValueError: the name is unknown, or the numbers are wrong.

    """
    name, equals, numbers = text.partition("=")
    if not equals:
        raise ValueError(f"invalid ulimit argument: {text}")
    if name not in ULIMITS:
        raise ValueError(f"invalid ulimit type: {name}")
    soft_text, colon, hard_text = numbers.partition(":")
    try:
        soft = int(soft_text)
        hard = int(hard_text) if colon else soft
    except ValueError:
        raise ValueError(f"invalid ulimit value in {text}: numbers are expected") from None
    if hard != -1 and (soft == -1 or soft > hard):
        raise ValueError(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
    return Ulimit(name=name, soft=soft, hard=hard)


def merge_ulimits(ulimits: Iterable[Ulimit], removed: Iterable[str] = ()) -> tuple[Ulimit, ...]:
    """Keep the last of each name, by name, without the removed ones."""
    by_name = {ulimit.name: ulimit for ulimit in ulimits}
    for name in removed:
        by_name.pop(name, None)
    return tuple(by_name[name] for name in sorted(by_name))


def parse_generic(text: str) -> tuple[GenericResource, ...]:
    """Read `kind=3` (a count) or `kind=id` (a named device); several are separated by commas.

    Raises:
        ValueError: there is no `=`.

    """
    return tuple(_generic(part) for part in text.split(","))


def _generic(text: str) -> GenericResource:
    kind, equals, value = text.partition("=")
    if not equals or not kind or not value:
        raise ValueError(f"incorrect term {text}, missing '=' or malformed expression")
    if value.lstrip("-").isdecimal():
        if int(value) < 0:
            raise ValueError(f"cannot have a negative count: {text}")
        return GenericResource(discrete_resource_spec=DiscreteResourceSpec(kind=kind, value=int(value)))
    return GenericResource(named_resource_spec=NamedResourceSpec(kind=kind, value=value))


def generic_kind(resource: GenericResource) -> str:
    spec = resource.discrete_resource_spec or resource.named_resource_spec
    return spec.kind if spec else ""


def capability(text: str) -> str:
    """Write a capability in the kernel's way: `net_admin` → `CAP_NET_ADMIN`.

    Raises:
        ValueError: it is empty.

    """
    name = text.strip().upper()
    if not name:
        raise ValueError("an empty capability")
    return name if name in (_ALL, _RESET) or name.startswith("CAP_") else f"CAP_{name}"


def merge_capabilities(
    added: Iterable[str], dropped: Iterable[str], more: Iterable[str], fewer: Iterable[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Apply `--cap-add` and `--cap-drop` to what is added and dropped, as docker does.

    Undoing an earlier opposite does nothing else; what is both added and dropped is added. RESET empties
    what there was of its kind.
    """
    plus, minus = set(more), set(fewer)
    add = set() if _RESET in plus else set(added)
    drop = set() if _RESET in minus else set(dropped)
    plus -= {_RESET}
    minus -= {_RESET, *plus}
    undone = add & minus
    add, drop = add - undone, drop | (minus - undone)
    undone = drop & plus
    add, drop = add | (plus - undone), drop - undone
    return _capabilities(add), _capabilities(drop)


def _capabilities(names: set[str]) -> tuple[str, ...]:
    return (_ALL,) if _ALL in names else tuple(sorted(names))
