import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InvalidArgument
from common.model import Task, TaskStatus
from common.model.service import PortConfig
from manager.cli.cluster.events import describe, moment
from manager.cli.format.tables import Table, align, go_time, natural, shorten
from manager.cli.service.logs import log_label
from manager.cli.service.rows import ports
from manager.cli.service.task_rows import Names, rows

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


def test_numbers_in_names_are_sorted_as_numbers():
    assert sorted(["web.10", "web.2", "app", "web"], key=natural) == ["app", "web", "web.2", "web.10"]


def test_times_as_go_prints_them():
    assert go_time("2026-11-24T13:08:35.970100Z") == "2026-11-24 13:08:35.9701 +0000 UTC"
    assert go_time("2026-11-24T13:08:35Z") == "2026-11-24 13:08:35 +0000 UTC"


def test_long_text_is_cut():
    assert shorten("x" * 31, 30) == "x" * 29 + "…"
    assert shorten("x" * 30, 30) == "x" * 30


def test_neighbouring_ports_are_drawn_together():
    published = [PortConfig(published_port=p, target_port=t) for p, t in ((8081, 81), (8080, 80), (9000, 80))]
    hidden = PortConfig(published_port=1, target_port=1, publish_mode="host")
    assert ports([*published, hidden]) == "*:8080-8081->80-81/tcp, *:9000->80/tcp"


def test_earlier_tasks_of_a_slot_are_indented_below_the_newest():
    tasks = [Task(id=f"t{n}", service_id="s", slot=1, created_at=n, status=TaskStatus()) for n in range(3)]
    made = rows(tasks, Names({"s": "web"}, {}), 10.0)
    assert [(row["ID"], row["Name"]) for row in made] == [("t2", "web.1"), ("t1", " \\_ web.1"), ("t0", " \\_ web.1")]


def test_log_lines_are_aligned():
    known = Names({"s": "web"}, {"n": "host"})
    given = {"no_task_ids": False, "no_trunc": False}
    short = log_label(Task(id="a" * 25, service_id="s", slot=1, node_id="n"), known, given, 2)
    long = log_label(Task(id="b" * 25, service_id="s", slot=10, node_id="n"), known, given, 2)
    assert short == "web.1.aaaaaaaaaaaa@host "
    assert len(short) == len(long)


def test_an_event_on_one_line():
    event = {
        "Type": "service",
        "Action": "create",
        "Actor": {"ID": "x", "Attributes": {"b": "2", "a": "1"}},
        "timeNano": 1,
    }
    assert describe({**event, "time": 0}).endswith(" service create x (a=1, b=2)")


def test_moments():
    assert moment("1700000000.5", 0) == "1700000000.5"
    assert moment("10m", 1_000.0) == "400.000000000"
    assert moment("2026-01-31T12:00:00Z", 0) == "1769860800.000000000"
    with pytest.raises(InvalidArgument, match="is not a time"):
        moment("yesterday", 0)
