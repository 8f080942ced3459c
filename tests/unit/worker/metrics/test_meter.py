"""Measuring tasks: what a round brings, on fakes and in virtual time; and the files and pages that it is read from."""

import asyncio
from typing import Any

import pytest

from common.model import Task, TaskState, TaskStatus
from common.model.task import ContainerStatus
from common.wire.usage_messages import Gauge, Measure, Scrape, TaskUsage, Usage
from tests.fakes.engine import FakeEngine
from tests.fakes.virtual_loop import run_virtual
from worker.engine.api import read_usage as read_engine_usage
from worker.interfaces.engine import ContainerUsage, EngineDown
from worker.metrics.meter import Meter

CPU = Gauge(service_id="s", interval=5.0, cpu=True)


class Host:
    """A host with two tasks of service `s` and one of another, whose containers use what the test says."""

    def __init__(self) -> None:
        self.engine = FakeEngine()
        self.used: dict[str, ContainerUsage] = {}
        self.pages: dict[int, float] = {}
        self.tasks = {name: Task(id=name, service_id=service) for name, service in (("a", "s"), ("b", "s"), ("x", "o"))}
        self.statuses = {name: self.running(name, pid) for pid, name in enumerate(self.tasks, 1)}
        self.meter = Meter(self.engine, lambda: self.tasks, lambda: self.statuses, read=self._read, fetch=self._fetch)

    @staticmethod
    def running(name: str, pid: int, state: TaskState = TaskState.RUNNING) -> TaskStatus:
        return TaskStatus(state=state, container_status=ContainerStatus(container_id=f"c-{name}", pid=pid))

    async def _read(self, _pid: int, container_id: str) -> ContainerUsage:
        if container_id not in self.used:
            raise PermissionError(1, "not for you")
        return self.used[container_id]

    async def _fetch(self, pid: int, _what: Scrape) -> float:
        if pid not in self.pages:
            raise ConnectionRefusedError(111, "Connection refused")
        return self.pages[pid]


async def round_of(host: Host) -> dict[str, TaskUsage]:
    return {usage.task_id: usage for usage in (await host.meter.take()).tasks}


def test_a_rate_is_over_the_time_since_the_measurement_before() -> None:
    async def story() -> None:
        host = Host()
        host.used = {"c-a": ContainerUsage(100.0, 0), "c-b": ContainerUsage(7.0, 0)}
        host.meter.order(Measure(gauges=(CPU,)))
        assert await round_of(host) == {"a": TaskUsage(task_id="a"), "b": TaskUsage(task_id="b")}
        host.used = {"c-a": ContainerUsage(102.5, 0), "c-b": ContainerUsage(7.0, 0)}
        started = asyncio.get_running_loop().time()
        usages = await round_of(host)
        assert asyncio.get_running_loop().time() - started == pytest.approx(5.0, abs=0.1)
        assert usages["a"].cpu == pytest.approx(0.5, rel=0.05)
        assert usages["b"].cpu == 0.0

    run_virtual(story())


def test_only_running_tasks_of_requested_services_are_measured() -> None:
    async def story() -> None:
        host = Host()
        host.used = {f"c-{name}": ContainerUsage(1.0, 64.0) for name in host.tasks}
        host.statuses["b"] = host.running("b", 2, TaskState.STARTING)
        host.meter.order(Measure(gauges=(Gauge(service_id="s", interval=1.0, memory=True),)))
        assert await round_of(host) == {"a": TaskUsage(task_id="a", memory=64.0)}
        host.meter.order(Measure())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(600):
                await host.meter.take()

    run_virtual(story())


def scraped(**wrong: Any) -> Scrape:
    return Scrape(**{"name": "jobs", "port": 80, "path": "/m", **wrong})


HOSTILE_GAUGES = [
    *(Gauge(service_id="s", interval=each, cpu=True) for each in (0.0, -1.0, float("nan"), float("inf"), 1e300)),
    *(
        Gauge(service_id="s", interval=1.0, metric=scraped(**wrong))
        for wrong in (
            {"port": 0},
            {"port": 70_000},
            {"path": "/x HTTP/1.1\r\nHost: evil\r\n\r\nGET /"},
            {"path": "http://x/"},
            {"path": "/é"},
            {"name": "jobs\n"},
            {"name": ""},
        )
    ),
]


@pytest.mark.parametrize("bad", HOSTILE_GAUGES)
def test_what_cannot_be_measured_costs_its_service_alone(bad: Gauge, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        host = Host()
        host.used = {f"c-{name}": ContainerUsage(1.0, 64.0) for name in host.tasks}
        good = Gauge(service_id="o", interval=1.0, memory=True)
        for _ in range(2):
            host.meter.order(Measure(gauges=(bad, good)))
            assert await round_of(host) == {"x": TaskUsage(task_id="x", memory=64.0)}

    run_virtual(story())
    (said,) = [each for each in caplog.messages if "is left out" in each]
    assert said.startswith("measurement of service s is left out: ")


def test_another_container_of_a_task_has_no_rate_yet() -> None:
    async def story() -> None:
        host = Host()
        host.used = {"c-a": ContainerUsage(100.0, 0), "c-b": ContainerUsage(1.0, 0), "c-z": ContainerUsage(3.0, 0)}
        host.meter.order(Measure(gauges=(CPU,)))
        await round_of(host)
        host.statuses["a"] = host.running("z", 9)
        assert (await round_of(host))["a"].cpu is None

    run_virtual(story())


def test_a_bug_in_one_tasks_measurement_is_said_and_others_go_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        host = Host()
        host.used = {"c-a": ContainerUsage(1.0, 5.0)}
        monkeypatch.setattr(host.engine, "usage", no_usage)
        host.pages = {2: 3.0}
        metric = Scrape(name="jobs", port=80, path="/m")
        host.meter.order(Measure(gauges=(Gauge(service_id="s", interval=2.0, memory=True, metric=metric),)))
        usages = await round_of(host)
        assert usages["a"].memory == 5.0
        assert (usages["b"].metric, usages["b"].error) == (3.0, "internal error of the worker: KeyError('cpu')")

    async def no_usage(_: str) -> ContainerUsage:
        raise KeyError("cpu")

    run_virtual(story())
    assert "unexpected error in measuring it" in caplog.text


def test_the_engine_is_asked_where_the_kernel_does_not_tell() -> None:
    async def story() -> None:
        host = Host()
        host.engine.used = {"c-a": ContainerUsage(1.0, 5.0), "c-b": ContainerUsage(1.0, 6.0)}
        gauge = Gauge(service_id="s", interval=2.0, memory=True, metric=Scrape(name="jobs", port=80, path="/m"))
        host.pages = {1: 12.0}
        host.meter.order(Measure(gauges=(gauge,)))
        usages = await round_of(host)
        assert usages["a"] == TaskUsage(task_id="a", memory=5.0, metric=12.0)
        assert (usages["b"].memory, usages["b"].metric) == (6.0, None)
        assert usages["b"].error == "port 80: [Errno 111] Connection refused"
        host.engine.up = False
        with pytest.raises(EngineDown):
            await host.engine.usage("c-a")
        down = (await round_of(host))["a"]
        assert (down.memory, down.metric) == (None, 12.0)
        assert down.error

    run_virtual(story())


def test_what_hangs_does_not_keep_the_others_nor_the_next_round() -> None:
    async def story() -> None:
        host = Host()

        async def hang(pid: int, _what: Scrape) -> float:
            await asyncio.sleep(3600 if pid == 2 else 0)
            return 1.0

        meter = Meter(host.engine, lambda: host.tasks, lambda: host.statuses, read=host._read, fetch=hang)
        meter.order(Measure(gauges=(Gauge(service_id="s", interval=3.0, metric=Scrape(name="m", port=1, path="/")),)))
        for _ in range(2):
            async with asyncio.timeout(10):
                assert await meter.take() == Usage(tasks=(TaskUsage(task_id="a", metric=1.0),))

    run_virtual(story())


# --- the kernel's files ---


def test_the_engines_own_answer_is_read() -> None:
    stats = {
        "cpu_stats": {"cpu_usage": {"total_usage": 2_500_000_000}},
        "memory_stats": {"usage": 1000, "stats": {"inactive_file": 300}},
    }
    assert read_engine_usage(stats) == ContainerUsage(2.5, 700)
    assert read_engine_usage({}) == ContainerUsage(0, 0)


# --- pages ---
