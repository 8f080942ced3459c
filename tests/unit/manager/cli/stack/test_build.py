"""Images that are built when their stack is deployed."""

from pathlib import Path
from typing import Any

import pytest

from manager.cli.compose import Build, ComposeError, Config
from manager.cli.failures import CommandFailed
from manager.cli.stack import build as module
from manager.cli.stack.build import build_stack

CONFIG = Config(version="3", sections={})


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []

    async def build(_client: Any, _context: Any, options: Any, *, quiet: bool) -> None:
        found.append(options.tags)
        if "broken" in options.tags:
            raise CommandFailed("no such stage")

    monkeypatch.setattr(module, "build", build)
    return found


@pytest.fixture
def here(tmp_path: Path) -> str:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    return str(tmp_path)


async def deploy(*wanted: Build) -> None:
    await build_stack(None, CONFIG, wanted, quiet=True)  # type: ignore[arg-type]  # no manager is asked


async def test_services_that_share_an_image_build_it_once(built, here):
    await deploy(Build("web", "shop", here), Build("worker", "shop", here), Build("db", "base", here))
    assert built == [("shop",), ("base",)]


async def test_a_failure_names_the_service(built, here):
    with pytest.raises(CommandFailed, match="failed to build service web: no such stage"):
        await deploy(Build("web", "broken", here), Build("db", "base", here))
    assert built == [("broken",)]


async def test_without_its_folder_a_named_image_is_used(built, here, capsys):
    await deploy(Build("web", "shop", f"{here}/gone", required=False), Build("db", "base", here))
    assert built == [("base",)]
    assert "service web is not built, shop is used as it is" in capsys.readouterr().err


async def test_without_its_folder_and_a_name_it_cannot_be_deployed(built, here):
    with pytest.raises(ComposeError):
        await deploy(Build("web", "shop_web", f"{here}/gone"))
    assert not built
