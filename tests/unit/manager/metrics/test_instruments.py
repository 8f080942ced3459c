"""Each instrument counts under the name that docs/monitoring.md has."""

import asyncio
import time

from prometheus_client import generate_latest

from manager.metrics.instruments import EVERY_SECONDS, Instruments, measure_lag
from tests.fakes.virtual_loop import run_virtual


def page(instruments: Instruments) -> list[str]:
    return generate_latest(instruments.registry).decode().splitlines()


def test_requests_are_counted_by_route_and_timed_by_kind() -> None:
    instruments = Instruments()
    instruments.answered("GET", "/services", "200", 0.02)
    instruments.answered("HEAD", "/_ping", "200", 0.02)
    instruments.answered("POST", "/services/create", "201", 0.02)
    lines = page(instruments)
    assert 'swarm_api_requests_total{code="200",method="GET",route="/services"} 1.0' in lines
    assert 'swarm_api_request_seconds_count{kind="read"} 2.0' in lines
    assert 'swarm_api_request_seconds_count{kind="change"} 1.0' in lines


def test_each_rules_decisions_are_told_apart() -> None:
    instruments = Instruments()
    instruments.decided("services", 0.001)
    instruments.decide_failed("reaper")
    lines = page(instruments)
    assert 'swarm_decide_seconds_count{rule="services"} 1.0' in lines
    assert 'swarm_decide_failures_total{rule="reaper"} 1.0' in lines
    assert not any('rule="reaper"' in line and "seconds" in line for line in lines)


def test_everything_else_is_counted_where_it_happens() -> None:
    instruments = Instruments()
    instruments.task_ran(3.0)
    instruments.written(0.01)
    instruments.lagged(0.002)
    instruments.fell_behind("dispatcher")
    instruments.unwritten(4)
    instruments.streams("events", 2)
    lines = page(instruments)
    for line in (
        "swarm_dispatcher_scheduling_delay_seconds_count 1.0",
        "swarm_store_write_tx_latency_seconds_count 1.0",
        'swarm_loop_lag_seconds_bucket{le="0.0025"} 1.0',
        'swarm_watch_lagged_total{watcher="dispatcher"} 1.0',
        "swarm_audit_failures_total 4.0",
        'swarm_streams_open{kind="events"} 2.0',
    ):
        assert line in lines


def test_nobody_is_shown_when_a_series_was_made() -> None:
    instruments = Instruments()
    instruments.unwritten(1)
    assert not [line for line in page(instruments) if "_created" in line]


def test_a_rules_failures_are_counted_from_its_first_decision() -> None:
    """Prometheus sees no increase in a series that begins with 1."""
    instruments = Instruments()
    instruments.decided("services", 0.001)
    assert 'swarm_decide_failures_total{rule="services"} 0.0' in page(instruments)


def test_a_loop_that_is_never_held_is_never_late() -> None:
    late: list[float] = []

    async def story() -> None:
        measuring = asyncio.ensure_future(measure_lag(late.append))
        await asyncio.sleep(10 * EVERY_SECONDS + EVERY_SECONDS / 2)
        measuring.cancel()

    run_virtual(story())
    assert len(late) == 10
    assert max(late) < 1e-6


async def test_what_holds_the_loop_shows() -> None:
    late: list[float] = []
    heard = asyncio.Event()

    def lagged(seconds: float) -> None:
        late.append(seconds)
        heard.set()

    measuring = asyncio.ensure_future(measure_lag(lagged))
    await asyncio.sleep(0)
    time.sleep(3 * EVERY_SECONDS)
    await heard.wait()
    measuring.cancel()
    assert late[0] > EVERY_SECONDS
