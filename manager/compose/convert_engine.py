"""What a file asks of the engine beyond `ContainerSpec` (`privileged`, `devices`, …), as `EngineOptions`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from common.model.engineoptions import Device, DeviceRequest, EngineOptions, ThrottleDevice, WeightDevice
from common.quantities import parse_size
from manager.compose.config import Tree
from manager.compose.devices import parse_device
from manager.compose.errors import KeyPath
from manager.compose.scope import Scope

# The keys whose values are the engine's own, by the field that they set.
_PLAIN = {
    "privileged": "privileged",
    "pid": "pid_mode",
    "ipc": "ipc_mode",
    "uts": "uts_mode",
    "userns_mode": "userns_mode",
    "cgroup_parent": "cgroup_parent",
    "oom_kill_disable": "oom_kill_disable",
    "cpuset": "cpuset_cpus",
    "cpu_shares": "cpu_shares",
    "memswap_limit": "memory_swap",
    "mem_swappiness": "memory_swappiness",
    "storage_opt": "storage_opt",
    "runtime": "runtime",
    "domainname": "domainname",
    "mac_address": "mac_address",
}
_RATES = ("device_read_bps", "device_write_bps", "device_read_iops", "device_write_iops")
_GPU = ("gpu",)


def engine_options(scope: Scope, at: KeyPath, service: Tree) -> EngineOptions:
    """Read the options of a service.

    Raises `ComposeError`: a device or size that cannot be read, a namespace of another service.
    """
    _refuse_shared_namespaces(scope, at, service)
    blkio = service.get("blkio_config", {})
    fields: dict[str, Any] = {field: service[key] for key, field in _PLAIN.items() if key in service}
    fields |= {f"blkio_{name}": tuple(ThrottleDevice(**each) for each in blkio.get(name, ())) for name in _RATES}
    devices = list(_devices(scope, at, service.get("devices", [])))
    return EngineOptions(
        **fields,
        cgroupns_mode=service.get("cgroupns_mode") or service.get("cgroup", ""),
        devices=tuple(each for each in devices if isinstance(each, Device)),
        device_requests=(
            *(each for each in devices if isinstance(each, DeviceRequest)),
            *_requests(scope, at, service),
        ),
        device_cgroup_rules=tuple(service.get("device_cgroup_rules", ())),
        shm_size=_shm_size(scope, at, service.get("shm_size", "0")),
        security_opt=tuple(service.get("security_opt", ())),
        blkio_weight=blkio.get("weight", 0),
        blkio_weight_device=tuple(WeightDevice(**each) for each in blkio.get("weight_device", ())),
    )


def _refuse_shared_namespaces(scope: Scope, at: KeyPath, service: Tree) -> None:
    for key in ("pid", "ipc"):
        if service.get(key, "").startswith(("service:", "container:")):
            message = f'"{service[key]}": containers of a stack may be on different hosts and cannot share this'
            raise scope.config.error((*at, key), message)


def _devices(scope: Scope, at: KeyPath, entries: Iterable[str | Tree]) -> Iterator[Device | DeviceRequest]:
    for index, entry in enumerate(entries):
        if isinstance(entry, dict):
            source: str = entry["source"]
            yield Device(
                path_on_host=source,
                path_in_container=entry.get("target", source),
                cgroup_permissions=entry.get("permissions", "rwm"),
            )
            continue
        try:
            yield parse_device(entry)
        except ValueError as error:
            raise scope.config.error((*at, "devices", index), str(error)) from None


def _requests(scope: Scope, at: KeyPath, service: Tree) -> Iterator[DeviceRequest]:
    reserved = ("deploy", "resources", "reservations", "devices")
    tree: Any = service
    for key in reserved:
        tree = tree.get(key, {})
    for path, entries, capabilities in (
        ((*at, "gpus"), service.get("gpus", ()), _GPU),
        ((*at, *reserved), tree or (), ()),
    ):
        for index, entry in enumerate(entries):
            ids = tuple(entry.get("device_ids", ()))
            if ids and entry.get("count"):
                raise scope.config.error((*path, index), "count and device_ids cannot both be given")
            yield DeviceRequest(
                driver=entry.get("driver", ""),
                # As in Compose, no count and no ids are all there are.
                count=0 if ids else entry.get("count", -1),
                device_ids=ids,
                capabilities=(tuple(dict.fromkeys((*capabilities, *entry.get("capabilities", ())))),),
                options=entry.get("options", {}),
            )


def _shm_size(scope: Scope, at: KeyPath, text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise scope.config.error((*at, "shm_size"), f'{error}; expected a size such as "64M"') from None
