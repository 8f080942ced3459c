"""The project's vocabulary: the Docker Engine API's, as frozen structs (one file an object)."""

from __future__ import annotations

from typing import TypeAlias

from common.model.attachment import NetworkAttachment
from common.model.authority import RegistryLogin, RootKey
from common.model.client import ClientCertificate, DashboardToken
from common.model.cluster import Cluster
from common.model.image import ImageName
from common.model.network import Network
from common.model.node import Node
from common.model.secret import Config, Secret
from common.model.service import Service
from common.model.task import Task, TaskState, TaskStatus
from common.model.volume import Transfer, Volume, VolumeClaim

StoredObject: TypeAlias = (
    ClientCertificate
    | Cluster
    | Config
    | DashboardToken
    | ImageName
    | Network
    | NetworkAttachment
    | Node
    | RegistryLogin
    | RootKey
    | Secret
    | Service
    | Task
    | Transfer
    | Volume
    | VolumeClaim
)

__all__ = [
    "ClientCertificate",
    "Cluster",
    "Config",
    "DashboardToken",
    "ImageName",
    "Network",
    "NetworkAttachment",
    "Node",
    "RegistryLogin",
    "RootKey",
    "Secret",
    "Service",
    "StoredObject",
    "Task",
    "TaskState",
    "TaskStatus",
    "Transfer",
    "Volume",
    "VolumeClaim",
]
