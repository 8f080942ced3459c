"""The part of Go's text/template that Docker's users write: in hostnames, environment, mounts, and after `--format`.

    Template("{{.Service.Name}}.{{.Task.Slot}}").render({"Service": {"Name": "web"}, "Task": {"Slot": 3}})

Data is made of mappings, sequences, scalars, the model's structs (fields under their Docker names) and `Record`s.
Supported are fields, variables, pipelines, if / else if / else, range, with, trim markers, comments and the functions
of `functions.BUILTINS`; callers may pass more. Not supported: define, template, block, break, continue, methods.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache

from common.spec.gotemplate.evaluate import Budget, Evaluator
from common.spec.gotemplate.functions import BUILTINS, NIL, NIL_LIST, NIL_MAP, Function, Record
from common.spec.gotemplate.parser import FieldUse, TemplateCallError, TemplateError, parse, tokens

__all__ = [
    "NIL",
    "NIL_LIST",
    "NIL_MAP",
    "Budget",
    "FieldUse",
    "Function",
    "Record",
    "Template",
    "TemplateCallError",
    "TemplateError",
    "render",
]

# Names of volumes and hosts, which are rendered again and again; a configuration file of 500 KB is not kept.
_SHORT = 256


class Template:
    """A parsed template.

    Args:
        text: the template's source.
        functions: functions by name, besides and before the built-in ones; they raise ValueError for bad arguments.
        strict: whether a key that a mapping lacks is an error; otherwise it prints as `<no value>`.
        budget: what reading it takes from, for a text that others have written.

    Raises:
        TemplateError: the text is not a template, calls a function that does not exist, or is more than the budget.

    """

    def __init__(
        self,
        text: str,
        *,
        functions: Mapping[str, Function] | None = None,
        strict: bool = True,
        budget: Budget | None = None,
    ) -> None:
        self.text = text
        self._functions = {**BUILTINS, **(functions or {})}
        self._strict = strict
        read = []
        for token in tokens(text):
            if budget is not None:
                budget.step()
            read.append(token)
        self.size = len(read)
        self._body = parse(read, frozenset(self._functions))

    @cached_property
    def fields(self) -> tuple[FieldUse, ...]:
        """The paths of fields that the template reads, in the order of its text: what a table has as its columns."""
        return tuple(use for node in self._body for use in node.fields())

    def render(self, data: object, budget: Budget | None = None) -> str:
        """Carry the template out with `data` as the dot. What others have written is carried out on a budget.

        Raises:
            TemplateError: a field does not exist, or the budget is used up.
            TemplateCallError: a function refused its arguments.

        """
        evaluator = Evaluator(self._functions, strict=self._strict, budget=budget)
        return evaluator.render(self._body, data)


def render(text: str, data: object, budget: Budget | None = None) -> str:
    """Parse and render at once; text without an action is returned as it is."""
    if "{{" not in text:
        return text
    if len(text) > _SHORT:
        return Template(text, budget=budget).render(data, budget)
    template = _parse_once(text)
    if budget is not None:
        budget.step(steps=template.size)
    return template.render(data, budget)


@lru_cache(maxsize=1024)
def _parse_once(text: str) -> Template:
    return Template(text)
