import pytest

from common.errors import InvalidArgument
from common.model import Task, TaskStatus
from common.model.service import PortConfig
from manager.cli.cluster.events import describe, moment
from manager.cli.format.wording import go_time, natural, shorten
from manager.cli.service.logs import log_label
from manager.cli.service.rows import ports
from manager.cli.service.task_rows import Names, rows


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
