"""Keys of a service that are schemas of their own: its `deploy` section, what gives it devices, options for the engine.

Of the last Docker's own schema has none, or only a word.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from common.text.quantities import parse_size
from manager.cli.compose.objects import Forms, Key, Object, Short
from manager.cli.compose.rules import CPUS, DURATION, SIZE, Boolean, Cursor, Number, Rule, Text
from manager.cli.compose.shapes import Items, Options, Pairs
from manager.cli.compose.short_syntax import parse_count

# --- devices ---


_TEXT = Key(Text())
_TEXTS = Key(Items())


@dataclass(frozen=True, slots=True)
class Count(Rule):
    """How many devices: a number or `all`, which is -1."""

    expected: str = '"all" or a whole number'

    def read(self, value: Any, at: Cursor) -> Any:
        if isinstance(value, int | str) and not isinstance(value, bool):
            try:
                return parse_count(str(value))
            except ValueError:
                pass  # worded below, with the value
        return at.expect(self.expected, value)


_DEVICE = Object({"source": _TEXT, "target": _TEXT, "permissions": _TEXT}, required=("source",))
DEVICES = Items(Forms('a string such as "/dev/fuse:/dev/fuse:rw", or a mapping', scalar=Text(), mapping=_DEVICE))

# Devices that a driver chooses: `gpus`, and `devices` of deploy.resources.reservations, which must say of which kind.
_REQUEST = {
    "driver": _TEXT,
    "count": Key(Count(), keep=True),
    "device_ids": Key(Items(numbers=True)),
    "capabilities": _TEXTS,
    "options": Key(Options()),
}
RESERVED_DEVICES = Items(Object(_REQUEST, required=("capabilities",)), unique=False)
GPUS = Forms(
    '"all", a number, or a list of mappings',
    scalar=Short(Count(), lambda count: [{"count": count}]),
    items=Items(Object(_REQUEST), unique=False),
)


TEXT = Key(Text())
TEXTS = Key(Items())
FLAG = Key(Boolean())
COUNT = Key(Number(lowest=0, zero_wins=True), keep=True)
TIME = Key(DURATION)
KEPT_TIME = Key(DURATION, keep=True)
LABELS = Key(Pairs())

UPDATE_CONFIG = Object(
    {
        "parallelism": COUNT,
        "delay": TIME,
        "failure_action": Key(Text(choices=("pause", "continue", "rollback"))),
        "monitor": TIME,
        "max_failure_ratio": Key(Number(whole=False, lowest=0)),
        "order": Key(Text(choices=("start-first", "stop-first")), since=4),
    }
)
GENERIC_RESOURCES = Items(
    Object({"discrete_resource_spec": Key(Object({"kind": TEXT, "value": Key(Number(), keep=True)}), keep=True)}),
    unique=False,
)
RESOURCES = Object(
    {
        "limits": Key(
            Object({"cpus": Key(CPUS), "memory": Key(SIZE), "pids": Key(Number(), since=9)}),
            keep=True,
        ),
        "reservations": Key(
            Object(
                {
                    "cpus": Key(CPUS),
                    "memory": Key(SIZE),
                    "generic_resources": Key(GENERIC_RESOURCES, since=5),
                    "devices": Key(RESERVED_DEVICES),
                }
            ),
            keep=True,
        ),
    }
)
DEPLOY = Object(
    {
        "mode": Key(Text(choices=("replicated", "global", "replicated-job", "global-job"))),
        "replicas": COUNT,
        "labels": LABELS,
        "update_config": Key(UPDATE_CONFIG, keep=True),
        "rollback_config": Key(UPDATE_CONFIG, since=7, keep=True),
        "resources": Key(RESOURCES),
        "restart_policy": Key(
            Object(
                {
                    "condition": Key(Text(choices=("none", "on-failure", "any"))),
                    "delay": KEPT_TIME,
                    "max_attempts": COUNT,
                    "window": KEPT_TIME,
                }
            ),
            keep=True,
        ),
        "placement": Key(
            Object(
                {
                    "constraints": Key(Items(unique=False)),
                    "preferences": Key(Items(Object({"spread": TEXT}), unique=False), since=3),
                    "max_replicas_per_node": Key(Number(lowest=0), since=8),
                }
            )
        ),
        "endpoint_mode": Key(Text(), since=2),
    },
    empty=True,
)


# --- options for the engine ---


_WHOLE = Number(lowest=0)


@dataclass(frozen=True, slots=True)
class Amount(Rule):
    """A size in bytes or units, or a plain number; with `unlimited` also -1."""

    unlimited: bool = False
    expected: str = 'a size such as "64M", or a number of bytes'

    def read(self, value: Any, at: Cursor) -> Any:
        if isinstance(value, int | str) and not isinstance(value, bool):
            if self.unlimited and str(value) == "-1":
                return -1
            try:
                return parse_size(str(value))
            except ValueError:
                pass  # worded below, with the value
        return at.expect(self.expected, value)


_WEIGHTS = Key(Items(Object({"path": TEXT, "weight": Key(_WHOLE)}, required=("path", "weight"))))
_RATES = Key(Items(Object({"path": TEXT, "rate": Key(Amount())}, required=("path", "rate"))))
BLKIO = Object(
    {
        "weight": Key(_WHOLE),
        "weight_device": _WEIGHTS,
        "device_read_bps": _RATES,
        "device_write_bps": _RATES,
        "device_read_iops": _RATES,
        "device_write_iops": _RATES,
    }
)

# Keys of the Compose Specification that Docker's schema for stacks does not have.
ENGINE_KEYS = {
    "blkio_config": Key(BLKIO),
    "cgroup": TEXT,
    "cpu_shares": Key(_WHOLE),
    "cpuset": TEXT,
    "device_cgroup_rules": TEXTS,
    "dns_opt": TEXTS,
    "gpus": Key(GPUS),
    "mem_swappiness": Key(_WHOLE, keep=True),
    "memswap_limit": Key(Amount(unlimited=True)),
    "oom_kill_disable": FLAG,
    "runtime": TEXT,
    "storage_opt": Key(Options()),
    "uts": TEXT,
}
