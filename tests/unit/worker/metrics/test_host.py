"""What a host uses: read from files as kernels write them, and measured for as long as that is wanted."""

import asyncio
import logging
from pathlib import Path

import pytest

from common.clock import LoopClock
from common.wire.usage_messages import HostUsage, MeasureHost
from tests.fakes.virtual_loop import run_virtual
from worker.metrics.host import LEAST_SECONDS, Busy, HostMeter, measure, parse_net, parse_pressure, parse_stat

STAT = "cpu  100 5 45 800 40 4 6 0 30 0\ncpu0 50 2 22 400 20 2 3 0 15 0\nintr 1\n"
MEMINFO = "MemTotal:       16000 kB\nMemFree:         1000 kB\nMemAvailable:    4000 kB\nHugePages_Total:       0\n"
NET = """Inter-|   Receive  |  Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
    lo: 999 1 0 0 0 0 0 0 999 1 0 0 0 0 0 0
  eth0: 1000 1 0 0 0 0 0 0 200 1 0 0 0 0 0 0
  ens4:   10 1 0 0 0 0 0 0 2 1 0 0 0 0 0 0
veth1a: 500 1 0 0 0 0 0 0 500 1 0 0 0 0 0 0
docker0: 500 1 0 0 0 0 0 0 500 1 0 0 0 0 0 0
orc-1: 500 1 0 0 0 0 0 0 500 1 0 0 0 0 0 0
"""
PRESSURE = "some avg10=12.50 avg60=1.00 avg300=0.10 total=100\nfull avg10=1.00 avg60=0.00 avg300=0.00 total=7\n"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    for name, text in {"stat": STAT, "meminfo": MEMINFO, "net/dev": NET, "pressure/io": PRESSURE}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_host_is_read_from_the_kernels_files(proc: Path):
    usage, busy = measure(None, str(proc), proc)
    assert (usage.cpu, usage.memory_total, usage.memory_available) == (None, 16000 * 1024, 4000 * 1024)
    assert (usage.received, usage.sent) == (1010, 202)
    assert (usage.pressure_cpu, usage.pressure_io) == (None, 0.125)
    assert 0 < usage.disk_available <= usage.disk_total
    assert busy == Busy(160, 1000)
    (proc / "stat").write_text(STAT.replace("cpu  100", "cpu  130").replace(" 800 ", " 870 "))
    assert measure(busy, "", proc)[0].cpu == pytest.approx(0.3)


def test_a_disk_that_is_not_here_is_not_told():
    usage, _ = measure(None, "/nowhere/docker")
    assert (usage.disk_total, usage.disk_available) == (0, 0)


def test_a_counter_that_was_started_anew_is_no_share():
    assert parse_stat(STAT).share_since(Busy(200, 2000)) is None


def test_a_file_without_pressure_says_none():
    assert parse_pressure("") is None
    assert parse_net("a\nb\n") == (0, 0)


class Clocked:
    """A host of which the loop's time is read."""

    def __init__(self) -> None:
        self.fails = False

    async def read(self, before: Busy | None, disk: str) -> tuple[HostUsage, Busy]:
        if self.fails:
            raise OSError(5, "Input/output error")
        count = 1 if before is None else before.all + 1
        return HostUsage(memory_total=count, sent=len(disk)), Busy(0, count)


def test_it_is_measured_while_that_is_wanted():
    async def story() -> None:
        host = Clocked()
        meter = HostMeter(lambda: "/disk", host.read)
        loop = asyncio.get_running_loop()
        waiting = asyncio.create_task(meter.take())
        await asyncio.sleep(100)
        assert not waiting.done()
        meter.order(MeasureHost(interval=10.0))
        assert (await waiting).sent == 5
        asked = loop.time()
        assert (await meter.take()).memory_total == 2
        assert loop.time() - asked == pytest.approx(10.0, abs=0.1)
        host.fails = True
        failing = asyncio.create_task(meter.take())
        await asyncio.sleep(25)
        assert not failing.done()
        host.fails = False
        assert (await failing).memory_total == 3
        meter.order(MeasureHost())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(meter.take(), 100)

    run_virtual(story())


def test_the_clock_is_said_to_a_manager_that_asks_for_it():
    async def story() -> None:
        meter = HostMeter(lambda: "/disk", Clocked().read, LoopClock(1000.0))
        meter.order(MeasureHost(interval=10.0))
        assert (await meter.take()).clock == 0.0, "a manager of an earlier release knows no such field"
        meter.order(MeasureHost(interval=10.0, clock=True))
        await meter.take()
        began = asyncio.get_running_loop().time()
        assert (await meter.take()).clock == pytest.approx(1010.0 + began)

    run_virtual(story())


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
