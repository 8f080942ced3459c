"""Cut a template into text and the tokens of its actions, and parse these into a tree of frozen nodes."""

from __future__ import annotations

import ast
import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypeAlias

from common.errors import InvalidArgument

FieldUse: TypeAlias = tuple[str, ...]

# How deep blocks and parentheses may be in each other: they are parsed, and carried out, by functions that call
# themselves.
_DEEPEST = 50
_INT64 = range(-(1 << 63), 1 << 63)


@dataclass(frozen=True, slots=True)
class Literal:
    value: object


@dataclass(frozen=True, slots=True)
class Path:
    """A field path from the dot (`start` empty), from a variable (`$x`) or from a pipeline in parentheses."""

    start: str | Pipeline
    names: tuple[str, ...]
    line: int


@dataclass(frozen=True, slots=True)
class FunctionName:
    name: str
    line: int


Operand: TypeAlias = Literal | Path | FunctionName


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Commands joined by `|`: each is a list of operands; the value so far is the next one's last argument.

    `variables` names what the value is stored in, `declares` whether these are new.
    """

    commands: tuple[tuple[Operand, ...], ...]
    variables: tuple[str, ...] = ()
    declares: bool = True

    def fields(self) -> Iterator[FieldUse]:
        for operand in (operand for command in self.commands for operand in command):
            if not isinstance(operand, Path):
                continue
            if isinstance(operand.start, Pipeline):
                yield from operand.start.fields()
            elif operand.start in ("", "$") and operand.names:
                yield operand.names


@dataclass(frozen=True, slots=True)
class Text:
    text: str

    def fields(self) -> Iterator[FieldUse]:
        return iter(())


@dataclass(frozen=True, slots=True)
class Print:
    pipeline: Pipeline

    def fields(self) -> Iterator[FieldUse]:
        return self.pipeline.fields()


@dataclass(frozen=True, slots=True)
class Branch:
    """`kind` is if, with or range."""

    kind: str
    pipeline: Pipeline
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...]

    def fields(self) -> Iterator[FieldUse]:
        yield from self.pipeline.fields()
        for node in (*self.body, *self.otherwise):
            yield from node.fields()


Node: TypeAlias = Text | Print | Branch


def parse(read: Sequence[Token], functions: frozenset[str]) -> tuple[Node, ...]:
    """Parse the tokens of a whole template that may call `functions`."""
    parser = _Parser(read, functions)
    body, stop = parser.body()
    if stop:
        raise TemplateError(f"template: unexpected {{{{{stop}}}}}: nothing is open")
    return body


class _Parser:
    def __init__(self, read: Sequence[Token], functions: frozenset[str]) -> None:
        self._tokens = read
        self._functions = functions
        self._next = 0
        self._depth = 0

    def body(self) -> tuple[tuple[Node, ...], str]:
        """Parse up to the end of the source or to an `end` or `else`, which is returned."""
        nodes: list[Node] = []
        while self._next < len(self._tokens):
            token = self._take()
            if token.kind == "text":
                if token.text:
                    nodes.append(Text(token.text))
            elif token.kind == "word" and token.text in ("if", "with", "range"):
                nodes.append(self._branch(token))
            elif token.kind == "word" and token.text in ("end", "else"):
                if token.text == "end":
                    self._expect_end()
                return tuple(nodes), token.text
            else:
                self._next -= 1
                nodes.append(Print(self._pipeline("end")))
        return tuple(nodes), ""

    @contextmanager
    def _deeper(self, line: int) -> Iterator[None]:
        if self._depth == _DEEPEST:
            raise TemplateError(f"template: line {line}: more than {_DEEPEST} levels deep")
        self._depth += 1
        yield
        self._depth -= 1

    def _branch(self, opener: Token) -> Branch:
        with self._deeper(opener.line):
            return self._open_branch(opener)

    def _open_branch(self, opener: Token) -> Branch:
        pipeline = self._pipeline("end", ranges=opener.text == "range")
        body, stop = self.body()
        otherwise: tuple[Node, ...] = ()
        if stop == "else":
            following = self._take()
            if following.kind == "word" and following.text in ("if", "with"):
                return Branch(opener.text, pipeline, body, (self._branch(following),))
            if following.kind != "end":
                raise self._unexpected(following)
            otherwise, stop = self.body()
        if stop != "end":
            raise TemplateError(f"template: line {opener.line}: {{{{{opener.text}}}}} has no {{{{end}}}}")
        return Branch(opener.text, pipeline, body, otherwise)

    def _pipeline(self, closer: str, *, ranges: bool = False) -> Pipeline:
        """Parse up to and with the token of kind `closer`, which stays readable as the last one taken."""
        variables, declares = self._assignment(ranges)
        commands: list[tuple[Operand, ...]] = []
        operands: list[Operand] = []
        while True:
            token = self._take()
            done = token.kind == closer
            if done or (token.kind == "sign" and token.text == "|"):
                if not operands:
                    raise TemplateError(f"template: line {token.line}: missing value for command")
                commands.append(tuple(operands))
                operands = []
                if done:
                    return Pipeline(tuple(commands), variables, declares)
            else:
                operands.append(self._operand(token))

    def _assignment(self, ranges: bool) -> tuple[tuple[str, ...], bool]:
        """Parse `$x :=`, `$x =` or, of a range, `$key, $value :=`, if one stands here."""
        signs = [token.text if token.kind == "sign" else token.kind for token in self._ahead(4)]
        if signs[:1] == ["variable"] and signs[1:2] in ([":="], ["="]):
            return (self._take().text,), self._take().text == ":="
        if ranges and signs == ["variable", ",", "variable", ":="]:
            key, _, value, _ = (self._take() for _ in range(4))
            return (key.text, value.text), True
        return (), True

    def _operand(self, token: Token) -> Operand:  # noqa: PLR0911
        match token.kind:
            case "string":
                return Literal(token.text[1:-1] if token.text[0] == "`" else _unquote(token))
            case "number":
                return Literal(float(token.text) if "." in token.text else _integer(token))
            case "dot":
                return Path("", (), token.line)
            case "field":
                return Path("", tuple(token.text[1:].split(".")), token.line)
            case "variable":
                name, *names = token.text.split(".")
                return Path(name, tuple(names), token.line)
            case "word":
                return self._word(token)
            case "sign" if token.text == "(":
                with self._deeper(token.line):
                    inner = self._pipeline("close")
                names = self._tokens[self._next - 1].text.split(".")[1:]
                return Path(inner, tuple(names), token.line)
        raise self._unexpected(token)

    def _word(self, token: Token) -> Operand:
        constants = {"true": True, "false": False, "nil": None}
        if token.text in constants:
            return Literal(constants[token.text])
        if token.text not in self._functions:
            raise TemplateError(f"template: line {token.line}: function {token.text!r} not defined")
        return FunctionName(token.text, token.line)

    def _ahead(self, count: int) -> Sequence[Token]:
        return self._tokens[self._next : self._next + count]

    def _take(self) -> Token:
        token = self._tokens[self._next]
        self._next += 1
        return token

    def _expect_end(self) -> None:
        token = self._take()
        if token.kind != "end":
            raise self._unexpected(token)

    def _unexpected(self, token: Token) -> TemplateError:
        what = "the action's end" if token.kind == "end" else repr(token.text)
        return TemplateError(f"template: line {token.line}: unexpected {what}")


def _unquote(token: Token) -> str:
    if _GO_STRING.fullmatch(token.text):
        with suppress(SyntaxError, ValueError):
            text = str(ast.literal_eval(token.text))
            text.encode()  # halves of surrogate pairs are no text
            return text
    raise TemplateError(f"template: line {token.line}: {token.text[:_FEW]} is not a string")


def _integer(token: Token) -> int:
    if len(token.text) < _FEW and int(token.text) in _INT64:
        return int(token.text)
    raise TemplateError(f"template: line {token.line}: {token.text[:_FEW]} is not a number of 64 bits")


# Characters that an error quotes.
_FEW = 40
_NAME = r"[A-Za-z_]\w*"
_PATH = rf"(?:\.{_NAME})"
# A path belongs to what stands directly before it (`$x.Name`, `(index . 0).Name`), so spaces need no tokens.
_TOKEN = re.compile(
    rf"""(?P<space>\s+)
    |(?P<string>"(?:\\.|[^"\\\n])*"|`[^`]*`)
    |(?P<number>[+-]?\d+(?:\.\d+)?(?![\w.]))
    |(?P<variable>\$\w*{_PATH}*)
    |(?P<field>{_PATH}+)
    |(?P<dot>\.)
    |(?P<word>{_NAME})
    |(?P<close>\){_PATH}*)
    |(?P<sign>:=|=|\||\(|,)""",
    re.VERBOSE,
)
# The escapes that Go has; Python has others, too.
_GO_STRING = re.compile(r'"(?:[^"\\\n]|\\(?:[abfnrtv\\"]|x[0-9A-Fa-f]{2}|[0-7]{3}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}))*+"')
_END = re.compile(r"\s-\}\}|\}\}")
_COMMENT = re.compile(r"\{\{(?:-\s)?/\*.*?\*/(?:\s-)?\}\}", re.DOTALL)


class TemplateError(InvalidArgument):
    """A template that cannot be parsed or carried out; the message says where in it."""


class TemplateCallError(TemplateError):
    """A function refused its arguments: with other data it may take them."""


@dataclass(frozen=True, slots=True)
class Token:
    """`kind` is `text`, `end` (of an action) or a group of the token pattern; `line` counts from 1."""

    kind: str
    text: str
    line: int


def tokens(source: str) -> Iterator[Token]:
    """Yield the tokens; each action's are followed by an `end`.

    Raises:
        TemplateError: an action is not closed, or holds a character that no token starts with.

    """
    position, line, trim = 0, 1, False
    while (start := source.find("{{", position)) >= 0:
        trim_before = source.startswith("{{-", start) and source[start + 3 : start + 4].isspace()
        yield _text(source[position:start], line, trim, trim_before)
        line += source.count("\n", position, start)
        if comment := _COMMENT.match(source, start):
            position, trim = comment.end(), comment.group().endswith(" -}}")
        else:
            position, trim = yield from _action(source, start + (3 if trim_before else 2), line)
        line += source.count("\n", start, position)
    yield _text(source[position:], line, trim, False)


def _text(text: str, line: int, trim_left: bool, trim_right: bool) -> Token:
    text = text.lstrip() if trim_left else text
    return Token("text", text.rstrip() if trim_right else text, line)


def _action(source: str, position: int, line: int) -> Generator[Token, None, tuple[int, bool]]:
    """Yield an action's tokens; return where the text after it starts, and whether its left space is trimmed."""
    while True:
        if end := _END.match(source, position):
            yield Token("end", "", line)
            return end.end(), end.group() != "}}"
        found = _TOKEN.match(source, position)
        if found is None:
            raise TemplateError(_complaint(source, position, line))
        position = found.end()
        if found.lastgroup != "space":
            yield Token(found.lastgroup or "", found.group(), line)


def _complaint(source: str, position: int, line: int) -> str:
    if position >= len(source):
        return f"template: line {line}: an action is not closed with }}}}"
    return f"template: line {line}: unexpected {source[position]!r} in an action"
