"""The flags that set the options for the engine (`common.model.engine_options`), named as those of `docker run`.

`service create` and `service update` have them beyond Docker's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from common.model.container import ContainerSpec
from common.model.engine_options import Device, DeviceRequest, options_of, with_options
from common.text.quantities import parse_size
from manager.cli.command import flag
from manager.cli.compose.short_syntax import parse_device, parse_gpus
from manager.cli.flags.types import BYTES, KEY_VALUE, UINT, Parsed

# The flags with one value each, by the field that they set.
_FIELDS = {
    "privileged": "privileged",
    "shm_size": "shm_size",
    "pid": "pid_mode",
    "ipc": "ipc_mode",
    "uts": "uts_mode",
    "userns": "userns_mode",
    "cgroupns": "cgroupns_mode",
    "cgroup_parent": "cgroup_parent",
    "oom_kill_disable": "oom_kill_disable",
    "cpuset_cpus": "cpuset_cpus",
    "cpuset_mems": "cpuset_mems",
    "cpu_shares": "cpu_shares",
    "memory_swap": "memory_swap",
    "memory_swappiness": "memory_swappiness",
    "blkio_weight": "blkio_weight",
    "runtime": "runtime",
    "domainname": "domainname",
    "mac_address": "mac_address",
}
_OPEN_SECCOMP = ("unconfined", "builtin")


def apply(spec: ContainerSpec, given: Mapping[str, Any]) -> ContainerSpec:
    """Set what flags were given for, on create (`device`) and on update (`device_add`, `device_rm`).

    Raises:
        ValueError: the present options cannot be read, or something to be removed is not there.

    """
    changes = {field: given[name] for name, field in _FIELDS.items() if given.get(name) is not None}
    options = options_of(spec)
    devices, requests = _devices(options.devices, options.device_requests, given)
    changed = msgspec.structs.replace(
        options,
        **changes,
        devices=devices,
        device_requests=_gpus(requests, given),
        device_cgroup_rules=_words(options.device_cgroup_rules, given, "device_cgroup_rule"),
        security_opt=_words(options.security_opt, given, "security_opt"),
        storage_opt=_pairs(options.storage_opt, given),
    )
    score = given.get("oom_score_adj")
    if score is not None:
        spec = msgspec.structs.replace(spec, oom_score_adj=score)
    return spec if changed == options else with_options(spec, changed)


def parse_security(text: str) -> str:
    """Read an option for security; a seccomp profile is named by its file, as in `docker run`.

    Raises:
        ValueError: the file cannot be read, or is not JSON.

    """
    name, equals, value = text.partition("=")
    if name != "seccomp" or not equals or value in _OPEN_SECCOMP or value.startswith("{"):
        return text
    try:
        profile = json.loads(Path(value).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"opening seccomp profile ({value}) failed: {error.strerror or error}") from error
    except ValueError as error:
        raise ValueError(f"seccomp profile ({value}) is not JSON: {error}") from error
    return f"seccomp={json.dumps(profile, separators=(',', ':'))}"


def parse_swap(text: str) -> int:
    """Read a size; -1 means no limit.

    Raises:
        ValueError: it is neither.

    """
    return -1 if text == "-1" else parse_size(text)


def _added_values(given: Mapping[str, Any], name: str) -> tuple[Any, ...]:
    return tuple(given.get(name) or given.get(f"{name}_add") or ())


def _devices(
    present: tuple[Device, ...], requests: tuple[DeviceRequest, ...], given: Mapping[str, Any]
) -> tuple[tuple[Device, ...], tuple[DeviceRequest, ...]]:
    """Add and remove devices, by their path in the container or their CDI name."""
    added = _added_values(given, "device")
    removed = set(given.get("device_rm") or ())
    known = {device.path_in_container for device in present} | {name for each in requests for name in each.device_ids}
    if unknown := removed - known:
        raise ValueError(f"could not find device `{min(unknown)}` to remove it")
    by_path = {device.path_in_container: device for device in present}
    by_path |= {device.path_in_container: device for device in added if isinstance(device, Device)}
    kept = [each for each in requests if not removed & set(each.device_ids)]
    more = [each for each in added if isinstance(each, DeviceRequest) and each not in kept]
    return tuple(device for path, device in by_path.items() if path not in removed), (*kept, *more)


def _gpus(requests: Iterable[DeviceRequest], given: Mapping[str, Any]) -> tuple[DeviceRequest, ...]:
    """Let `--gpus` take the place of the request for GPUs that there is."""
    gpus = given.get("gpus")
    if gpus is None:
        return tuple(requests)
    return (*(each for each in requests if not any("gpu" in names for names in each.capabilities)), gpus)


def _words(present: tuple[str, ...], given: Mapping[str, Any], name: str) -> tuple[str, ...]:
    added, removed = _added_values(given, name), given.get(f"{name}_rm") or ()
    return tuple(word for word in dict.fromkeys((*present, *added)) if word not in removed)


def _pairs(present: dict[str, str], given: Mapping[str, Any]) -> dict[str, str]:
    removed = given.get("storage_opt_rm") or ()
    changed = present | dict(_added_values(given, "storage_opt"))
    return {name: value for name, value in changed.items() if name not in removed}


# --- flags ---


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
