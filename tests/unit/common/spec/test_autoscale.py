"""The label `swarm.x.autoscale`, read."""

import pytest

from common.errors import InvalidArgument
from common.model import Service
from common.model.service import Reservations, Resources, ServiceSpec, TaskSpec
from common.spec import autoscale, extensions
from common.spec.autoscale import Metric, Policy
from common.text.quantities import format_label_duration, parse_label_duration


def test_a_policy_is_read() -> None:
    assert autoscale.parse("min=2,max=10,cpu=70%") == Policy(2, 10, cpu=0.7)
    text = "max=5, min=1, memory=62.5%, metric=jobs_waiting, port=9100, target=2.5, up=30s, down=1h"
    metric = Metric("jobs_waiting", 9100, "/metrics", 2.5)
    assert autoscale.parse(text) == Policy(1, 5, memory=0.625, metric=metric, up=30, down=3600)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "KEY=VALUE"),
        ("min=1,max=3", "a target: cpu=70%"),
        ("max=3,cpu=50%", "min to be a whole number from 1 to 10000"),
        ("min=0,max=3,cpu=50%", "min to be a whole number from 1"),
        ("min=4,max=3,cpu=50%", "min to be at most max (3)"),
        ("min=1,max=3,cpu=0%", "cpu to be a share of the reservation, such as 70%"),
        ("min=1,max=3,cpu=70", "such as 70%"),
        ("min=1,max=3,cpu=70%,cpu=80%", "each once"),
        ("min=1,max=3,cpus=70%", "not 'cpus=70%'"),
        ("min=1,max=3,cpu=70%,port=80", "metric=NAME beside port"),
        ("min=1,max=3,metric=a-b,port=80,target=1", "metric to be a metric's name"),
        ("min=1,max=3,metric=a,target=1", "port to be a whole number from 1 to 65535"),
        ("min=1,max=3,metric=a,port=80", "target to be the metric's average a task"),
        ("min=1,max=3,metric=a,port=80,target=nan", "a number above 0"),
        ("min=1,max=3,metric=a,port=80,target=1,path=/a b", "path to be one of a URL"),
        ("min=1,max=3,metric=a,port=80,target=1,path=http://x/", "path to be one of a URL"),
        ("min=1,max=3,cpu=70%,up=0s", "a duration above 0"),
        ("min=1,max=3,cpu=70%,down=2h", "down to be at most 1h"),
    ],
)
def test_an_invalid_value_is_an_error_that_says_what_is_expected(text: str, words: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        extensions.read({autoscale.LABEL: text})
    assert caught.value.message.startswith(f"label {autoscale.LABEL}: expected ")
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("windows", "interval"), [("", 5), (",up=4s", 2), (",up=1s", 1), (",down=6s", 3), (",up=20s,down=1h", 5)]
)
def test_a_window_holds_two_measurements(windows: str, interval: float) -> None:
    assert autoscale.parse(f"min=1,max=2,cpu=50%{windows}").interval == interval


def test_a_share_needs_a_reservation() -> None:
    policy = autoscale.parse("min=1,max=2,cpu=50%,memory=50%")
    assert autoscale.lacking(policy, ServiceSpec()) == ["cpu", "memory"]
    reserved = TaskSpec(resources=Resources(reservations=Reservations(nano_cpus=1, memory_bytes=1)))
    assert autoscale.lacking(policy, ServiceSpec(task_template=reserved)) == []


def test_scaling_is_no_other_specification() -> None:
    service = Service(id="s", spec=ServiceSpec(name="web"), previous_spec=ServiceSpec(name="web", labels={"a": "b"}))
    scaled = autoscale.scale_to(service, 4, "why", 12.0)
    assert scaled.spec.mode.replicas == 4
    assert (scaled.previous_spec, scaled.revision, scaled.history) == (service.previous_spec, 1, ())
    assert scaled.autoscale_status is not None
    assert (scaled.autoscale_status.previous, scaled.autoscale_status.scaled_at) == (1, 12.0)


@pytest.mark.parametrize("text", ["45s", "5m", "1h30m", "1h1m1s"])
def test_a_duration_is_told_as_it_is_read(text: str) -> None:
    assert format_label_duration(parse_label_duration(text)) == text
