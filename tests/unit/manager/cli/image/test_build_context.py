"""What of a folder is sent to a builder."""

import io
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from common.errors import InvalidArgument
from manager.cli import cli
from manager.cli.image.build_context import BuildOptions, open_context


async def members(folder: Path, dockerfile: str = "", **more: bool) -> dict[str, tarfile.TarInfo]:
    context = open_context(str(folder), dockerfile, **more)
    data = b"".join([piece async for piece in context.archive()])
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        found = {member.name: member for member in tar.getmembers()}
        for member in found.values():
            if member.isfile():
                assert len(tar.extractfile(member).read()) == member.size  # type: ignore[union-attr]
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "context"
    (root / "src" / "deep").mkdir(parents=True)
    (root / "Dockerfile").write_text("FROM scratch\n")
    (root / "src" / "run").write_bytes(b"x" * 700_000)
    (root / "src" / "run").chmod(0o755)
    (root / "src" / "deep" / "empty").touch()
    (root / "link").symlink_to("src/run")
    return root


async def test_a_folder_is_sent_with_modes_and_links_without_owners(folder: Path) -> None:
    found = await members(folder)
    assert sorted(found) == ["Dockerfile", "link", "src", "src/deep", "src/deep/empty", "src/run"]
    assert (found["src/run"].mode, found["src/run"].uid, found["src/run"].uname) == (0o755, 0, "")
    assert (found["link"].issym(), found["link"].linkname) == (True, "src/run")
    assert found["src"].isdir()


async def test_the_dockerfile_is_sent_whatever_is_ignored(folder: Path) -> None:
    (folder / ".dockerignore").write_text("*\n!src/deep\n")
    assert sorted(await members(folder)) == [".dockerignore", "Dockerfile", "src/deep", "src/deep/empty"]


async def test_a_dockerfile_from_elsewhere_comes_along(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "Other"
    outside.write_text("FROM busybox\n")
    context = open_context(str(folder), str(outside))
    assert context.dockerfile in await members(folder, str(outside))
    (folder / "src" / "Inner").write_text("FROM busybox\n")
    assert open_context(str(folder), "src/Inner", relative_to_context=True).dockerfile == "src/Inner"


def test_what_cannot_be_built_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="there is no folder"):
        open_context(str(tmp_path / "nothing"))
    with pytest.raises(InvalidArgument, match=r"there is no Dockerfile .*/src/Dockerfile"):
        open_context(str(folder / "src"))


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
