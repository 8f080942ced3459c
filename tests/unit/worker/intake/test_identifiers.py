"""Texts of fixed alphabets: what is one, and that nothing else makes one."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import worker
from worker.intake.identifiers import (
    AddressText,
    ChainName,
    InterfaceName,
    Unusable,
    container_name,
    dns_name,
    identifier,
    network_name,
    quote_foreign,
)

HOSTILE = [
    "",
    " ",
    "..",
    "../x",
    "a/b",
    "a;b",
    'a"b',
    "a b",
    "a\nb",
    "a\0b",
    "$(x)",
    "{ x }",
    "a%b",
    "1.2.3.4 }",
    "é",
    "\uff11",
    "-rf",
]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("make", [identifier, network_name, container_name, InterfaceName, ChainName, AddressText])
def test_what_could_say_something_else_is_refused(make, text: str):
    with pytest.raises(Unusable):
        make(text)


@pytest.mark.parametrize(
    "text", [each for each in HOSTILE if each != "-rf"] + ["a..b", ".a", "a" * 64, "a." * 127 + "a"]
)
def test_what_nobody_can_ask_for_is_no_name(text: str):
    with pytest.raises(Unusable):
        dns_name(text)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (identifier, "0a9z" * 6 + "x"),
        (identifier, "node-1_a"),
        (network_name, "shop_back-end"),
        (container_name, "web.1.0a9z"),
        (dns_name, "my_service-2"),
        (dns_name, "a.example.com"),
        (InterfaceName, "oc-0123456789ab"),
        (ChainName, "v_0a9z_0123456789ab"),
        (AddressText, "fd00:1::/64"),
        (AddressText, "02:6f:63:00:00:01"),
        (AddressText, "::ffff:10.0.0.1"),
    ],
)
def test_what_is_one_stays_as_it_is(make, text: str):
    assert make(text) == text


def test_a_text_of_others_is_shown_short_and_on_one_line():
    assert quote_foreign("a\n\x1b[31mb" + "x" * 1000) == "'a\\n\\x1b[31mb" + "x" * 52 + "\\u2026'"


# --- what keeps these types to their parsers, where the interpreter sees plain strings --------------------------------

SOURCES = sorted(Path(worker.__file__).parent.rglob("*.py"))
# What only its own module may call, and what is called with a literal (or one of our constants) in front.
MADE_IN = {"Id": "identifiers.py", "DnsName": "identifiers.py"}
WITH_LITERAL = {"Nft"}


def calls() -> Iterator[tuple[Path, ast.Call, str]]:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                yield path, node, name


def test_nothing_but_its_parser_makes_an_id_or_a_name():
    made = [(path.name, node.lineno) for path, node, name in calls() if name in MADE_IN and path.name != MADE_IN[name]]
    assert made == []


def test_nothing_says_of_a_text_that_it_is_one():
    words = {"str", "Any", "InterfaceName", "ChainName", "AddressText", *MADE_IN, *WITH_LITERAL}
    casts = [(path, node) for path, node, name in calls() if name == "cast"]
    told = [(path.name, node.lineno, ast.unparse(node.args[0])) for path, node in casts]
    assert [each for each in told if words & set(re.findall(r"\w+", each[2]))] == []


def test_every_template_of_a_rule_is_a_literal():
    found = [(path, node) for path, node, name in calls() if name in WITH_LITERAL]
    assert len(found) > 50, "there are rules, and this sees them"
    assert [(path.name, node.lineno) for path, node in found if not _is_ours(node.args[0], path)] == []


def _is_ours(template: ast.expr, path: Path) -> bool:
    """Whether it is a literal, or made of one and of constants of ours; what nfttext and nft loop over is."""
    match template:
        case ast.Constant(value=str()):
            return True
        case ast.Name(id=name):
            return name.isupper() or path.name == "nft.py"
        case ast.JoinedStr(values=parts):
            return all(_is_ours(part, path) for part in parts)
        case ast.FormattedValue(value=value):
            return _is_ours(value, path)
    return False
