"""Options of a build, and what is not one of ours."""

import pytest
from click.testing import CliRunner

from manager.cli import cli
from manager.cli.image.build import BuildOptions


def test_options_become_the_query_of_the_api() -> None:
    options = BuildOptions(tags=("a:1", "b"), args={"V": "1"}, target="last", no_cache=True)
    assert options.query("D") == [
        ("t", "a:1"),
        ("t", "b"),
        ("rm", "1"),
        ("dockerfile", "D"),
        ("buildargs", '{"V": "1"}'),
        ("target", "last"),
        ("nocache", "1"),
    ]


@pytest.mark.parametrize("flag", ["--secret=id=x", "--ssh=default", "-otype=local,dest=out"])
def test_what_only_buildkit_can_says_who_speaks_to_it(flag: str) -> None:
    result = CliRunner().invoke(cli, ["-H", "unix:///x", "build", flag, "."])
    assert result.exit_code != 0
    assert "is BuildKit's, which docker speaks to at the same address: docker -H unix:///x build" in result.stderr
