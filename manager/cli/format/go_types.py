"""The types that docker's client reads the API's answers into, as far as a template can tell them from others.

A field that an answer leaves out has its type's zero value, and a name that the type does not have is an error. So it
is with JSON that `to_go` has given its type. A map has the keys that it has, as has an object of a type not told here.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import msgspec

from common.model.naming import Version
from common.model.network import IpamOptions
from common.model.node import EngineDescription, ManagerStatus, NodeResources, NodeSpec, NodeStatus
from common.model.secret import ConfigSpec, SecretSpec
from common.model.service import Endpoint, GenericResource, Platform, PortConfig, ServiceSpec, TaskSpec
from common.spec.gotemplate import NIL, NIL_LIST, NIL_MAP, Record


@dataclass(frozen=True, slots=True)
class Struct:
    """A struct, or with `pointer` what points to one: that may be nil."""

    name: str
    fields: Mapping[str, Kind]
    pointer: bool = False


@dataclass(frozen=True, slots=True)
class ListOf:
    item: Kind


@dataclass(frozen=True, slots=True)
class MapOf:
    value: Kind


# Of a scalar its zero: "", 0, 0.0, False, or NIL of a pointer.
Kind: TypeAlias = Struct | ListOf | MapOf | object


def to_go(value: Any, kind: Kind) -> object:
    """Give JSON its type."""
    match kind:
        case Struct() if isinstance(value, Mapping):
            written = {name: to_go(inner, kind.fields.get(name)) for name, inner in value.items()}
            absent = {name: _zero(inner) for name, inner in kind.fields.items() if written.get(name) is None}
            return Record(kind.name, written, absent)
        case ListOf() if isinstance(value, list):
            return [to_go(item, kind.item) for item in value]
        case MapOf() if isinstance(value, Mapping):
            return {name: to_go(inner, kind.value) for name, inner in value.items()}
    return value


def _zero(kind: Kind) -> object:
    match kind:
        case Struct():
            return NIL if kind.pointer else to_go({}, kind)
        case ListOf():
            return NIL_LIST
        case MapOf():
            return NIL_MAP
    return kind


@cache
def _model(kind: type[msgspec.Struct], *, pointer: bool = False) -> Struct:
    fields = {field.encode_name: _kind_of_annotation(field.type) for field in msgspec.structs.fields(kind)}
    return Struct(f"swarm.{kind.__name__}", fields, pointer)


def _kind_of_annotation(annotation: Any) -> Kind:
    """Read the type of a model's field: an optional one is a pointer."""
    arguments = typing.get_args(annotation)
    match typing.get_origin(annotation):
        case types.UnionType:
            inner = next(each for each in arguments if each is not types.NoneType)
            return _model(inner, pointer=True) if _is_model(inner) else NIL
        case origin if origin is tuple:
            return ListOf(_kind_of_annotation(arguments[0]))
        case origin if origin is dict:
            return MapOf(_kind_of_annotation(arguments[1]))
    if _is_model(annotation):
        return _model(annotation)
    return "" if annotation is bytes else annotation()


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, msgspec.Struct)


_TEXTS, _LABELS = ListOf(""), MapOf("")
_OBJECT: dict[str, Kind] = {"ID": "", "Version": _model(Version), "CreatedAt": "", "UpdatedAt": ""}

SERVICE = Struct(
    "swarm.Service",
    {
        **_OBJECT,
        "Spec": _model(ServiceSpec),
        "PreviousSpec": _model(ServiceSpec, pointer=True),
        "Endpoint": _model(Endpoint),
        "UpdateStatus": Struct(
            "swarm.UpdateStatus", {"State": "", "StartedAt": NIL, "CompletedAt": NIL, "Message": ""}, pointer=True
        ),
        "ServiceStatus": Struct(
            "swarm.ServiceStatus", {"RunningTasks": 0, "DesiredTasks": 0, "CompletedTasks": 0}, pointer=True
        ),
        "JobStatus": Struct("swarm.JobStatus", {"JobIteration": _model(Version), "LastExecution": ""}, pointer=True),
        "ScheduleStatus": NIL,
        "AutoscaleStatus": NIL,
    },
)
TASK = Struct(
    "swarm.Task",
    {
        **_OBJECT,
        "Name": "",
        "Labels": _LABELS,
        "Spec": _model(TaskSpec),
        "ServiceID": "",
        "Slot": 0,
        "NodeID": "",
        "Status": Struct(
            "swarm.TaskStatus",
            {
                "Timestamp": "",
                "State": "",
                "Message": "",
                "Err": "",
                "ContainerStatus": Struct(
                    "swarm.ContainerStatus", {"ContainerID": "", "PID": 0, "ExitCode": 0}, pointer=True
                ),
                "PortStatus": Struct("swarm.PortStatus", {"Ports": ListOf(_model(PortConfig))}),
            },
        ),
        "DesiredState": "",
        "NetworksAttachments": ListOf(
            Struct(
                "swarm.NetworkAttachment",
                {
                    "Network": Struct(
                        "swarm.Network",
                        {
                            **_OBJECT,
                            "Spec": Struct(
                                "swarm.NetworkSpec",
                                {
                                    "Name": "",
                                    "Labels": _LABELS,
                                    "DriverConfiguration": NIL,
                                    "IPv6Enabled": False,
                                    "Internal": False,
                                    "Attachable": False,
                                    "Ingress": False,
                                    "IPAMOptions": _model(IpamOptions, pointer=True),
                                    "ConfigFrom": NIL,
                                    "Scope": "",
                                },
                            ),
                            "DriverState": Struct("swarm.Driver", {"Name": "", "Options": _LABELS}),
                            "IPAMOptions": _model(IpamOptions, pointer=True),
                        },
                    ),
                    "Addresses": _TEXTS,
                },
            )
        ),
        "GenericResources": ListOf(_model(GenericResource)),
        "JobIteration": _model(Version, pointer=True),
        "Volumes": ListOf(None),
        "Restart": NIL,
    },
)
NODE = Struct(
    "swarm.Node",
    {
        **_OBJECT,
        "Spec": _model(NodeSpec),
        "Description": Struct(
            "swarm.NodeDescription",
            {
                "Hostname": "",
                "Platform": _model(Platform),
                "Resources": _model(NodeResources),
                "Engine": _model(EngineDescription),
                "TLSInfo": Struct(
                    "swarm.TLSInfo", {"TrustRoot": "", "CertIssuerSubject": "", "CertIssuerPublicKey": ""}
                ),
                "CSIInfo": ListOf(None),
                "Lacks": _TEXTS,
                "Encryption": "",
                "PlainContainers": NIL,
                "HostnameTaken": False,
            },
        ),
        "Status": _model(NodeStatus),
        "ManagerStatus": _model(ManagerStatus, pointer=True),
        "Refused": ListOf(None),
    },
)
SECRET = Struct("swarm.Secret", {**_OBJECT, "Spec": _model(SecretSpec)})
CONFIG = Struct("swarm.Config", {**_OBJECT, "Spec": _model(ConfigSpec)})

# From here on a struct is what the answer has and, listed here, what an engine leaves out or what is a type of its own.
NETWORK = Struct(
    "network.Inspect",
    {
        "Labels": _LABELS,
        "Options": _LABELS,
        "IPAM": Struct(
            "network.IPAM",
            {
                "Options": _LABELS,
                "Config": ListOf(
                    Struct(
                        "network.IPAMConfig",
                        {"Subnet": "", "IPRange": "", "Gateway": "", "AuxiliaryAddresses": _LABELS},
                    )
                ),
            },
        ),
        "ConfigFrom": Struct("network.ConfigReference", {"Network": ""}),
        "Peers": ListOf(Struct("network.PeerInfo", {"Name": "", "IP": ""})),
        "Services": MapOf(None),
    },
)
VOLUME = Struct(
    "volume.Volume",
    {
        "CreatedAt": "",
        "Labels": _LABELS,
        "Options": _LABELS,
        "Status": MapOf(None),
        "ClusterVolume": NIL,
        "UsageData": NIL,
    },
)
_CONTAINER_CONFIG = Struct(
    "container.Config",
    {
        "ExposedPorts": MapOf(None),
        "Volumes": MapOf(None),
        "Labels": _LABELS,
        "Healthcheck": Struct(
            "container.HealthConfig",
            {"Test": _TEXTS, "Interval": 0, "Timeout": 0, "StartPeriod": 0, "StartInterval": 0, "Retries": 0},
            pointer=True,
        ),
        "ArgsEscaped": False,
        "NetworkDisabled": False,
        "MacAddress": "",
        "OnBuild": _TEXTS,
        "StopSignal": "",
        "StopTimeout": NIL,
        "Shell": _TEXTS,
    },
    pointer=True,
)
_GRAPH_DRIVER = Struct("storage.DriverData", {"Data": _LABELS})
IMAGE = Struct(
    "image.InspectResponse",
    {
        "Parent": "",
        "Comment": "",
        "Created": "",
        "Container": "",
        "ContainerConfig": NIL,
        "DockerVersion": "",
        "Author": "",
        "Config": _CONTAINER_CONFIG,
        "Variant": "",
        "OsVersion": "",
        "VirtualSize": 0,
        "GraphDriver": _GRAPH_DRIVER,
        "RootFS": Struct("image.RootFS", {"Layers": _TEXTS}),
        "Metadata": Struct("image.Metadata", {"LastTagTime": ""}),
        "Descriptor": NIL,
        "Manifests": ListOf(None),
    },
)
CONTAINER = Struct(
    "container.InspectResponse",
    {
        "State": Struct(
            "container.State",
            {
                "Health": Struct(
                    "container.Health", {"Log": ListOf(Struct("container.HealthcheckResult", {}))}, pointer=True
                )
            },
            pointer=True,
        ),
        "Config": _CONTAINER_CONFIG,
        "HostConfig": Struct(
            "container.HostConfig",
            {
                "Annotations": _LABELS,
                "Init": NIL,
                "LogConfig": Struct("container.LogConfig", {"Config": _LABELS}),
                "Mounts": ListOf(None),
                "PortBindings": MapOf(None),
                "StorageOpt": _LABELS,
                "Sysctls": _LABELS,
                "Tmpfs": _LABELS,
            },
            pointer=True,
        ),
        "GraphDriver": _GRAPH_DRIVER,
        "ImageManifestDescriptor": NIL,
        "Mounts": ListOf(Struct("container.MountPoint", {"Name": "", "Driver": ""})),
        "NetworkSettings": Struct(
            "container.NetworkSettings",
            {
                "Ports": MapOf(None),
                "Networks": MapOf(
                    Struct(
                        "network.EndpointSettings",
                        {"IPAMConfig": NIL, "DriverOpts": _LABELS, "GwPriority": 0},
                        pointer=True,
                    )
                ),
            },
            pointer=True,
        ),
        "SizeRw": NIL,
        "SizeRootFs": NIL,
    },
)
# By the words of `inspect --type`.
OF_KIND: Mapping[str, Struct] = {
    "container": CONTAINER,
    "image": IMAGE,
    "network": NETWORK,
    "volume": VOLUME,
    "service": SERVICE,
    "task": TASK,
    "node": NODE,
    "secret": SECRET,
    "config": CONFIG,
}
