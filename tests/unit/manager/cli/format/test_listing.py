import click
import pytest
from click.testing import CliRunner

from common.text.terminal import echo
from manager.cli.format.listing import filter_flag, format_flag, group_filters, listing, quiet_flag


@click.command()
@filter_flag()
@format_flag()
@quiet_flag()
def command(filters: tuple[tuple[str, str], ...], layout: str, *, quiet: bool) -> None:
    echo(repr((group_filters(filters, node=["self"]), layout, quiet)))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ({"node": ["self"]}, "", False)),
        (["-f", "Name=web", "--filter", "name= db "], ({"node": ["self"], "name": ["web", "db"]}, "", False)),
        (["-f", "label=a=b", "--format", "json", "-q"], ({"node": ["self"], "label": ["a=b"]}, "json", True)),
        (["-f", "node=n1"], ({"node": ["self", "n1"]}, "", False)),
    ],
)
def test_filters_are_grouped_by_their_names(arguments, expected):
    result = CliRunner().invoke(command, arguments)
    assert result.output == f"{expected!r}\n"


def test_a_filter_without_a_value_is_refused():
    result = CliRunner().invoke(command, ["-f", "name"])
    assert result.exit_code != 0
    assert "bad format of filter (expected name=value)" in result.output


def test_a_list_has_all_of_these_flags():
    names = {name for parameter in click.command()(listing(lambda: None)).params for name in parameter.opts}
    assert {"--filter", "--format", "--quiet"} <= names
