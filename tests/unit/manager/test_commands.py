"""The daemon's own commands, as their users meet them."""

import pytest
from click.testing import CliRunner

from manager.main import cli


@pytest.mark.parametrize("words", [["nginx"], ["nginx", "-g", "daemon off;"]])
def test_who_asks_for_a_container_is_told_how(words: list[str]) -> None:
    result = CliRunner().invoke(cli, ["run", *words])
    assert result.exit_code
    assert "runs this host's manager and takes no image" in result.stderr
    assert "'docker run' with DOCKER_HOST" in result.stderr
