"""A warning fits in a header, whatever its text."""

import pytest

from manager.api.call import Call, moment, warning
from manager.api.errors import EngineError

ACCEPTED = frozenset({"name", "label"})


def query(**values: str) -> Call:
    return Call("GET", "/", query=values)


@pytest.mark.parametrize("text", ["1", "true", "True", "yes", "x"])
def test_true_flags(text: str) -> None:
    assert query(all=text).flag("all")


@pytest.mark.parametrize("text", ["", "0", "false", "False", "no", "none", " "])
def test_false_flags(text: str) -> None:
    assert not query(all=text).flag("all")


def test_filters_in_both_shapes() -> None:
    assert query(filters='{"name":["x","y"]}').filters(ACCEPTED) == {"name": {"x", "y"}}
    assert query(filters='{"name":{"x":true,"y":false}}').filters(ACCEPTED) == {"name": {"x"}}
    assert query().filters(ACCEPTED) == {}


@pytest.mark.parametrize("text", ["zzz", "[]", '{"name":"x"}', '{"name":[1]}', "{", "\ud800"])
def test_malformed_filters(text: str) -> None:
    with pytest.raises(EngineError, match=r"^invalid filter$"):
        query(filters=text).filters(ACCEPTED)


def test_unknown_filter() -> None:
    with pytest.raises(EngineError, match=r"^invalid filter 'nope'$"):
        query(filters='{"nope":["x"]}').filters(ACCEPTED)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "invalid service version '': strconv.ParseUint: parsing \"\": invalid syntax"),
        ("x", "invalid service version 'x': strconv.ParseUint: parsing \"x\": invalid syntax"),
        ("-1", "invalid syntax"),
        ("99999999999999999999", "value out of range"),
    ],
)
def test_version_in_the_engines_words(text: str, words: str) -> None:
    with pytest.raises(EngineError) as caught:
        query(version=text).index("service")
    assert words in caught.value.message


def test_version() -> None:
    assert query(version="17").index("service") == 17


def test_moments() -> None:
    assert moment("since", "1700000000.5") == 1700000000.5
    assert moment("since", "2023-11-14T22:13:20Z") == 1700000000
    assert moment("until", "1h30m", now=10000) == 4600


@pytest.mark.parametrize("text", ["zzz", "2023-11-14", "1h", "9" * 400, "2023-99-99T00:00:00Z"])
def test_malformed_moments(text: str) -> None:
    with pytest.raises(EngineError, match="could not parse since timestamp"):
        moment("since", text)


def test_content_type_must_be_json() -> None:
    call = Call("POST", "/", headers={"content-type": "text/plain"}, body=b"{}")
    with pytest.raises(
        EngineError, match=r"unsupported Content-Type header \(text/plain\): must be 'application/json'"
    ):
        call.require_json()
    Call("POST", "/", headers={"content-type": "application/json; charset=utf-8"}, body=b"{}").require_json()
    Call("POST", "/").require_json()


def test_nothing_to_tell_is_no_header() -> None:
    assert warning("") == {}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a  b\n c", "a b c"),
        ('say "x"', "say 'x'"),
        ("wait…", "wait..."),
        ("é\\\r\nX: y", "?? X: y"),
    ],
)
def test_a_text_is_one_quoted_line_of_ascii(text: str, shown: str) -> None:
    assert warning(text) == {"Warning": f'199 swarm-manager "{shown}"'}


def test_a_long_text_is_cut() -> None:
    (header,) = warning("x" * 10_000).values()
    assert len(header) < 4200
    assert header.endswith('x ..."')
