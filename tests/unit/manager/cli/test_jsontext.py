import json

from hypothesis import given
from hypothesis import strategies as st

from manager.cli.jsontext import indent

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@given(VALUES)
def test_it_is_what_python_writes_with_an_indent(value: object):
    assert indent(json.dumps(value)) == json.dumps(value, indent=4)


def test_numbers_and_escapes_stay_as_they_are_written():
    text = '{"a":1.0,"b":"\\u003e \\" ,","c":[],"d":{}}'
    assert indent(text) == '{\n    "a": 1.0,\n    "b": "\\u003e \\" ,",\n    "c": [],\n    "d": {}\n}'
