"""Keys of encrypted networks that change on busy hosts: traffic moves to the new link, and no host is left without."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from common.errors import FailedPrecondition
from manager.allocate.tunnel_keys import OVERLAP_SECONDS
from tests.fakes.virtual_loop import run_virtual
from tests.prop.tunnels import Trouble, Tunnels, simulate_tools

SEEDS = range(20)
# Messages, tools and looks of a busy machine, and three handshakes of five seconds that were lost.
CHANGE_SECONDS = 25.0


@pytest.fixture(autouse=True)
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    simulate_tools(monkeypatch)


async def _change_over(tunnels: Tunnels) -> None:
    """Wait until all is sent over the link of the newest keys; meanwhile no host is without a way."""

    def changed() -> bool:
        ways = tunnels.ways()
        assert all(ways), tunnels.told()
        return ways == [{tunnels.link}] * 2

    await tunnels.until(changed, CHANGE_SECONDS)


@pytest.mark.parametrize("seed", SEEDS)
def test_traffic_moves_to_the_new_keys_before_the_old_go(tmp_path: Path, seed: int) -> None:
    async def story() -> None:
        tunnels = Tunnels(tmp_path, seed, Trouble())
        async with tunnels.running():
            await tunnels.until(lambda: tunnels.ways() == [{tunnels.link}] * 2, CHANGE_SECONDS)
            for _ in range(3):
                tunnels.rotate()
                await _change_over(tunnels)
                await asyncio.sleep(OVERLAP_SECONDS)
                await tunnels.until(
                    lambda: all(set(host.links) == {tunnels.link} for host in tunnels.hosts), CHANGE_SECONDS
                )

    run_virtual(story())


@pytest.mark.parametrize("seed", SEEDS)
def test_tools_that_fail_are_run_again_until_all_is_well(tmp_path: Path, seed: int) -> None:
    async def story() -> None:
        tunnels = Tunnels(tmp_path, seed, Trouble(fails=0.3))
        async with tunnels.running():
            await tunnels.until(lambda: tunnels.ways() == [{tunnels.link}] * 2, 2 * CHANGE_SECONDS)
            tunnels.rotate()
            await tunnels.until(lambda: tunnels.ways() == [{tunnels.link}] * 2, 2 * CHANGE_SECONDS)

    run_virtual(story())


def test_keys_asked_for_twice_at_once_are_rotated_once(tmp_path: Path) -> None:
    """The second generation would have the first one's link, and no connection would survive that."""

    async def story() -> None:
        tunnels = Tunnels(tmp_path, 1, Trouble())
        async with tunnels.running():
            await tunnels.until(lambda: tunnels.ways() == [{tunnels.link}] * 2, CHANGE_SECONDS)
            tunnels.rotate()
            with pytest.raises(FailedPrecondition, match="the last rotation of the keys is not finished"):
                tunnels.rotate()
            await _change_over(tunnels)

    run_virtual(story())
