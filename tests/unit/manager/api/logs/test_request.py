"""Where a followed log goes on."""

from manager.api.logs.request import LogRequest
from manager.api.logs.routes import Bookmark

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
