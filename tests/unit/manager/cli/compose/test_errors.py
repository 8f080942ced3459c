"""What is wrong with a compose file is told with its place and its key."""

import pytest

from manager.cli.compose.errors import ComposeError, KeyPath, Position, Problem, format_path


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("services",), "services"),
        (("services", "web", "ports", 0, "target"), "services.web.ports[0].target"),
        ((0, "a"), "[0].a"),
    ],
)
def test_a_path_is_written_as_people_write_it(path: KeyPath, text: str) -> None:
    assert format_path(path) == text


def test_a_problem_says_where_what_and_why() -> None:
    place = Position("compose.yaml", 3, 5)
    assert str(Problem("expected a string", ("name",), place)) == "compose.yaml:3:5: name: expected a string"
    assert str(Problem("it is not YAML", (), place)) == "compose.yaml:3:5: it is not YAML"
    assert str(Problem("odd", ("a",))) == "a: odd"


def test_an_error_has_a_line_a_problem() -> None:
    error = ComposeError([Problem("one", ("a",)), Problem("two", ("b",))])
    assert error.message == "a: one\nb: two"
    assert [each.message for each in error.problems] == ["one", "two"]


def test_of_very_many_problems_the_first_are_told() -> None:
    error = ComposeError([Problem(str(number)) for number in range(60_000)])
    assert error.message.splitlines()[-2:] == ["99", "and 59900 more problems"]
    assert len(error.problems) == 100
