"""What of engines' answers the manager looks at, and whole the entries of lists that are merged with other nodes'.

Clients decode a merged list in one: an entry of which one field is of another kind would cost them all nodes' entries.
So what is said here of entries is all that the API has (1.24 to 1.51), and what is not said here is left out.
Names and kinds are those of the Docker Engine API; `None` is what Go writes for lists and maps that are not there.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Required, TypedDict

from msgspec import Meta, Raw

FullId = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
ExecId = Annotated[str, Meta(pattern=r"^[0-9a-f]{1,64}\Z")]
ImageId = Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{1,64}\Z")]
Name = Annotated[str, Meta(pattern=r"^/?[a-zA-Z0-9][a-zA-Z0-9_.-]*\Z", max_length=1024)]
VolumeName = Annotated[str, Meta(min_length=1, max_length=4096)]
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
# Bytes and the like, of which many nodes' are added up; -1 for what is not known.
Size = Annotated[int, Meta(ge=-1, le=2**53)]
PortNumber = Annotated[int, Meta(ge=0, le=65535)]
_BYTE = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_GROUP = "[0-9a-fA-F]{1,4}"
_IPV4 = rf"{_BYTE}(?:\.{_BYTE}){{3}}"
_IPV6 = rf"(?:{_GROUP}:){{7}}{_GROUP}"
_SHORT_IPV6 = rf"(?=.*::)(?!.*::.*::|.*:::|:[^:]|.*[^:]:\Z)(?:(?:{_GROUP})?:){{2,7}}(?:{_GROUP})?"
Address = Annotated[str, Meta(pattern=rf"^(?:{_IPV4}|{_IPV6}|{_SHORT_IPV6})?\Z")]
Mac = Annotated[str, Meta(pattern=r"^([0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5})?\Z")]
Time = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)\Z")]
Texts = list[str] | None
Labels = dict[str, str] | None


class Port(TypedDict, total=False):
    IP: Address
    PrivatePort: PortNumber
    PublicPort: PortNumber
    Type: str


class EndpointIpam(TypedDict, total=False):
    IPv4Address: Address
    IPv6Address: Address
    LinkLocalIPs: list[Address] | None


class Endpoint(TypedDict, total=False):
    IPAMConfig: EndpointIpam | None
    Links: Texts
    Aliases: Texts
    MacAddress: Mac
    DriverOpts: Labels
    GwPriority: Int64
    NetworkID: str
    EndpointID: str
    Gateway: Address
    IPAddress: Address
    IPPrefixLen: Int64
    IPv6Gateway: Address
    GlobalIPv6Address: Address
    GlobalIPv6PrefixLen: Int64
    DNSNames: Texts


class MountPoint(TypedDict, total=False):
    Type: str
    Name: str
    Source: str
    Destination: str
    Driver: str
    Mode: str
    RW: bool
    Propagation: str


class HostConfigSummary(TypedDict, total=False):
    NetworkMode: str
    Annotations: Labels


class NetworkSummary(TypedDict, total=False):
    Networks: dict[str, Endpoint | None] | None


class Platform(TypedDict, total=False):
    architecture: str
    os: str
    variant: str


class Descriptor(TypedDict, total=False):
    """A piece of content by its digest, as OCI has it."""

    mediaType: str
    digest: str
    size: Size
    urls: Texts
    annotations: Labels
    platform: Platform | None


class Container(TypedDict, total=False):
    """An entry of `GET /containers/json`."""

    Id: Required[FullId]
    Names: list[Name] | None
    Image: str
    ImageID: str
    ImageManifestDescriptor: Descriptor | None
    Command: str
    Created: Required[Int64]
    Ports: list[Port] | None
    SizeRw: Size
    SizeRootFs: Size
    Labels: Labels
    State: str
    Status: str
    HostConfig: HostConfigSummary
    NetworkSettings: NetworkSummary | None
    Mounts: list[MountPoint] | None


class ManifestSize(TypedDict, total=False):
    Content: Size
    Total: Size


class ImageData(TypedDict, total=False):
    Platform: Platform
    Containers: Texts
    Size: dict[str, Size]


class AttestationData(TypedDict, total=False):
    For: str


class Manifest(TypedDict, total=False):
    """One of several platforms' images that an image consists of."""

    ID: str
    Descriptor: Descriptor
    Available: bool
    Kind: str
    Size: ManifestSize
    ImageData: ImageData | None
    AttestationData: AttestationData | None


class Image(TypedDict, total=False):
    """An entry of `GET /images/json`."""

    Id: Required[ImageId]
    ParentId: str
    RepoTags: Texts
    RepoDigests: Texts
    Created: Int64
    Size: Size
    SharedSize: Size
    VirtualSize: Size
    Labels: Labels
    Containers: Size
    Manifests: list[Manifest] | None
    Descriptor: Descriptor | None


class UsageData(TypedDict, total=False):
    Size: Size
    RefCount: Size


class Volume(TypedDict, total=False):
    """An entry of `GET /volumes`, and what `GET /volumes/{name}` answers."""

    Name: Required[VolumeName]
    Driver: str
    Mountpoint: str
    CreatedAt: str
    Status: dict[str, Any] | None
    Labels: Labels
    Scope: str
    Options: Labels
    UsageData: UsageData | None


class BuildRecord(TypedDict, total=False):
    """An entry of the build cache."""

    ID: str
    Parent: str
    Parents: Texts
    Type: str
    Description: str
    InUse: bool
    Shared: bool
    Size: Size
    CreatedAt: Time
    LastUsedAt: Time | None
    UsageCount: Size


class VolumeList(TypedDict, total=False):
    Volumes: list[Raw] | None
    Warnings: Texts


class DiskUsage(TypedDict, total=False):
    LayersSize: Size
    Images: list[Raw] | None
    Containers: list[Raw] | None
    Volumes: list[Raw] | None
    BuildCache: list[Raw] | None


class EngineInfo(TypedDict, total=False):
    """What is shown of `GET /info`, of one engine or added up."""

    Containers: Size
    ContainersRunning: Size
    ContainersPaused: Size
    ContainersStopped: Size
    Images: Size
    Driver: str
    DriverStatus: list[list[str]] | None
    LoggingDriver: str
    CgroupDriver: str
    CgroupVersion: str
    DockerRootDir: str
    DefaultRuntime: str
    SecurityOptions: Texts
    MemoryLimit: bool
    SwapLimit: bool
    CpuCfsPeriod: bool
    CpuCfsQuota: bool
    CPUShares: bool
    CPUSet: bool
    PidsLimit: bool
    IPv4Forwarding: bool
    OomKillDisable: bool
    BridgeNfIptables: bool
    BridgeNfIp6tables: bool
    InitBinary: str


class ErrorMessage(TypedDict):
    message: str


class Removed(TypedDict, total=False):
    """What was taken away of an image: a name, or the image or layer itself."""

    Untagged: str
    Deleted: str


class Pruned(TypedDict, total=False):
    ContainersDeleted: list[FullId] | None
    VolumesDeleted: Texts
    CachesDeleted: Texts
    SpaceReclaimed: Size


class Created(TypedDict, total=False):
    """The answer to what makes a container."""

    Id: Required[FullId]
    Warnings: Texts


class CreatedExec(TypedDict):
    Id: ExecId


class Exec(TypedDict):
    ID: ExecId


class ExecInspect(TypedDict):
    """What is looked at of `GET /exec/{id}/json`."""

    ID: ExecId
    ContainerID: FullId
    ProcessConfig: dict[str, Any] | None


class ContainerConfig(TypedDict, total=False):
    Image: str
    Hostname: str
    Labels: Labels


class HostConfig(TypedDict, total=False):
    NetworkMode: str
    Dns: Texts
    DnsSearch: Texts
    DnsOptions: Texts
    PortBindings: dict[str, Any] | None


class NetworkSettings(TypedDict, total=False):
    Networks: dict[str, Endpoint | None] | None


class ContainerState(TypedDict, total=False):
    Running: bool


class ContainerInspect(TypedDict, total=False):
    """What is looked at of `GET /containers/{id}/json`."""

    Id: Required[FullId]
    Name: Required[Name]
    Created: Time
    State: ContainerState | None
    Config: ContainerConfig | None
    HostConfig: HostConfig | None
    NetworkSettings: NetworkSettings | None


class ImageConfig(TypedDict, total=False):
    Labels: Labels
    Volumes: dict[str, Any] | None


class ImageInspect(TypedDict, total=False):
    """What is looked at of `GET /images/{name}/json`."""

    Id: Required[ImageId]
    RepoTags: Texts
    RepoDigests: Texts
    Os: str
    Architecture: str
    Size: Size
    Config: ImageConfig | None


class ErrorDetail(TypedDict, total=False):
    message: str


class Progress(TypedDict, total=False):
    """What is looked at of a message of a pull, a build or a load."""

    error: str
    errorDetail: ErrorDetail | None


class EventActor(TypedDict, total=False):
    ID: str
    Attributes: Labels


# One line of `GET /events`. A class cannot have a field named `from`.
Event = TypedDict(
    "Event",
    {
        "status": str,
        "id": str,
        "from": str,
        "Type": Required[Literal["container", "image", "volume"]],
        "Action": Required[str],
        "Actor": Required[EventActor],
        "scope": Literal["local"],
        "time": Int64,
        "timeNano": Required[Annotated[int, Meta(ge=0, le=2**63 - 1)]],
    },
    total=False,
)
