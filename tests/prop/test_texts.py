"""What is made for a terminal, for a template or for an error, of any text."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from common.spec.gotemplate import Template, TemplateError
from manager.cli.format.inspection import indent
from manager.cli.format.tables import align
from tests.unit.worker.tasks.plan.test_log_tail import ERR
from worker.tasks.plan import log_tail

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@given(VALUES)
def test_it_is_what_python_writes_with_an_indent(value: object):
    assert indent(json.dumps(value)) == json.dumps(value, indent=4)


@given(st.lists(st.lists(st.text("ab ", max_size=15), min_size=1, max_size=4), min_size=1, max_size=6))
def test_every_cell_keeps_its_text_and_no_tab_is_left(lines: list[list[str]]):
    out = align("\n".join("\t".join(cells) for cells in lines)).split("\n")
    assert len(out) == len(lines)
    for cells, line in zip(lines, out, strict=True):
        assert "\t" not in line
        assert line.replace(" ", "") == "".join(cells).replace(" ", "")


@given(st.text().filter(lambda text: "{{" not in text))
def test_text_without_actions_is_kept(text):
    assert Template(text).render(None) == text


@given(st.text(alphabet='{}.-$()|:= \n"`ab1/*', max_size=40))
def test_any_text_renders_or_is_refused_with_our_error(text):
    try:
        Template(text).render({"a": 1, "b": {"a": [1]}})
    except TemplateError as error:
        assert "template" in error.message  # noqa: PT017


@given(st.binary(max_size=3000), st.integers(1, 20))
def test_whatever_was_written_the_error_is_short_and_printable(logs: bytes, lines: int) -> None:
    told = log_tail.with_log_tail(ERR, logs, lines)
    assert told.isprintable()
    assert len(told.encode()) <= len(ERR) + 2 + log_tail.LONGEST
