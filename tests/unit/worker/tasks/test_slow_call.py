"""What a task says of an engine that is late, and where it says to look."""

import asyncio

import pytest

from common.model.container import ContainerSpec, DriverConfig, Mount, VolumeOptions
from tests.fakes.virtual_loop import run_virtual
from tests.unit.worker.worlds import make_task
from worker.tasks import slow_call


def volume(name: str, driver: str = "", **options: str) -> Mount:
    config = DriverConfig(name=driver, options=options) if driver or options else None
    return Mount(source=name, target="/x", volume_options=VolumeOptions(driver_config=config))


@pytest.mark.parametrize(
    ("mounts", "told"),
    [
        ((), ""),
        ((Mount(type="tmpfs", target="/tmp"),), ""),
        ((volume("data"),), " and volume data, which it mounts"),
        ((volume("data", "slow"),), " and volume data (driver slow), which it mounts"),
        (
            (volume("data", "local", type="nfs", device=":/srv"),),
            " and volume data (driver local, nfs :/srv), which it mounts",
        ),
        (
            (Mount(type="bind", source="/mnt/a", target="/a"), volume("b"), volume("c"), volume("d"), volume("e")),
            " and /mnt/a, volume b, volume c and 2 more, which it mounts",
        ),
    ],
)
def test_it_names_what_the_container_mounts(mounts: tuple[Mount, ...], told: str) -> None:
    task = make_task(container=ContainerSpec(mounts=mounts))
    where = "look at `journalctl -u docker -u containerd` on the node"
    assert (
        slow_call.not_done("starting", 15, task)
        == f"the engine has been starting the container for 15 s: {where}{told}"
    )


def test_it_is_reported_again_each_time_the_duration_doubles() -> None:
    async def story() -> list[tuple[float, float]]:
        told: list[tuple[float, float]] = []
        loop = asyncio.get_running_loop()
        with slow_call.tell_when_slow(lambda taken: told.append((taken, loop.time()))):
            await asyncio.sleep(130)
        await asyncio.sleep(1000)
        return told

    assert run_virtual(story()) == [(15, 15), (30, 30), (60, 60), (120, 120)]
