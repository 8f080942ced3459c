"""Where a followed log goes on."""

import pytest

from common.errors import ProtocolError
from common.model import Task
from manager.api.logs.routes import Bookmark
from manager.api.logs.stream import MAX_FRAME_BYTES, Frame, FrameReader, LineReader, LogRequest, with_attributes

TASK = Task(id="t1", service_id="s1", node_id="n1")
MARKS = b"com.docker.swarm.node.id=n1,com.docker.swarm.service.id=s1,com.docker.swarm.task.id=t1"


def test_frames_are_cut_wherever_the_bytes_are_split() -> None:
    frames = [Frame(1, b"one\n"), Frame(2, b""), Frame(2, b"x" * 300)]
    data = b"".join(frame.encode() for frame in frames)
    for size in (1, 7, 8, 9, 100, len(data)):
        reader = FrameReader()
        parts = [data[i : i + size] for i in range(0, len(data), size)]
        assert [frame for part in parts for frame in reader.feed(part)] == frames


@pytest.mark.parametrize(
    "head", [bytes((9, 0, 0, 0, 0, 0, 0, 1)), bytes((1, 0, 0, 0)) + (MAX_FRAME_BYTES + 1).to_bytes(4, "big")]
)
def test_what_is_no_log_stream(head: bytes) -> None:
    with pytest.raises(ProtocolError):
        list(FrameReader().feed(head + b"x"))


def test_lines_of_a_terminal() -> None:
    reader = LineReader()
    assert list(reader.feed(b"one\r\ntw")) == [Frame(1, b"one\r\n")]
    assert list(reader.feed(b"o\nthree\n")) == [Frame(1, b"two\n"), Frame(1, b"three\n")]
    assert len(list(reader.feed(b"x" * MAX_FRAME_BYTES))) == 1
    assert list(reader.feed(b"name? ")) == []
    assert list(reader.end()) == [Frame(1, b"name? ")]
    assert list(reader.end()) == []


def test_a_line_that_comes_byte_by_byte_is_looked_through_once() -> None:
    class Watched(bytearray):
        looked = 0

        def find(self, what: bytes, start: int = 0) -> int:  # type: ignore[override]
            self.looked += len(self) - start
            return super().find(what, start)

    reader = LineReader()
    reader._buffer = buffer = Watched()
    for _ in range(1000):
        assert not list(reader.feed(b"x"))
    assert list(reader.feed(b"\n")) == [Frame(1, b"x" * 1000 + b"\n")]
    assert buffer.looked == 1001
    assert list(reader.feed(b"more\n")) == [Frame(1, b"more\n")]


def test_attributes_are_put_before_the_message() -> None:
    assert with_attributes(b" hello world\n", TASK, timestamps=False) == MARKS + b" hello world\n"


def test_attributes_stand_after_the_timestamp() -> None:
    stamped = with_attributes(b"2026-01-01T00:00:00.1Z  hello\n", TASK, timestamps=True)
    assert stamped == b"2026-01-01T00:00:00.1Z " + MARKS + b" hello\n"


def test_attributes_of_the_log_driver_are_merged_in_order() -> None:
    merged = with_attributes(b"app=x,z=1 hello\n", TASK, timestamps=False)
    assert merged == b"app=x," + MARKS + b",z=1 hello\n"


ASKED = LogRequest(stdout=True, stderr=False, follow=True, timestamps=False, details=True, tail="7", since="5.5")


def message(nanos: int) -> bytes:
    return f"2026-01-31T12:00:00.{nanos:09}Z words and more".encode()


def test_before_the_first_message_all_is_asked_for() -> None:
    rest = Bookmark().rest_of(ASKED)
    assert (rest.tail, rest.since, rest.timestamps, rest.details) == ("7", "5.5", True, True)


def test_then_what_is_not_known_from_the_last_one_on() -> None:
    mark = Bookmark()
    mark.rest_of(ASKED)
    assert all(mark.take(message(nanos)) for nanos in (1, 2, 2))
    for _ in range(2):  # it may break again before there is anything new
        rest = mark.rest_of(ASKED)
        assert (rest.tail, rest.since) == ("", "1769860800.000000002")
        assert [mark.take(message(2)) for _ in range(2)] == [False, False]
    mark.rest_of(ASKED)
    assert [mark.take(message(nanos)) for nanos in (2, 2, 2, 3, 3)] == [False, False, True, True, True]


def test_what_has_no_time_that_it_knows_is_asked_for_again() -> None:
    mark = Bookmark()
    assert mark.take(b"no time at all")
    assert mark.rest_of(ASKED).since == "5.5"
