"""The cluster itself: the swarm's own specification, its authority and its tokens."""

from __future__ import annotations

from common.clock import HOUR, SECOND
from common.model.container import DriverConfig
from common.model.naming import Model, Specified

# VXLAN's, registered for it with IANA.
DEFAULT_DATA_PATH_PORT = 4789


class Orchestration(Model):
    task_history_retention_limit: int = 5


class Raft(Model):
    """Kept because clients read and send it; the store is not Raft here."""

    snapshot_interval: int = 10000
    keep_old_snapshots: int = 0
    log_entries_for_slow_followers: int = 500
    election_tick: int = 10
    heartbeat_tick: int = 1


class Dispatcher(Model):
    """`heartbeat_period` in nanoseconds; a node is down after three of them without a sign of life."""

    heartbeat_period: int = 1 * SECOND


class ExternalCA(Model):
    protocol: str = ""
    url: str = ""
    options: dict[str, str] = {}
    ca_cert: str = ""


class CAConfig(Model):
    node_cert_expiry: int = 90 * 24 * HOUR
    external_cas: tuple[ExternalCA, ...] = ()
    signing_ca_cert: str = ""
    signing_ca_key: str = ""
    force_rotate: int = 0


class TaskDefaults(Model):
    log_driver: DriverConfig | None = None


class EncryptionConfig(Model):
    auto_lock_managers: bool = False


class ClusterSpec(Model):
    name: str = "default"
    labels: dict[str, str] = {}
    orchestration: Orchestration = Orchestration()
    raft: Raft = Raft()
    dispatcher: Dispatcher = Dispatcher()
    ca_config: CAConfig = CAConfig()
    task_defaults: TaskDefaults = TaskDefaults()
    encryption_config: EncryptionConfig = EncryptionConfig()


class JoinTokens(Model):
    worker: str = ""
    manager: str = ""


class Cluster(Specified):
    """The one cluster record. `root_certificate` is PEM; its key is in `RootKey`.

    `data_path_port` is the UDP port of the tunnels between hosts. All must agree on it, so it stays as at `init`.
    `generation` counts how often the cluster was made anew from a backup or by force: no leader of before is believed.
    `tunnel_generation` numbers the keys that encrypted networks go by now, 0 before there are any; they are so since
    `tunnel_rotated_at` (Unix seconds). `unlock_key` (`SWMKEY-1-…`) locks managers' own files, empty without autolock.
    `store_level` is the level of a store that managers share (`manager.store.levels`).
    """

    spec: ClusterSpec = ClusterSpec()
    join_tokens: JoinTokens = JoinTokens()
    root_certificate: str = ""
    default_addr_pool: tuple[str, ...] = ("10.0.0.0/8",)
    subnet_size: int = 24
    data_path_port: int = DEFAULT_DATA_PATH_PORT
    tunnel_generation: int = 0
    generation: int = 0
    tunnel_rotated_at: float = 0.0
    unlock_key: str = ""
    store_level: int = 1

    @property
    def name(self) -> str:
        return self.spec.name
