"""The host is measured as often as the manager wants, and a host that cannot be measured fills no log."""

import asyncio
import logging

import pytest

from common.wire.usage_messages import HostUsage, MeasureHost
from tests.fakes.virtual_loop import run_virtual
from worker.metrics.host import Busy
from worker.metrics.host_meter import LEAST_SECONDS, HostMeter


class Reader:
    """What is read of a host, and from when on it cannot be."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.before: list[Busy | None] = []
        self.broken = False

    async def __call__(self, before: Busy | None, disk: str) -> tuple[HostUsage, Busy]:
        self.times.append(asyncio.get_running_loop().time())
        self.before.append(before)
        if self.broken:
            raise OSError(f"no {disk}")
        return HostUsage(cpu=0.5), Busy(1, 2)


def test_it_is_measured_at_once_and_then_every_so_often() -> None:
    reader = Reader()

    async def story() -> None:
        meter = HostMeter(lambda: "/", reader)
        meter.order(MeasureHost(interval=5.0))
        for _ in range(3):
            await meter.take()

    run_virtual(story())
    assert reader.times == [0.0, 5.0, 10.0]
    assert reader.before == [None, Busy(1, 2), Busy(1, 2)]


def test_no_manager_has_it_measured_all_the_time() -> None:
    reader = Reader()

    async def story() -> None:
        meter = HostMeter(lambda: "/", reader)
        meter.order(MeasureHost(interval=0.001))
        await meter.take()
        await meter.take()

    run_virtual(story())
    assert reader.times == [0.0, LEAST_SECONDS]


def test_it_is_not_measured_while_nobody_wants_it() -> None:
    reader = Reader()

    async def story() -> None:
        meter = HostMeter(lambda: "/", reader)
        taking = asyncio.ensure_future(meter.take())
        await asyncio.sleep(100.0)
        assert not reader.times
        meter.order(MeasureHost(interval=5.0))
        await taking
        meter.order(MeasureHost(interval=0.0))
        again = asyncio.ensure_future(meter.take())
        await asyncio.sleep(100.0)
        assert len(reader.times) == 1
        again.cancel()

    run_virtual(story())


def test_what_cannot_be_read_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    reader = Reader()
    reader.broken = True

    async def story() -> None:
        meter = HostMeter(lambda: "/data", reader)
        meter.order(MeasureHost(interval=5.0))
        taking = asyncio.ensure_future(meter.take())
        await asyncio.sleep(21.0)
        reader.broken = False
        assert (await taking).cpu == 0.5

    with caplog.at_level(logging.WARNING):
        run_virtual(story())
    assert len(reader.times) == 6
    assert caplog.text.count("what this host uses cannot be told: no /data") == 1
