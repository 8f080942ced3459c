"""Carry a parsed template out on data."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from common.spec.gotemplate.functions import NIL, NO_VALUE, Function, Nothing, Record, show, truth
from common.spec.gotemplate.parser import (
    Branch,
    FunctionName,
    Literal,
    Node,
    Operand,
    Path,
    Pipeline,
    Print,
    TemplateCallError,
    TemplateError,
    Text,
)

_FEW = 24


class Budget:
    """What all renderings that are given it may take together.

    Args:
        steps: what templates have (tokens), nodes carried out, turns of loops and calls of functions; one takes some
            microseconds.
        characters: of what is printed and of what functions make.

    """

    def __init__(self, steps: int, characters: int) -> None:
        self._steps, self._characters = steps, characters
        self._taken = self._made = 0

    def step(self, characters: int = 0, steps: int = 1) -> None:
        """Take a step, or several, that make so many characters.

        Raises:
            TemplateError: that is more than there was.

        """
        self._taken += steps
        self._made += characters
        if self._taken > self._steps:
            raise TemplateError(f"template: it takes more than {self._steps} steps")
        if self._made > self._characters:
            raise TemplateError(f"template: it makes more than {self._characters} characters")


class Evaluator:
    """One rendering: the functions, and the variables of each open block, innermost last."""

    def __init__(self, functions: Mapping[str, Function], *, strict: bool, budget: Budget | None) -> None:
        self._step = (budget or Budget(sys.maxsize, sys.maxsize)).step
        self._functions = functions
        self._strict = strict
        self._scopes: list[dict[str, object]] = []

    def render(self, body: Iterable[Node], data: object) -> str:
        self._scopes = [{"$": data}]
        return self._block(body, data)

    def _block(self, body: Iterable[Node], dot: object) -> str:
        return "".join(self._node(node, dot) for node in body)

    def _node(self, node: Node, dot: object) -> str:
        match node:
            case Text():
                self._step(len(node.text))
                return node.text
            case Print():
                value = self._pipeline(node.pipeline, dot)
                self._store(node.pipeline, value)
                text = "" if node.pipeline.variables else show(value)
                self._step(len(text))
                return text
            case Branch():
                self._scopes.append({})
                try:
                    return self._branch(node, dot)
                finally:
                    self._scopes.pop()

    def _branch(self, node: Branch, dot: object) -> str:
        value = self._pipeline(node.pipeline, dot)
        if node.kind == "range":
            return self._range(node, value, dot)
        self._store(node.pipeline, value)
        if not truth(value):
            return self._block(node.otherwise, dot)
        return self._block(node.body, value if node.kind == "with" else dot)

    def _range(self, node: Branch, value: object, dot: object) -> str:
        parts = []
        for pair in _pairs(value):
            self._step()
            names = node.pipeline.variables
            self._scopes[-1] = dict(zip(names, pair if len(names) == 2 else pair[1:], strict=False))
            parts.append(self._block(node.body, pair[1]))
        return "".join(parts) if parts else self._block(node.otherwise, dot)

    def _store(self, pipeline: Pipeline, value: object) -> None:
        for name in pipeline.variables:
            holders = [scope for scope in self._scopes if name in scope]
            target = self._scopes[-1] if pipeline.declares or not holders else holders[-1]
            target[name] = value

    def _pipeline(self, pipeline: Pipeline, dot: object) -> object:
        value: object = None
        for position, command in enumerate(pipeline.commands):
            value = self._command(command, dot, (value,) if position else ())
        return value

    def _command(self, command: tuple[Operand, ...], dot: object, piped: tuple[object, ...]) -> object:
        first, *rest = command
        if not isinstance(first, FunctionName):
            if rest or piped:
                raise TemplateError("template: only a function can be given arguments")
            return self._operand(first, dot)
        if first.name in ("and", "or"):
            return self._decide(first.name, rest, dot, piped)
        arguments = [self._operand(operand, dot) for operand in rest]
        try:
            made = self._functions[first.name](*arguments, *piped)
        except (TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise TemplateCallError(f"template: line {first.line}: error calling {first.name}: {error}") from error
        self._step(len(made) if isinstance(made, str | list) else 0)
        return made

    def _decide(self, name: str, rest: list[Operand], dot: object, piped: tuple[object, ...]) -> object:
        value: object = None
        for operand in rest:
            value = self._operand(operand, dot)
            if truth(value) == (name == "or"):
                return value
        return piped[0] if piped else value

    def _operand(self, operand: Operand, dot: object) -> object:
        match operand:
            case Literal():
                return operand.value
            case FunctionName():
                return self._command((operand,), dot, ())
            case Path(start=Pipeline() as inner):
                return self._walk(self._pipeline(inner, dot), operand)
            case Path(start=""):
                return self._walk(dot, operand)
            case Path():
                return self._walk(self._variable(operand), operand)

    def _variable(self, path: Path) -> object:
        for scope in reversed(self._scopes):
            if path.start in scope:
                return scope[str(path.start)]
        raise TemplateError(f"template: line {path.line}: undefined variable {path.start!r}")

    def _walk(self, value: object, path: Path) -> object:
        for name in path.names:
            value = self._field(value, name, path)
        return value

    def _field(self, value: object, name: str, path: Path) -> object:
        if isinstance(value, Mapping):
            if isinstance(value, Record):
                return _of_record(value, name, path)
            if name in value:
                return value[name]
            if not self._strict:
                return NO_VALUE
            reason = f"map has no entry for key {name!r}{_entries(value)}"
        elif isinstance(value, msgspec.Struct):
            names = dict(zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True))
            if name in names:
                return getattr(value, names[name])
            reason = f"can't evaluate field {name} in type {type(value).__name__}"
        elif value is None or isinstance(value, Nothing):
            if not self._strict and value is not NIL:
                return NO_VALUE
            reason = f"nil has no field {name}"
        else:
            reason = f"can't evaluate field {name} in {show(value)}"
        raise _at(path, reason)


def _of_record(record: Record, name: str, path: Path) -> object:
    if record.get(name) is not None or (name in record and name not in record.absent):
        return record[name]
    if name in record.absent:
        return record.absent[name]
    names = ", ".join(sorted({*record, *record.absent}))
    known = f"there are {names}" if names else "it has none"
    raise _at(path, f"can't evaluate field {name} in type {record.type_name} ({known})")


def _at(path: Path, reason: str) -> TemplateError:
    return TemplateError(f"template: line {path.line}: executing at <.{'.'.join(path.names)}>: {reason}")


def _entries(value: Mapping[object, object]) -> str:
    """Say what a mapping has instead, where that is a few names."""
    names = sorted(key for key in value if isinstance(key, str))
    return f" (there are {', '.join(names)})" if 0 < len(names) <= _FEW else ""


def _pairs(value: object) -> Iterable[tuple[object, object]]:
    """Return keys and values in Go's order: a mapping's sorted by key."""
    if isinstance(value, Mapping):
        return [(key, value[key]) for key in sorted(value)]
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return list(enumerate(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return ((number, number) for number in range(value))
    if value is None or isinstance(value, Nothing):
        return ()
    raise TemplateError(f"template: range can't iterate over {show(value)}")
