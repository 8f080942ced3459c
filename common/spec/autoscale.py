"""What a service's label `swarm.x.autoscale` says: between how many tasks, and by what their number is chosen. Pure.

`min=2,max=10,cpu=70%,memory=80%` or `min=1,max=5,metric=jobs_waiting,port=9100,target=30`, in any order.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass

import msgspec

from common.model import Service
from common.model.service import EXTENSION_PREFIX, AutoscaleStatus, Replicated, Reservations, ServiceMode, ServiceSpec
from common.text.quantities import format_label_duration, parse_label_duration

LABEL = EXTENSION_PREFIX + "autoscale"
MOST_TASKS = 10_000
LONGEST_WINDOW = 3600.0
UP_SECONDS = 15.0
DOWN_SECONDS = 300.0
PATH = "/metrics"
# How often tasks are measured (seconds); more often where a window is so short that it would hold no two measurements.
_INTERVAL = 5.0
_SHORTEST_INTERVAL = 1.0
_KEYS = ("min", "max", "cpu", "memory", "metric", "port", "path", "target", "up", "down")
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,199}", re.ASCII)
_PATH = re.compile(r"/[!-+\--~]{0,199}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Metric:
    """A value that the containers expose over HTTP, as Prometheus reads it; `target` is its average a task."""

    name: str
    port: int
    path: str
    target: float


@dataclass(frozen=True, slots=True)
class Policy:
    """Between `minimum` and `maximum` tasks, so that none of the targets is exceeded on average.

    `cpu` and `memory` are shares of what a task reserves, 0 where there is no such target. More tasks are made when so
    many were needed for `up` seconds, fewer when no more were needed for `down` seconds.
    """

    minimum: int
    maximum: int
    cpu: float = 0.0
    memory: float = 0.0
    metric: Metric | None = None
    up: float = UP_SECONDS
    down: float = DOWN_SECONDS

    @property
    def interval(self) -> float:
        """How often its tasks are to be measured (seconds): twice a window or more often."""
        return max(_SHORTEST_INTERVAL, min(_INTERVAL, self.up / 2, self.down / 2))

    def within(self, replicas: int) -> int:
        """Return the nearest number that is allowed."""
        return min(max(replicas, self.minimum), self.maximum)


def parse(text: str) -> Policy:
    """Read the label's text.

    Raises:
        ValueError: it is not understood; says what is expected.

    """
    given: dict[str, str] = {}
    for item in text.split(","):
        key, equals, value = (part.strip() for part in item.partition("="))
        if key not in _KEYS or not equals or key in given:
            raise ValueError(f"KEY=VALUE, joined by commas, each once, of {', '.join(_KEYS)}, not {item.strip()!r}")
        given[key] = value
    minimum, maximum = (_number(given, key, 1, MOST_TASKS) for key in ("min", "max"))
    if minimum > maximum:
        raise ValueError(f"min to be at most max ({maximum})")
    policy = Policy(
        minimum=minimum,
        maximum=maximum,
        cpu=_share(given, "cpu"),
        memory=_share(given, "memory"),
        metric=_metric(given),
        up=_window(given, "up", UP_SECONDS),
        down=_window(given, "down", DOWN_SECONDS),
    )
    if not (policy.cpu or policy.memory or policy.metric):
        raise ValueError("a target: cpu=70%, memory=80%, or metric=NAME with port=PORT and target=NUMBER")
    return policy


def of(spec: ServiceSpec) -> Policy | None:
    """Return the policy of a specification that was checked; None when it is not scaled automatically."""
    text = spec.labels.get(LABEL)
    return parse(text) if text is not None else None


def lacking(policy: Policy, spec: ServiceSpec) -> Collection[str]:
    """Name the resources, `cpu` and `memory`, that a share is asked of without there being a reservation of it."""
    reserved = reservations(spec)
    wanted = (("cpu", policy.cpu, reserved.nano_cpus), ("memory", policy.memory, reserved.memory_bytes))
    return [name for name, share, amount in wanted if share and not amount]


def reservations(spec: ServiceSpec) -> Reservations:
    resources = spec.task_template.resources
    return (resources.reservations if resources is not None else None) or Reservations()


def with_replicas(spec: ServiceSpec, count: int) -> ServiceSpec:
    """Return the specification of a replicated service with another number of tasks."""
    replicated = msgspec.structs.replace(spec.mode.replicated or Replicated(), replicas=count)
    return msgspec.structs.replace(spec, mode=ServiceMode(replicated=replicated))


def scale_to(service: Service, count: int, message: str, now: float, *, by_hand: bool = False) -> Service:
    """Return a service with another number of tasks. Its specification stays: a rollback keeps the number."""
    before = service.autoscale_status or AutoscaleStatus()
    status = msgspec.structs.replace(
        before, scaled_at=now, previous=service.spec.mode.replicas, replicas=count, by_hand=by_hand, message=message
    )
    return msgspec.structs.replace(service, spec=with_replicas(service.spec, count), autoscale_status=status)


def _number(given: dict[str, str], key: str, least: int, most: int) -> int:
    text = given.get(key, "")
    if not re.fullmatch(r"[0-9]{1,6}", text, re.ASCII) or not least <= int(text) <= most:
        raise ValueError(f"{key} to be a whole number from {least} to {most}")
    return int(text)


def _share(given: dict[str, str], key: str) -> float:
    if key not in given:
        return 0.0
    match = re.fullmatch(r"([0-9]{1,4}(?:\.[0-9]{1,3})?)%", given[key], re.ASCII)
    if match is None or not float(match[1]):
        raise ValueError(f"{key} to be a share of the reservation, such as 70%")
    return float(match[1]) / 100


def _metric(given: dict[str, str]) -> Metric | None:
    if "metric" not in given:
        if stray := [key for key in ("port", "path", "target") if key in given]:
            raise ValueError(f"metric=NAME beside {stray[0]}")
        return None
    name, path = given["metric"], given.get("path", PATH)
    if not _METRIC.fullmatch(name):
        raise ValueError("metric to be a metric's name, without labels, such as http_requests_in_flight")
    if not _PATH.fullmatch(path):
        raise ValueError("path to be one of a URL, such as /metrics")
    return Metric(name, _number(given, "port", 1, 65535), path, _target(given.get("target", "")))


def _target(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise ValueError("target to be the metric's average a task, a number above 0")
    return value


def _window(given: dict[str, str], key: str, default: float) -> float:
    if key not in given:
        return default
    seconds = parse_label_duration(given[key])
    if seconds > LONGEST_WINDOW:
        raise ValueError(f"{key} to be at most {format_label_duration(LONGEST_WINDOW)}")
    return seconds
