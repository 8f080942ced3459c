"""What deciders and the API read: one consistent state of the cluster, by id and by the readers' indexes."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Protocol, TypeVar

from common.model import (
    ClientCertificate,
    Cluster,
    Config,
    DashboardToken,
    ImageName,
    Network,
    NetworkAttachment,
    Node,
    RegistryLogin,
    RootKey,
    Secret,
    Service,
    StoredObject,
    Task,
    Transfer,
    Volume,
    VolumeClaim,
)

T_co = TypeVar("T_co", bound=StoredObject, covariant=True)


class TableView(Protocol[T_co]):
    """Objects of one kind. Iteration is in insertion order."""

    def get(self, object_id: str) -> T_co | None: ...

    def __iter__(self) -> Iterator[T_co]: ...

    def __len__(self) -> int: ...

    def __contains__(self, object_id: object) -> bool: ...


class NamedTableView(TableView[T_co], Protocol[T_co]):
    def named(self, name: str) -> Collection[T_co]:
        """Return the objects with exactly this name (several nodes may share a host name)."""


class NodeTableView(NamedTableView[Node], Protocol):
    def called(self, folded: str) -> Collection[Node]:
        """Return the nodes with this name, in whichever case: `common.net.addressing.fold`."""


class ServiceTableView(NamedTableView[Service], Protocol):
    def waiting(self) -> Collection[Service]:
        """Return the services that wait for others before their tasks are made or changed."""

    def autoscaled(self) -> Collection[Service]:
        """Return the services whose number of tasks is chosen by what they use."""

    def publishing(self, protocol: str, number: int) -> Collection[Service]:
        """Return the services that hold this published port, those that are being removed among them."""

    def depending_on(self, name: str) -> Collection[Service]:
        """Return the services that are to start after the one of this name."""


class TaskTableView(TableView[Task], Protocol):
    def of_service(self, service_id: str) -> Collection[Task]: ...

    def on_node(self, node_id: str) -> Collection[Task]:
        """Return the tasks of a node; of the empty id, those that have none yet."""

    def of_container(self, full_id: str) -> Collection[Task]:
        """Return the tasks whose container's id has the same first twelve digits."""

    def in_slot(self, service_id: str, slot: int, node_id: str = "") -> Collection[Task]:
        """Return all tasks, old ones included, of one slot; with slot 0, of a global service's node."""


class AttachmentTableView(NamedTableView[NetworkAttachment], Protocol):
    def on_node(self, node_id: str) -> Collection[NetworkAttachment]: ...

    def of_container(self, full_id: str) -> Collection[NetworkAttachment]:
        """Return those of the containers whose ids have the same first twelve digits."""


class ImageNameTableView(NamedTableView[ImageName], Protocol):
    def of_image(self, image_id: str) -> Collection[ImageName]:
        """Return the names of an image."""


class VolumeTableView(NamedTableView[Volume], Protocol):
    def on_node(self, node_id: str) -> Collection[Volume]: ...


class VolumeClaimTableView(NamedTableView[VolumeClaim], Protocol):
    """`named` finds them by their volumes' names."""

    def on_node(self, node_id: str) -> Collection[VolumeClaim]: ...

    def of_service(self, service: str) -> Collection[VolumeClaim]:
        """Return the claims of a service's slots, by its name; of services that are gone, too."""


class View(Protocol):
    """A consistent state: the live store between two awaits, or a transaction's own."""

    @property
    def services(self) -> ServiceTableView: ...
    @property
    def tasks(self) -> TaskTableView: ...
    @property
    def nodes(self) -> NodeTableView: ...
    @property
    def networks(self) -> NamedTableView[Network]: ...
    @property
    def attachments(self) -> AttachmentTableView: ...
    @property
    def secrets(self) -> NamedTableView[Secret]: ...
    @property
    def configs(self) -> NamedTableView[Config]: ...
    @property
    def image_names(self) -> ImageNameTableView: ...
    @property
    def client_certificates(self) -> NamedTableView[ClientCertificate]: ...
    @property
    def dashboard_tokens(self) -> NamedTableView[DashboardToken]: ...
    @property
    def registry_logins(self) -> TableView[RegistryLogin]: ...
    @property
    def root_keys(self) -> TableView[RootKey]: ...
    @property
    def clusters(self) -> NamedTableView[Cluster]: ...
    @property
    def volumes(self) -> VolumeTableView: ...
    @property
    def transfers(self) -> NamedTableView[Transfer]: ...
    @property
    def volume_claims(self) -> VolumeClaimTableView: ...

    @property
    def index(self) -> int:
        """The version index of the last change in this state."""

    @property
    def cluster(self) -> Cluster:
        """The one cluster record.

        Raises:
            Unavailable: there is no cluster yet.

        """
