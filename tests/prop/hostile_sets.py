"""Assignment sets with whatever in any of their fields: how to reach each field, and what to put there."""

import enum
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import msgspec
from hypothesis import strategies as st

# Whatever of a set gets where it must not be is found by this.
CANARY = "cAnArY"
Path: TypeAlias = tuple[Any, ...]
# In a path: the name of a key of a mapping, not what is behind it.
KEY = object()

TEXTS = st.sampled_from(
    [
        "",
        CANARY + ';\n{}"$()#',
        f'"; }}\nadd table ip {CANARY}\n#',
        f"10.1.18.2\nadd table ip {CANARY}",
        f"10.1.18.2 }} ; {CANARY}",
        f"fe80::1%{CANARY} }} ; flush ruleset",
        f"fd00::{CANARY}",
        f"fd00:1::%{CANARY}/64",
        f"../../../{CANARY}",
        f"/{CANARY}/../x",
        f"{CANARY}\0",
        f"{CANARY} ",
        f"-{CANARY}",
        f"{CANARY}?force=1",
        f"$({CANARY})",
        f"`{CANARY}`",
        f"{CANARY}\x1b[31m\x07",
        f"{CANARY}é\u202e",
        f"https://{CANARY}/",
        f"tcp; {CANARY}",
        f"{CANARY}" * 2000,
    ]
)
NUMBERS = st.sampled_from([-(2**63), -1, 0, 65_536, 2**31, 2**63 - 1])
BYTES = st.sampled_from([b"", CANARY.encode(), b"\0" * 31, b"\n" * 33])
FLOATS = st.sampled_from([float("nan"), float("inf"), -1.0, 1e300])


def leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    """Yield where there are texts, numbers and bytes, and keys that are texts."""
    if isinstance(value, (str, bytes, int, float)) and not isinstance(value, (bool, enum.Enum)):
        yield path
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from leaves(getattr(value, name), (*path, name))
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
            if isinstance(key, str):
                yield (*path, KEY, key)
    elif isinstance(value, tuple):
        for number, inner in enumerate(value):
            yield from leaves(inner, (*path, number))


def at(value: Any, path: Path) -> Any:
    """Return what is there; of a key the key itself."""
    if not path:
        return value
    if path[0] is KEY:
        return path[1]
    step, *rest = path
    inner = getattr(value, step) if isinstance(value, msgspec.Struct) else value[step]
    return at(inner, tuple(rest))


def put(value: Any, path: Path, new: Any) -> Any:
    """Return a value with something else there."""
    if not path:
        return new
    step, *rest = path
    if step is KEY:
        return {new if key == rest[0] else key: inner for key, inner in value.items()}
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.replace(value, **{step: put(getattr(value, step), tuple(rest), new)})
    if isinstance(value, Mapping):
        return {**value, step: put(value[step], tuple(rest), new)}
    return tuple(put(inner, tuple(rest), new) if number == step else inner for number, inner in enumerate(value))


@st.composite
def made_hostile(draw: st.DrawFn, value: Any, texts: st.SearchStrategy[str] = TEXTS) -> Any:
    """Return a value in which some fields have something else; `texts` are what texts are changed to."""
    kinds = {str: texts, bytes: BYTES, float: FLOATS}
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(leaves(value))))
        value = put(value, path, draw(kinds.get(type(at(value, path)), NUMBERS)))
    return value
