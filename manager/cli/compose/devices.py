"""Devices and GPUs as Docker's command line and compose files write them (docker/cli `opts/gpus.go`)."""

from __future__ import annotations

import csv
import re

from common.model.engine_options import ALL_DEVICES, CDI_DRIVER, Device, DeviceRequest

_CDI = re.compile(r"[A-Za-z][\w.-]*/[A-Za-z][\w-]*=[A-Za-z0-9][\w.:-]*")
_PERMISSIONS = re.compile(r"[rwm]{1,3}")
_GPU = "gpu"
_MAX_PARTS = 3


def parse_device(text: str) -> Device | DeviceRequest:
    """Read `HOST[:CONTAINER][:rwm]`, or the name of a CDI device, `vendor.com/class=name`.

    Raises:
        ValueError: it is neither.

    """
    if _CDI.fullmatch(text):
        return DeviceRequest(driver=CDI_DRIVER, device_ids=(text,))
    parts = text.split(":")
    if len(parts) > _MAX_PARTS or not parts[0].startswith("/"):
        raise ValueError(f'"{text}" is not a device: expected HOST[:CONTAINER][:rwm] or vendor/class=name')
    permissions = parts.pop() if len(parts) > 1 and _PERMISSIONS.fullmatch(parts[-1]) else "rwm"
    inside = parts[1] if len(parts) > 1 else parts[0]
    if not inside.startswith("/") or len(parts) == _MAX_PARTS:
        raise ValueError(f'"{text}" is not a device: permissions are some of r, w and m, paths are absolute')
    return Device(path_on_host=parts[0], path_in_container=inside, cgroup_permissions=permissions)


def parse_gpus(text: str) -> DeviceRequest:
    """Read `all`, a number, or `driver=…,count=…,"device=0,1","capabilities=…"` as `docker run --gpus` does.

    Raises:
        ValueError: an unknown name, no number, or both a count and devices.

    """
    found: dict[str, str] = {}
    for field in next(csv.reader([text])):
        name, equals, value = field.partition("=")
        if not equals:
            name, value = "count", field
        if name not in ("driver", "count", "device", "capabilities") or name in found:
            raise ValueError(f'"{field}": expected all, a number, driver=, count=, device= or capabilities=, each once')
        found[name] = value
    devices = tuple(found["device"].split(",")) if "device" in found else ()
    if devices and "count" in found:
        raise ValueError("count and device cannot both be given")
    capabilities = dict.fromkeys((_GPU, *filter(None, found.get("capabilities", "").split(","))))
    return DeviceRequest(
        driver=found.get("driver", ""),
        count=0 if devices else parse_count(found.get("count", "1")),
        device_ids=devices,
        capabilities=(tuple(capabilities),),
    )


def parse_count(text: str) -> int:
    """Read a number of devices; `all` is -1.

    Raises:
        ValueError: it is neither.

    """
    if text in ("all", str(ALL_DEVICES)):
        return ALL_DEVICES
    if not text.isdecimal():
        raise ValueError(f'"{text}" is not a count: expected all or a number')
    return int(text)
