"""Which tasks, plain containers and measurements a host takes."""

import math

import pytest

from common.model.attachment import NetworkAttachment
from common.model.task import Task
from common.wire.usage_messages import Gauge, Scrape
from worker.intake.identifiers import Unusable
from worker.intake.tasks import read_attachment, read_gauge, read_task


def refuse(*_: object) -> None:
    raise AssertionError("all of it is refused, or nothing")


def test_what_can_be_called_so_is_taken_as_it_is() -> None:
    task = Task(id="t1", service_name="shop_web", slot=2)
    assert read_task(task, refuse) is task
    attachment = NetworkAttachment(id="a1")
    assert read_attachment(attachment, refuse) is attachment


@pytest.mark.parametrize(
    "task", [Task(id="../x", service_name="web", slot=1), Task(id="t1", service_name="a/b", slot=1), Task(id="")]
)
def test_a_task_whose_files_could_be_anywhere_is_refused(task: Task) -> None:
    with pytest.raises(Unusable):
        read_task(task, refuse)


def test_a_container_without_an_id_is_refused() -> None:
    with pytest.raises(Unusable):
        read_attachment(NetworkAttachment(id="a b"), refuse)


def gauge(interval: float = 5.0, path: str = "/metrics", name: str = "jobs", port: int = 9100) -> Gauge:
    return Gauge(service_id="s", interval=interval, metric=Scrape(name=name, port=port, path=path))


def test_a_measurement_is_taken() -> None:
    assert read_gauge(gauge(), refuse) == gauge()
    without = Gauge(service_id="s", interval=0.1, cpu=True)
    assert read_gauge(without, refuse) is without


@pytest.mark.parametrize(
    "wrong",
    [
        gauge(interval=0.0),
        gauge(interval=math.nan),
        gauge(interval=1e9),
        gauge(path="metrics"),
        gauge(path="/a b"),
        gauge(path="/a\r\nHost: b"),
        gauge(name="1x"),
        gauge(name=""),
        gauge(port=0),
        gauge(port=70_000),
    ],
)
def test_what_cannot_be_measured_is_refused(wrong: Gauge) -> None:
    with pytest.raises(Unusable):
        read_gauge(wrong, refuse)
