"""The assignment set: what the manager wants of this node, as a value. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from common.model.attachment import NetworkAttachment
from common.model.network import Network
from common.model.node import TunnelKey
from common.model.secret import Config, Secret
from common.model.task import Task
from common.wire.messages import Assignments, Peer, ServiceEndpoint


class _Identified(Protocol):
    @property
    def id(self) -> str: ...


T = TypeVar("T")
O = TypeVar("O", bound=_Identified)  # noqa: E741 - an object


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignmentSet:
    """Everything that this node is to run and to know, by id. `number` is the manager's name for this very set.

    `data_path_port` is 0 where no manager has said one. `tunnel_keys` is None until a manager has said them: they are
    not kept on disk. `hostname` is what the node is called in the cluster, empty where that is what it calls itself.
    """

    number: int = 0
    node_number: int = 0
    address_pools: tuple[str, ...] = ()
    data_path_port: int = 0
    hostname: str = ""
    tasks: Mapping[str, Task] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    configs: Mapping[str, Config] = field(default_factory=dict)
    networks: Mapping[str, Network] = field(default_factory=dict)
    attachments: Mapping[str, NetworkAttachment] = field(default_factory=dict)
    endpoints: Mapping[str, ServiceEndpoint] = field(default_factory=dict)
    peers: Mapping[str, Peer] = field(default_factory=dict)
    tunnel_keys: tuple[TunnelKey, ...] | None = None

    def apply(self, message: Assignments) -> AssignmentSet | None:
        """Return the set after a message, None when the message is meant for another set than this."""
        if not message.complete and message.applies_to != self.number:
            return None
        old = AssignmentSet() if message.complete else self
        return AssignmentSet(
            number=message.results_in,
            node_number=message.node_number or old.node_number,
            address_pools=message.address_pools or old.address_pools,
            data_path_port=message.data_path_port or old.data_path_port,
            hostname=message.hostname or old.hostname,
            tasks=_merge_changes(old.tasks, _by_id(message.tasks), message.removed_tasks),
            secrets=_merge_changes(old.secrets, _by_id(message.secrets), message.removed_secrets),
            configs=_merge_changes(old.configs, _by_id(message.configs), message.removed_configs),
            networks=_merge_changes(old.networks, _by_id(message.networks), message.removed_networks),
            attachments=_merge_changes(old.attachments, _by_id(message.attachments), message.removed_attachments),
            endpoints=_merge_changes(
                old.endpoints, {end.service_id: end for end in message.endpoints}, message.removed_endpoints
            ),
            peers=_merge_changes(old.peers, {peer.node_id: peer for peer in message.peers}, message.removed_peers),
            tunnel_keys=old.tunnel_keys if message.tunnel_keys is None else message.tunnel_keys,
        )


def _by_id(objects: Iterable[O]) -> dict[str, O]:
    return {found.id: found for found in objects}


def _merge_changes(old: Mapping[str, T], new: Mapping[str, T], removed: Iterable[str]) -> Mapping[str, T]:
    """Return the old mapping itself when nothing changed, so that identity tells that."""
    merged = {**old, **new}
    for name in removed:
        merged.pop(name, None)
    return merged if new or len(merged) < len(old) else old
