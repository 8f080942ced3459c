"""What an engine can do for a container and `ContainerSpec` has no field for: privileges, devices, namespaces, limits.

It travels as JSON in one label of the container, `swarm.x.engine`, in the words of the engine's own
`POST /containers/create` (docs/adr/0010-engine-options-in-a-container-label.md). Being part of the task's template it
is compared, kept in the history and rolled back like everything else there, and clients that do not know it keep it.
"""

from __future__ import annotations

import msgspec

from common.model.container import ContainerSpec
from common.model.naming import Model

LABEL = "swarm.x.engine"
CDI_DRIVER = "cdi"
# A DeviceRequest's count that asks for all there are.
ALL_DEVICES = -1


class Device(Model, forbid_unknown_fields=True):
    """A device file of the host; `cgroup_permissions` are some of r, w and m (mknod)."""

    path_on_host: str = ""
    path_in_container: str = ""
    cgroup_permissions: str = "rwm"


class DeviceRequest(Model, forbid_unknown_fields=True):
    """Devices that a driver of the engine chooses: a `count` (-1: all) or ids, with one of the sets of capabilities."""

    driver: str = ""
    count: int = 0
    device_ids: tuple[str, ...] = msgspec.field(default=(), name="DeviceIDs")
    capabilities: tuple[tuple[str, ...], ...] = ()
    options: dict[str, str] = {}


class WeightDevice(Model, forbid_unknown_fields=True):
    path: str = ""
    weight: int = 0


class ThrottleDevice(Model, forbid_unknown_fields=True):
    """A block device and a rate: bytes or operations a second."""

    path: str = ""
    rate: int = 0


class EngineOptions(Model, forbid_unknown_fields=True):
    """The fields are those of the engine's `HostConfig`, but `domainname` and `mac_address`, which are of its `Config`.

    Sizes in bytes; `memory_swap` is memory and swap together, -1 for no limit, and `memory_swappiness` a percentage.
    """

    privileged: bool = False
    devices: tuple[Device, ...] = ()
    device_requests: tuple[DeviceRequest, ...] = ()
    device_cgroup_rules: tuple[str, ...] = ()
    shm_size: int = 0
    pid_mode: str = msgspec.field(default="", name="PidMode")
    ipc_mode: str = ""
    uts_mode: str = msgspec.field(default="", name="UTSMode")
    userns_mode: str = ""
    cgroupns_mode: str = ""
    cgroup_parent: str = ""
    oom_kill_disable: bool = False
    cpuset_cpus: str = msgspec.field(default="", name="CpusetCpus")
    cpuset_mems: str = ""
    cpu_shares: int = 0
    memory_swap: int = 0
    memory_swappiness: int | None = None
    blkio_weight: int = 0
    blkio_weight_device: tuple[WeightDevice, ...] = ()
    blkio_device_read_bps: tuple[ThrottleDevice, ...] = ()
    blkio_device_write_bps: tuple[ThrottleDevice, ...] = ()
    blkio_device_read_iops: tuple[ThrottleDevice, ...] = msgspec.field(default=(), name="BlkioDeviceReadIOps")
    blkio_device_write_iops: tuple[ThrottleDevice, ...] = msgspec.field(default=(), name="BlkioDeviceWriteIOps")
    security_opt: tuple[str, ...] = ()
    storage_opt: dict[str, str] = {}
    runtime: str = ""
    domainname: str = ""
    mac_address: str = ""


NOTHING = EngineOptions()


def parse(text: str) -> EngineOptions:
    """Read the label's text.

    Raises:
        ValueError: it is no JSON, has an unknown field or a value of another type; the message says where.

    """
    try:
        return msgspec.json.decode(text, type=EngineOptions)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from error


def options_of(spec: ContainerSpec) -> EngineOptions:
    """Return the options that a container's label holds, all unset without one.

    Raises:
        ValueError: as `parse`.

    """
    text = spec.labels.get(LABEL)
    return NOTHING if text is None else parse(text)


def with_options(spec: ContainerSpec, options: EngineOptions) -> ContainerSpec:
    """Put options into a container's label, always as the same text; none at all leave no label."""
    labels = {name: value for name, value in spec.labels.items() if name != LABEL}
    if options != NOTHING:
        labels[LABEL] = msgspec.json.encode(options).decode()
    return msgspec.structs.replace(spec, labels=labels)
