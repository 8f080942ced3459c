import pytest

from manager.cli.compose import ComposeError
from manager.cli.compose.errors import Position
from manager.cli.compose.yaml_loader import load_yaml


def tree(text: str) -> object:
    return load_yaml("f", text).tree


def refusal(text: str) -> str:
    with pytest.raises(ComposeError) as caught:
        load_yaml("f", text)
    return str(caught.value)


def test_every_key_path_has_its_position() -> None:
    document = load_yaml("stack.yaml", "a:\n  b:\n    - one\n    - c: two\n")
    assert document.positions[("a",)] == Position("stack.yaml", 1, 1)
    assert document.positions[("a", "b")] == Position("stack.yaml", 2, 3)
    assert document.positions[("a", "b", 0)] == Position("stack.yaml", 3, 7)
    assert document.positions[("a", "b", 1, "c")] == Position("stack.yaml", 4, 7)


@pytest.mark.parametrize(
    "text",
    [
        "a:\n\t# comment\n  b: 1\n",
        "a:\n\t\n  b: 1\n",
        "a:\t# comment\n  b: 1\t\n",
        "a:\t\n \t # x\n  b:\t1\n",
        "\t\na: {\tb: 1,\n\t}\n",
    ],
)
def test_tabs_that_indent_nothing_are_white_space(text: str) -> None:
    assert tree(text) == {"a": {"b": 1}}


def test_tabs_in_block_scalars_and_strings_stay() -> None:
    assert tree('a: |\n  one\n  \t# no comment\nb: "x\ty"\n') == {"a": "one\n\t# no comment\n", "b": "x\ty"}


@pytest.mark.parametrize(
    "text", ["a:\n\tb: 1\n", "a:\n  \tb: 1\n", "a:\n\t- 1\n", "a:\n  -\tb: 1\n    c: 2\n", "\ta: 1\n"]
)
def test_a_tab_that_indents_is_refused_with_its_place(text: str) -> None:
    assert "a tab indents this line; YAML indents with spaces only" in refusal(text)


def test_the_traps_of_yaml_1_1_are_gone() -> None:
    assert tree("ports: [22:22, 190:20:30]\nrestart: no\ny: on\nday: 2024-01-31\n") == {
        "ports": ["22:22", "190:20:30"],
        "restart": "no",
        "y": "on",
        "day": "2024-01-31",
    }


def test_a_key_given_twice_is_an_error_that_names_both_places() -> None:
    assert refusal("a: 1\nb: 2\na: 3\n") == "f:3:1: a: given twice; it stands first on line 1"


def test_merge_keys_lose_to_own_keys_and_to_earlier_sources() -> None:
    text = "x: &x {k: x, only_x: 1}\ny: &y {k: y, only_y: 2}\nz:\n  <<: [*x, *y]\n  own: 3\nw: {k: w, <<: *x}\n"
    merged = load_yaml("f", text)
    assert merged.tree["z"] == {"k": "x", "only_x": 1, "only_y": 2, "own": 3}
    assert merged.tree["w"] == {"k": "w", "only_x": 1}
    assert merged.positions[("w", "k")].line == 6
    assert merged.positions[("z", "only_y")].line == 2


def test_a_merge_key_wants_mappings() -> None:
    assert "`<<` expects a mapping" in refusal("a:\n  <<: [1]\n")


def test_aliases_can_neither_explode_nor_contain_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manager.cli.compose.yaml_loader._MAX_NODES", 10_000)
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
    )
    assert "expands to more than" in refusal(bomb)
    assert "an alias contains itself" in refusal("a: &a [*a]\n")
    assert "an alias contains itself" in refusal("a: &a {b: {<<: *a}}\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "f:1:5: not valid YAML"),
        ("a: 1\n---\nb: 2\n", "f:2:1: not valid YAML: but found another document"),
        ("a:\n  b: 1\n c: 2\n", "f:3:2: not valid YAML: this line is indented like none of the keys above"),
        ("a:\n  - 1\n - 2\n", "f:3:2: not valid YAML: this line is indented like none of the keys above"),
        (
            'a:\n  b: "x\n  c: "y"\n',
            "f:3:7: not valid YAML: unexpected text: is there a quote too many",
        ),
        ("a: b: c", "f:1:5: not valid YAML: no key may stand here: a value with ': ' in it needs quotes"),
        ("a: 1\nb\nc: 2", "f:2:1: not valid YAML: a key without ':' after it"),
        ("[" * 1000, "nested too deeply"),
        ("x-a: " + "[" * 70 + "]" * 70, "f:1:66: x-a: nested too deeply: more than 60 levels"),
        ("a: \x00", "U+0000"),
        ("a: b\nc: \x07d", "f:2:4: YAML does not allow the character U+0007"),
        ("a: !thing b", "the YAML tag '!thing' means nothing in a compose file"),
        ("a: !!int b", "'b' is tagged !!int but is not one"),
        ("a: !!binary '%'", "!!binary expects text in base64"),
        ("1: b", 'the key 1 must be a string; write "1"'),
        ("[a]: b", "a key must be a string, not a list or a mapping"),
        ("just text", "expected a mapping with keys such as `services` at the top level"),
    ],
)
def test_what_is_no_compose_file_is_refused_with_a_reason(text: str, message: str) -> None:
    assert message in refusal(text)


def test_explicit_tags_of_plain_types_are_understood() -> None:
    assert tree("a: !!str 12\nb: !!int '12'\nc: !!binary aGVsbG8=\nd: !!null x\ne: !!bool yes\n") == {
        "a": "12",
        "b": 12,
        "c": "hello",
        "d": None,
        "e": "yes",
    }
