"""YAML text to a tree of plain values, each with the place where it stands.

PyYAML parses; what a node means is decided here, because its own rules are not those of compose files:

- a tab before a comment or the end of a line is not indentation and is skipped, as YAML 1.2 (§6.6) allows and files in
  the wild have; a tab that indents a key is still an error, and says so;
- unquoted scalars are read by `scalars.plain`, so `22:22` is not a number and `no` is not a boolean;
- a key that is given twice is an error, and says where it stood first;
- aliases are limited in what they expand to, and may not contain themselves.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from manager.cli.compose.errors import ComposeError, KeyPath, Position, Problem
from manager.cli.compose.scalars import BareWord, Scalar, plain, text_of

_PLAIN = "plain"
_MERGE = "<<"
_YAML = "tag:yaml.org,2002:"
_LINE_ENDS = "\0\r\n\x85\u2028\u2029"
_NO_COLON = "could not find expected ':'"
_INDENTED = "this line is indented like none of the keys above that it could belong to"
_WORDS = {
    "expected <block end>, but found '<block mapping start>'": _INDENTED,
    "expected <block end>, but found '<block sequence start>'": _INDENTED,
    "expected <block end>, but found '-'": _INDENTED,
    "expected <block end>, but found": "unexpected text: is there a quote too many here, or one left open above?",
    "mapping values are not allowed here": "no key may stand here: a value with ': ' in it needs quotes, and a key the "
    "indentation of the keys beside it",
    _NO_COLON: "a key without ':' after it",
}
_MAX_NODES = 200_000
_MAX_DEPTH = 60


@dataclass(frozen=True, slots=True)
class Document:
    """One compose file: its tree, and the position of every key path in it."""

    file: str
    tree: dict[str, Any]
    positions: dict[KeyPath, Position]


def load_yaml(file: str, text: str) -> Document:
    """Parse one document whose top level is a mapping with string keys.

    Raises `ComposeError` for anything else, with line and column.
    """
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(file, text, error) from None
    except yaml.reader.ReaderError as error:
        raise ComposeError([_unreadable(file, text, error)]) from None
    except RecursionError:
        raise ComposeError([Problem("nested too deeply", position=Position(file, 1, 1))]) from None
    builder = _Builder(file)
    if not isinstance(root, yaml.MappingNode):
        where = builder.position(root) if root else Position(file, 1, 1)
        raise ComposeError([Problem("expected a mapping with keys such as `services` at the top level", (), where)])
    return Document(file, builder.build(root, ()), builder.positions)


class _Loader(yaml.SafeLoader):
    """PyYAML's scanner with tabs as white space where YAML 1.2 has them so, and no types of its own."""

    def scan_to_next_token(self) -> None:
        super().scan_to_next_token()
        while self.peek() == "\t" and (width := self._blank_width()):
            self.forward(width)
            super().scan_to_next_token()

    def _blank_width(self) -> int:
        """How many tabs and spaces may be skipped here; 0 when they indent a key or an item."""
        width = 0
        while self.peek(width) in "\t ":
            width += 1
        if self.peek(width) in "#" + _LINE_ENDS or self.flow_level:
            return width
        before = self.buffer[: self.pointer].rpartition("\n")[2]
        return width if before.strip(" \t-?") else 0

    def resolve(self, kind: type[yaml.Node], value: str | None, implicit: Any) -> str:
        if kind is yaml.ScalarNode and implicit[0]:
            return _PLAIN
        return str(super().resolve(kind, value, (False, True)))  # type: ignore[no-untyped-call]


def _syntax_error(file: str, text: str, error: yaml.MarkedYAMLError) -> ComposeError:
    begun = error.problem is not None and ("end of stream" in error.problem or error.problem == _NO_COLON)
    mark = (error.context_mark if begun else None) or error.problem_mark or error.context_mark
    if mark is None:
        return ComposeError([Problem(f"not valid YAML: {error}", position=Position(file, 1, 1))])
    where = Position(file, mark.line + 1, mark.column + 1)
    if text[mark.index : mark.index + 1] == "\t":
        return ComposeError([Problem("a tab indents this line; YAML indents with spaces only", (), where)])
    return ComposeError([Problem(f"not valid YAML: {_in_words(error)}", (), where)])


def _in_words(error: yaml.MarkedYAMLError) -> str:
    """Say what users do wrong where the parser says what it had expected."""
    problem = error.problem or ""
    for said, words in _WORDS.items():
        if problem.startswith(said):
            return words
    return f"{problem} ({error.context})" if error.context else problem


def _unreadable(file: str, text: str, error: yaml.reader.ReaderError) -> Problem:
    before = text[: error.position]
    line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
    code = error.character if isinstance(error.character, int) else ord(error.character[:1])
    return Problem(f"YAML does not allow the character U+{code:04X}", (), Position(file, line, column))


def _merges(key: yaml.Node) -> bool:
    return bool(key.tag == _PLAIN and key.value == _MERGE)


@dataclass(slots=True)
class _Builder:
    """Turns nodes into values; one use, for one file."""

    file: str
    positions: dict[KeyPath, Position] = field(default_factory=dict)
    open_nodes: set[int] = field(default_factory=set)
    built: int = 0

    def position(self, node: yaml.Node) -> Position:
        return Position(self.file, node.start_mark.line + 1, node.start_mark.column + 1)

    def fail(self, node: yaml.Node, path: KeyPath, message: str) -> NoReturn:
        raise ComposeError([Problem(message, path, self.position(node))])

    def build(self, node: yaml.Node, path: KeyPath) -> Any:
        """Make the value of a node and note where its parts stand."""
        self.positions.setdefault(path, self.position(node))
        self.built += 1
        if len(path) > _MAX_DEPTH:
            self.fail(node, path[:1], f"nested too deeply: more than {_MAX_DEPTH} levels")
        if self.built > _MAX_NODES:
            self.fail(node, path, f"the file expands to more than {_MAX_NODES} values (aliases within aliases?)")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if id(node) in self.open_nodes:
            self.fail(node, path, "an alias contains itself")
        self.open_nodes.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
            assert isinstance(node, yaml.MappingNode)
            return self._mapping(node, path)
        finally:
            self.open_nodes.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        """Build own keys first: they win over what `<<` brings in, in value and in position."""
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not _merges(key_node):
                key = self._key(key_node, path)
                if key in own:
                    first = self.positions[(*path, key)]
                    self.fail(key_node, (*path, key), f"given twice; it stands first on line {first.line}")
                self.positions.setdefault((*path, key), self.position(key_node))
                own[key] = self.build(value_node, (*path, key))
        for key_node, value_node in node.value:
            if _merges(key_node):
                for source in self._merge_sources(value_node, path):
                    merged = {**self.build(source, path), **merged}
        return {**merged, **own}

    def _merge_sources(self, node: yaml.Node, path: KeyPath) -> Iterator[yaml.MappingNode]:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for source in sources:
            if not isinstance(source, yaml.MappingNode):
                self.fail(source, path, "`<<` expects a mapping, or a list of mappings, usually by an alias `*name`")
            yield source

    def _key(self, node: yaml.Node, path: KeyPath) -> str:
        if not isinstance(node, yaml.ScalarNode):
            self.fail(node, path, "a key must be a string, not a list or a mapping")
        value = self._scalar(node, path)
        if not isinstance(value, str):
            self.fail(node, path, f'the key {node.value} must be a string; write "{node.value}"')
        return str(value)

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        text: str = node.value
        if node.tag == _PLAIN:
            return self._finite(node, path, plain(text))
        tag: str = node.tag.removeprefix(_YAML)
        if tag == "str":
            return text
        if tag == "null":
            return None
        if tag in ("int", "float", "bool"):
            return self._tagged(node, path, tag)
        if tag == "binary":
            return self._binary(node, path)
        return self.fail(node, path, f"the YAML tag {tag!r} means nothing in a compose file")

    def _finite(self, node: yaml.ScalarNode, path: KeyPath, value: Scalar) -> Scalar:
        if isinstance(value, float) and not math.isfinite(value):
            self.fail(node, path, f"{node.value} is not a value for a compose file: expected a finite number")
        return value

    def _tagged(self, node: yaml.ScalarNode, path: KeyPath, wanted: str) -> Any:
        value = self._finite(node, path, plain(node.value)) if node.value else ""
        fits = {
            "bool": isinstance(value, BareWord | bool),
            "int": isinstance(value, int) and not isinstance(value, bool),
            "float": isinstance(value, int | float) and not isinstance(value, bool),
        }
        if not fits[wanted]:
            self.fail(node, path, f"{text_of(value)!r} is tagged !!{wanted} but is not one")
        return value

    def _binary(self, node: yaml.ScalarNode, path: KeyPath) -> str:
        try:
            return base64.b64decode("".join(node.value.split()), validate=True).decode()
        except ValueError:  # a binascii.Error and a UnicodeDecodeError are ones
            self.fail(node, path, "!!binary expects text in base64")
