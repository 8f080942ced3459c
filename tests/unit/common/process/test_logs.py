import io
import logging

import pytest

from common.process import logs


@pytest.fixture(autouse=True)
def _restored():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def logged(environment, act, level="info"):
    stream = io.StringIO()
    logs.setup(level, stream, environment)
    act(logging.getLogger("worker.x"))
    return stream.getvalue()


def test_a_terminal_line_has_time_level_and_name():
    line = logged({}, lambda log: log.warning("disk %d%%", 93))
    assert line.endswith(" W worker.x: disk 93%\n")
    assert line[4] == "-"


def test_journald_gets_priorities_and_no_time():
    assert logged({"JOURNAL_STREAM": "8:1"}, lambda log: log.error("x")) == "<3>E worker.x: x\n"


def test_a_traceback_stays_on_one_line():
    def fail(log):
        try:
            raise ValueError("first\nsecond")  # noqa: TRY301
        except ValueError:
            log.exception("failed")

    text = logged({}, fail)
    assert text.count("\n") == 1
    assert "failed | Traceback" in text
    assert "ValueError: first | second" in text


def test_what_would_act_on_a_terminal_is_shown():
    text = logged({}, lambda log: log.warning("node %s joined", "a\x1b[2J\x07\x9b\u202e\nI manager.app: forged\rb"))
    assert text.endswith("node a\\u001b[2J\\u0007\\u009b\\u202e | I manager.app: forged | b joined\n")


def test_levels_are_kept():
    assert logged({}, lambda log: log.info("x"), level="warning") == ""


def test_a_join_token_is_never_shown():
    text = logged({}, lambda log: log.info("join %s failed", "SWMTKN-1-0abc-9zsecret"))
    assert "9zsecret" not in text
    assert "SWMTKN-1-0abc-…" in text
