"""One hierarchy of errors: how each is answered, and how it comes back from another process."""

import pytest

from common.errors import (
    AlreadyExists,
    NotFound,
    OutOfSequence,
    PermissionDenied,
    SwarmError,
    Unavailable,
    kind_of,
    leaves,
    of_code,
)


def test_clients_can_match_on_the_words_of_an_error() -> None:
    assert NotFound("service web not found").rpc() == "rpc error: code = NotFound desc = service web not found"
    assert OutOfSequence().rpc() == "rpc error: code = Unknown desc = update out of sequence"


def test_an_error_without_words_has_its_class_name() -> None:
    assert SwarmError().message == "SwarmError"
    assert SwarmError("no").message == "no"


@pytest.mark.parametrize("kind", [AlreadyExists, NotFound, PermissionDenied, Unavailable])
def test_an_error_of_another_process_is_of_the_same_kind(kind: type[SwarmError]) -> None:
    again = of_code(kind.code, "words")
    assert type(again) is kind
    assert again.message == "words"


def test_a_code_that_no_error_has_means_what_the_caller_says() -> None:
    assert kind_of("Unknown", Unavailable) is Unavailable
    assert type(of_code("NoSuchCode", "x")) is SwarmError


def test_words_of_another_process_cannot_act_on_a_terminal() -> None:
    assert of_code("NotFound", "a\x1b[2Jb\nc").message == "a?[2Jb?c"
    assert len(of_code("NotFound", "x" * 5000).message) == 1000


def test_a_group_consists_of_its_errors_however_deep() -> None:
    one, two = NotFound("one"), ValueError("two")
    assert list(leaves(ExceptionGroup("g", [ExceptionGroup("h", [one]), two]))) == [one, two]
    assert list(leaves(one)) == [one]
