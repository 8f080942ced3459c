"""The flags of `service create` and `service update` beyond Docker's: what the engine can do for a container."""

from __future__ import annotations

from typing import Any

import click

from manager.cli.command import flag
from manager.cli.flags.engine import parse_security, parse_swap
from manager.cli.flags.types import BYTES, KEY_VALUE, UINT, Parsed
from manager.compose.devices import parse_device, parse_gpus

_DEVICE = Parsed("device", parse_device)
_GPUS = Parsed("gpu-request", parse_gpus)
_SWAP = Parsed("bytes", parse_swap)
_SECURITY = Parsed("list", parse_security)

ENGINE_FLAGS = (
    flag("--blkio-weight", type=UINT, help="Block IO weight, 10 to 1000 (0: default)."),
    flag("--cgroup-parent", metavar="STRING", help="Parent cgroup of the container."),
    flag("--cgroupns", metavar="STRING", help='Cgroup namespace ("host", "private").'),
    flag("--cpu-shares", type=UINT, help="Relative weight of CPU (0: default)."),
    flag("--cpuset-cpus", metavar="STRING", help="CPUs that the container may use (0-3, 0,1)."),
    flag("--cpuset-mems", metavar="STRING", help="Memory nodes that the container may use (0-3, 0,1)."),
    flag("--domainname", metavar="STRING", help="Container NIS domain name."),
    flag("--gpus", type=_GPUS, help="GPUs for each container ('all', a number, or driver=,device=,capabilities=)."),
    flag("--ipc", metavar="STRING", help='IPC namespace ("none", "private", "shareable", "host").'),
    flag("--mac-address", metavar="STRING", help="Container MAC address; for services of one replica."),
    flag("--memory-swap", type=_SWAP, help="Limit of memory and swap together (-1: no limit of swap)."),
    flag("--memory-swappiness", type=UINT, help="Tune memory swappiness, 0 to 100."),
    flag("--oom-kill-disable", switch=True, help="Disable the OOM killer for the container."),
    flag("--oom-score-adj", type=click.INT, help="Tune the host's OOM preferences, -1000 to 1000."),
    flag("--pid", metavar="STRING", help='PID namespace ("host").'),
    flag("--privileged", switch=True, help="Give extended privileges to the container."),
    flag("--runtime", metavar="STRING", help="Runtime of the engine to use for the container."),
    flag("--shm-size", type=BYTES, help="Size of /dev/shm."),
    flag("--userns", metavar="STRING", help='User namespace ("host").'),
    flag("--uts", metavar="STRING", help='UTS namespace ("host").'),
)
# As the lists of `service_options`: name, type, short flag, help.
ENGINE_LISTS: tuple[tuple[str, Any, str | None, str], ...] = (
    ("device", _DEVICE, None, "devices of the host (/dev/x[:/dev/y][:rwm]), or CDI devices (vendor/class=name)"),
    ("device-cgroup-rule", None, None, "rules of the devices cgroup"),
    ("security-opt", _SECURITY, None, "security options"),
    ("storage-opt", KEY_VALUE, None, "storage driver options"),
)
