"""The keys of a service that become options for the engine, where Docker's own schema has none or only a word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from common.quantities import parse_size
from manager.compose.objects import Key, Object
from manager.compose.rules import Cursor, Number, Rule
from manager.compose.schema_deploy import FLAG, TEXT, TEXTS
from manager.compose.schema_devices import GPUS
from manager.compose.shapes import Items, Options

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
