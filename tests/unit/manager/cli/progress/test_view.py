import re
from io import StringIO

import pytest
from rich.console import Console

from common.model import TaskState
from manager.cli.progress.converge import make_view
from manager.cli.progress.judgement import Progress, Verdict
from manager.cli.progress.slots import Line
from manager.cli.progress.view import LiveView, PlainView, draw, plain_lines

WAITING = Progress(
    Verdict.WAITING,
    1,
    2,
    lines=(Line("1", TaskState.RUNNING), Line("2", TaskState.PENDING, "no suitable node\n(2 nodes)")),
)
DONE = Progress(Verdict.CONVERGED, 2, 2, lines=(Line("1", TaskState.RUNNING), Line("2", TaskState.RUNNING)))


def test_plain_lines_say_what_is_new_and_only_that(capsys: pytest.CaptureFixture[str]):
    with PlainView(prefixed=False) as view:
        for progress in (WAITING, WAITING, DONE, DONE):
            view.show("web", progress)
    assert capsys.readouterr().out.split("\n") == [
        "overall progress: 1 out of 2 tasks",
        "1/2: running",
        "2/2: no suitable node (2 nodes)",
        "overall progress: 2 out of 2 tasks",
        "2/2: running",
        "verify: Service web converged",
        "",
    ]


def test_a_log_has_the_whole_error_and_a_terminal_its_beginning():
    """The engine's reason is the end of its words."""
    words = "starting container failed: " + "runc create failed: " * 5 + "no such file"
    seen = Progress(Verdict.WAITING, 0, 1, lines=(Line("1", TaskState.STARTING, words),))
    assert dict(plain_lines("web", seen))["1/1"] == words
    assert "no such file" not in rendered(("web", seen))


def test_a_terminal_has_all_of_why_a_task_waits():
    why = "no suitable node (scheduling constraints not satisfied on 3 nodes: node.labels.disk==ssd)"
    seen = Progress(Verdict.WAITING, 0, 1, lines=(Line("1", TaskState.PENDING, why),))
    assert why in " ".join(rendered(("web", seen)).split())


def test_of_several_services_each_line_names_its_own(capsys: pytest.CaptureFixture[str]):
    with PlainView(prefixed=True) as view:
        view.show("web", DONE)
    assert all(line.startswith("web: ") for line in capsys.readouterr().out.splitlines())


def test_a_large_service_is_told_as_a_whole():
    lines = tuple(Line(str(n), TaskState.RUNNING) for n in range(1, 31))
    assert [key for key, _ in plain_lines("web", Progress(Verdict.WAITING, 30, 30, lines=lines))] == [
        "overall progress"
    ]


def test_a_rollback_is_called_one():
    rolling = Progress(Verdict.WAITING, 0, 1, rolling_back=True)
    assert dict(plain_lines("web", rolling))["overall progress"] == "rolling back update: 0 out of 1 tasks"


def rendered(*seen: tuple[str, Progress], height: int = 40) -> str:
    out = StringIO()
    Console(file=out, width=100).print(draw(dict(seen), height))
    return out.getvalue()


def test_a_terminal_shows_a_bar_per_slot_until_convergence():
    text = rendered(("web", WAITING), ("db", DONE))
    assert "… web: 1 out of 2 tasks" in text
    assert "1/2 ━" in text
    assert "no suitable node" in text
    assert "✓ db: 2 out of 2 tasks" in text
    assert len(text.splitlines()) == 4


def test_where_rows_are_few_those_come_first_that_do_not_run_yet():
    lines = [Line(str(number), TaskState.RUNNING) for number in range(1, 41)]
    lines[29] = Line("30", TaskState.PREPARING)
    lines[35] = Line("36", TaskState.PENDING, "no suitable node")
    text = rendered(("web", Progress(Verdict.WAITING, 38, 40, lines=tuple(lines))), height=8).splitlines()
    assert [row.split()[0] for row in text] == ["…", "36/40", "30/40", "1/40", "2/40", "3/40", "…"]
    assert text[-1].strip() == "… and 35 more"


def test_without_colours_there_are_no_styles(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")  # what rich takes for a terminal
    with LiveView() as view:
        view.show("web", WAITING)
    assert "1 out of 2" in (shown := capsys.readouterr().out)
    assert re.search(r"\x1b\[[0-9;]*m", shown) is None


def test_the_live_view_leaves_its_last_state_on_the_screen():
    out = StringIO()
    with LiveView(Console(file=out, width=100, force_terminal=True)) as view:
        view.show("web", WAITING)
        view.show("web", Progress(Verdict.FAILED, 1, 2))
    assert "✗ web: 1 out of 2 tasks" in out.getvalue()


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]):
    with make_view(quiet=True, several=False) as view:
        view.show("web", DONE)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("terminal", "live"), [("xterm", True), ("dumb", False), (None, False)])
def test_a_terminal_that_cannot_go_back_gets_lines(terminal: str | None, live: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    if terminal is None:
        monkeypatch.delenv("TERM", raising=False)
    else:
        monkeypatch.setenv("TERM", terminal)
    assert isinstance(make_view(quiet=False, several=False), LiveView) is live
