from __future__ import annotations

import pytest

from common.model.task import Task
from worker.tasks.plan import log_tail

ERR = "task: non-zero exit (1)"


def frame(text: bytes, stream: int = 1) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(text).to_bytes(4, "big") + text


@pytest.mark.parametrize(
    ("logs", "err"),
    [
        (b"", ERR),
        (b"\n \n", ERR),
        (frame(b"starting\n") + frame(b"cannot open /data\n", 2), f"{ERR}: starting | cannot open /data"),
        (b"a terminal's\r\nlines\r\n", f"{ERR}: a terminal's | lines"),
        (frame(b"\x1b[31mred\x1b[0m\ttext\n"), f"{ERR}: [31mred [0m text"),
        (frame(b"\xff\xfe broken\n"), f"{ERR}: \ufffd\ufffd broken"),
        (frame(b"1\n2\n3\n4\n"), f"{ERR}: 2 | 3 | 4"),
        (frame(b"cut off")[:-3], f"{ERR}: cut"),
    ],
)
def test_the_error_has_the_last_lines_as_printable_text(logs: bytes, err: str) -> None:
    assert log_tail.with_log_tail(ERR, logs, 3) == err


def test_how_many_lines_is_the_services_word() -> None:
    assert log_tail.log_tail_lines(Task()) == log_tail.LINES
    assert log_tail.log_tail_lines(Task(labels={log_tail.LABEL: "0"})) == 0
    assert log_tail.log_tail_lines(Task(labels={log_tail.LABEL: "7"})) == 7
