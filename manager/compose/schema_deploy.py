"""The keys of a service's `deploy` section, and the kinds of key that the whole schema uses."""

from __future__ import annotations

from manager.compose.objects import Key, Object
from manager.compose.rules import CPUS, DURATION, SIZE, Boolean, Number, Text
from manager.compose.schema_devices import RESERVED_DEVICES
from manager.compose.shapes import Items, Pairs

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
