import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InvalidArgument
from manager.cli.format.tables import Table, align

TABLE = Table(columns=("{{.ID}}", "{{.Name}}"), headings={"ID": "ID", "Name": "NAME"}, raw={"id": "ID"})
ROWS = [{"ID": "abc", "Name": "a->b"}, {"ID": "def", "Name": "c"}]


def test_the_default_is_a_table():
    assert TABLE.render(ROWS) == "ID        NAME\nabc       a->b\ndef       c\n"
    assert TABLE.render([]) == "ID        NAME\n"


@given(
    st.lists(st.fixed_dictionaries({"ID": st.text(), "Name": st.text() | st.integers() | st.booleans() | st.none()}))
)
def test_the_default_is_what_its_templates_print(rows: list[dict[str, object]]):
    assert TABLE.render(rows) == TABLE.render(rows, "table " + "\t".join(TABLE.columns))


def test_quiet_prints_ids_unless_a_template_is_given():
    assert TABLE.render(ROWS, quiet=True) == "abc\ndef\n"
    assert TABLE.render(ROWS, "{{.Name}}", quiet=True) == "a->b\nc\n"


def test_json_lines_escape_what_go_escapes():
    assert TABLE.render(ROWS[:1], "json") == '{"ID":"abc","Name":"a-\\u003eb"}\n'


def test_a_template_with_json_of_all_has_keys_in_gos_order():
    (row,) = [{"Name": "web", "ID": "abc"}]
    assert TABLE.render([row], "{{json .}}") == '{"ID":"abc","Name":"web"}\n'


def test_raw():
    assert TABLE.render(ROWS, "raw") == "id: abc\n\nid: def\n\n"


def test_templates_and_tables_of_templates():
    assert TABLE.render(ROWS, r"{{.ID}}\t{{upper .Name}}") == "abc\tA->B\ndef\tC\n"
    assert TABLE.render(ROWS, r"table {{upper .Name}}\t{{.ID}}") == "NAME      ID\nA->B      abc\nC         def\n"


def test_a_value_stays_in_its_cell_and_json_has_it_as_it_is():
    rows = [{"ID": "abc", "Name": "a\tb\n\x1b[2J"}]
    assert TABLE.render(rows) == "ID        NAME\nabc       a\\tb\\n\\u001b[2J\n"
    assert TABLE.render(rows, r"{{.Name}}\t{{.ID}}") == "a\\tb\\n\\u001b[2J\tabc\n"
    for layout in ("json", "{{json .}}"):
        assert json.loads(TABLE.render(rows, layout)) == rows[0]


@pytest.mark.parametrize("template", ["{{.Nope}}", "{{.ID", "{{nope .ID}}"])
def test_a_wrong_template_is_an_error_that_is_said_once(template: str):
    with pytest.raises(InvalidArgument, match=r"^template parsing error: template: (?!template)"):
        TABLE.render(ROWS, template)


def test_an_unknown_field_is_answered_with_the_known_ones():
    with pytest.raises(InvalidArgument, match=r"no entry for key 'Nope' \(there are ID, Name\)"):
        TABLE.render(ROWS, "{{.Nope}}")


def test_a_column_is_as_wide_as_its_widest_cell_and_at_least_ten():
    assert align("ID\tNAME\nabc\tx\n") == "ID        NAME\nabc       x\n"
    assert align("ID\tNAME\n0123456789\tx\n") == f"ID{' ' * 11}NAME\n0123456789   x\n"


def test_a_line_without_a_cell_ends_the_column():
    assert align("a\tb\nplain\nlonger than ten\tb") == "a         b\nplain\nlonger than ten   b"
