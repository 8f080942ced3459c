"""Where `container cp` puts things, and what it makes of archives that come from a container."""

import pytest
from click.testing import CliRunner

from common.errors import InvalidArgument
from manager.cli.container.copy import Spot, unpack_target
from manager.cli.root import cli

FILE, FOLDER, CONTENT = Spot("/a/f"), Spot("/a/d", is_folder=True), Spot("/a/d/.", is_folder=True)


def missing(path: str) -> Spot:
    return Spot(path, exists=False)


@pytest.mark.parametrize(
    ("source", "destination", "place"),
    [
        (FILE, missing("out/new"), ("out", "new")),
        (FILE, missing("new"), (".", "new")),
        (FILE, Spot("/out/old"), ("/out", "old")),
        (FILE, Spot("out", is_folder=True), ("out", "f")),
        (FOLDER, Spot("/out/", is_folder=True), ("/out/", "d")),
        (FOLDER, missing("/out/new/"), ("/out", "new")),
        (CONTENT, Spot("/out", is_folder=True), ("/out", "")),
        (CONTENT, missing("/new"), ("/", "new")),
        (Spot("/a/d/", is_folder=True), Spot("/out", is_folder=True), ("/out", "d")),
        (Spot("/a/d/..", is_folder=True), Spot("/out", is_folder=True), ("/out", "a")),
        (Spot(".", is_folder=True), Spot("/out", is_folder=True), ("/out", "")),
    ],
)
def test_where_a_copy_goes(source: Spot, destination: Spot, place: tuple[str, str]) -> None:
    assert unpack_target(source, destination) == place


@pytest.mark.parametrize(
    ("source", "destination", "why"),
    [
        (FOLDER, Spot("/out/old"), "cannot copy a directory to a file: /out/old is one"),
        (CONTENT, Spot("/out/old"), "cannot copy a directory to a file"),
        (FILE, missing("/out/"), "no such directory: /out/ must exist"),
        (FILE, Spot("/out/old/"), "/out/old/ is not a directory"),
    ],
)
def test_where_no_copy_can_go(source: Spot, destination: Spot, why: str) -> None:
    with pytest.raises(InvalidArgument, match=why):
        unpack_target(source, destination)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [("/a:b ./c:d", "must specify at least one"), ("a:/x b:/y", "between containers"), ("- -", "at least one")],
)
def test_one_side_is_a_container(arguments: str, why: str) -> None:
    result = CliRunner().invoke(cli, ["container", "cp", *arguments.split()])
    assert (result.exit_code, why in result.stderr) == (1, True)
