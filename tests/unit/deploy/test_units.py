"""What the units of systemd must say."""

from configparser import ConfigParser
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[3] / "deploy"


@pytest.mark.parametrize("name", ["swarm-manager", "swarm-worker"])
def test_a_crash_leaves_no_keys_on_the_disk(name: str) -> None:
    unit = ConfigParser(strict=False, interpolation=None)
    unit.read(DEPLOY / f"{name}.service")
    assert unit["Service"]["LimitCORE"] == "0"
