import re

import pytest

from manager.cli.compose import ComposeError
from manager.cli.compose.interpolate import InterpolationError, Variables, escape, interpolate, substitute
from manager.cli.compose.scalars import Substituted
from manager.cli.compose.yaml_loader import load_yaml

ENV = {"A": "alpha", "E": "", "B": "beta", "a": "small"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$A", "alpha"),
        ("${A}", "alpha"),
        ("$a-$A", "small-alpha"),
        ("$A.x:8", "alpha.x:8"),
        ("$UNSET.", "."),
        ("$$A", "$A"),
        ("$$$A", "$alpha"),
        ("$$$$", "$$"),
        ("${U:-x}", "x"),
        ("${E:-x}", "x"),
        ("${A:-x}", "alpha"),
        ("${U-x}", "x"),
        ("${E-x}", ""),
        ("${U:-}", ""),
        ("${U:+x}", ""),
        ("${E:+x}", ""),
        ("${A:+x}", "x"),
        ("${E+x}", "x"),
        ("${U+x}", ""),
        ("${A?no}", "alpha"),
        ("${E?no}", ""),
        ("${A:?no}", "alpha"),
        ("${U:-a-b?c:d}", "a-b?c:d"),
        ("${U:-$A}", "$A"),
        ("${U:-$apr1$abc$def}", "$apr1$abc$def"),
        ("${U-$2y$05$abc}", "$2y$05$abc"),
        ("${U:-$$2y$$05}", "$$2y$$05"),
        ("${U:-$${A}}", "$${A}"),
        ("${U:-$}", "$"),
        ("${A:+$B}", "$B"),
        ("${U:-${V:-${A}}}", "alpha"),
        ("${U:-a${B}c}", "abetac"),
        ("${U:-$$A}", "$$A"),
        ("${A:+${B}}/x", "beta/x"),
        ("${U:-{}}", "{}"),
        ("{{.Node.Hostname}}", "{{.Node.Hostname}}"),
        ("${A:-${U:?not reached}}", "alpha"),
    ],
)
def test_every_form(text: str, result: str) -> None:
    assert substitute(text, Variables(ENV)) == result


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("$", "a lone $"),
        ("cost: $5", "write $$ for a dollar"),
        ("${}", "${} is not a variable"),
        ("${A b}", "${A b} is not a variable"),
        ("${1A}", "${1A} is not a variable"),
        ("${A:b}", "${A:b} is not a variable"),
        ("${A", "without its `}`"),
        ("${U:-${A}", "without its `}`"),
        ("${U?}", "the required variable U is not set"),
        ("${U?give me U}", "the required variable U is not set: give me U"),
        ("${E:?not ${A}}", "the required variable E is empty: not alpha"),
        ("${E:?not $A}", "the required variable E is empty: not $A"),
        ("${U:-" * 30 + "}" * 30, "nested more than"),
    ],
)
def test_what_is_wrong_is_said(text: str, message: str) -> None:
    with pytest.raises(InterpolationError, match=re.escape(message)):
        substitute(text, Variables(ENV))


def test_all_strings_are_filled_in_and_keys_are_not() -> None:
    document = load_yaml("f", "$A: [$A, {b: '${B}'}]\nc: 1\nd: plain\n")
    tree = interpolate(document, ENV)[0].tree
    assert tree == {"$A": ["alpha", {"b": "beta"}], "c": 1, "d": "plain"}
    assert isinstance(tree["$A"][0], Substituted)
    assert not isinstance(tree["d"], Substituted)


def test_every_bad_string_is_reported_with_its_place() -> None:
    with pytest.raises(ComposeError) as caught:
        interpolate(load_yaml("f", "a: $\nb:\n  - ok\n  - ${X:?x}\n"), {})
    assert [str(problem).partition(": ")[0] for problem in caught.value.problems] == ["f:1:1", "f:4:5"]


def test_unset_variables_are_reported_with_their_first_place() -> None:
    text = "a: $X\nb: ['${X} ${Y:-d} ${Z-} ${A:-$Q}', '${Y:-${V}}']\nc: $A$$B$E\n"
    assert interpolate(load_yaml("f", text), ENV)[1] == {"X": ("a",), "V": ("b", 1)}


def test_escape_undoes() -> None:
    assert substitute(escape("a$b${c}$$"), Variables(ENV)) == "a$b${c}$$"
