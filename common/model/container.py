"""What runs inside a task: the `ContainerSpec` of the Docker Engine API, every field of it (API 1.47)."""

from __future__ import annotations

from common.model.naming import Model

DEFAULT_STOP_GRACE = 10_000_000_000


class DriverConfig(Model):
    name: str = ""
    options: dict[str, str] = {}


class BindOptions(Model):
    propagation: str = ""
    non_recursive: bool = False
    create_mountpoint: bool = False
    read_only_non_recursive: bool = False
    read_only_force_recursive: bool = False


class VolumeOptions(Model):
    no_copy: bool = False
    labels: dict[str, str] = {}
    driver_config: DriverConfig | None = None
    subpath: str = ""


class TmpfsOptions(Model):
    size_bytes: int = 0
    mode: int = 0
    options: tuple[tuple[str, ...], ...] = ()


class Mount(Model):
    type: str = "volume"
    source: str = ""
    target: str = ""
    read_only: bool = False
    consistency: str = ""
    bind_options: BindOptions | None = None
    volume_options: VolumeOptions | None = None
    tmpfs_options: TmpfsOptions | None = None


class HealthConfig(Model):
    """A health check; durations in nanoseconds, 0 means inherit."""

    test: tuple[str, ...] = ()
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class DnsConfig(Model):
    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


class FileTarget(Model):
    """Where in the container a secret or config appears; `mode` is the numeric permission (0o444 = 292)."""

    name: str = ""
    uid: str = "0"
    gid: str = "0"
    mode: int = 0o444


class SecretReference(Model):
    file: FileTarget | None = None
    secret_id: str = ""
    secret_name: str = ""


class RuntimeTarget(Model):
    """A config that is used by the runtime (a credential spec), not mounted."""


class ConfigReference(Model):
    file: FileTarget | None = None
    runtime: RuntimeTarget | None = None
    config_id: str = ""
    config_name: str = ""


class CredentialSpec(Model):
    config: str = ""
    file: str = ""
    registry: str = ""


class SelinuxContext(Model):
    disable: bool = False
    user: str = ""
    role: str = ""
    type: str = ""
    level: str = ""


class Seccomp(Model):
    mode: str = ""
    profile: bytes = b""


class AppArmor(Model):
    mode: str = ""


class Privileges(Model):
    credential_spec: CredentialSpec | None = None
    selinux_context: SelinuxContext | None = None
    seccomp: Seccomp | None = None
    apparmor: AppArmor | None = None
    no_new_privileges: bool = False


class Ulimit(Model):
    name: str = ""
    hard: int = 0
    soft: int = 0


class ContainerSpec(Model):
    image: str = ""
    labels: dict[str, str] = {}
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    hostname: str = ""
    env: tuple[str, ...] = ()
    dir: str = ""
    user: str = ""
    groups: tuple[str, ...] = ()
    privileges: Privileges | None = None
    init: bool | None = None
    stop_signal: str = ""
    tty: bool = False
    open_stdin: bool = False
    read_only: bool = False
    mounts: tuple[Mount, ...] = ()
    stop_grace_period: int | None = None
    healthcheck: HealthConfig | None = None
    hosts: tuple[str, ...] = ()
    dns_config: DnsConfig | None = None
    secrets: tuple[SecretReference, ...] = ()
    configs: tuple[ConfigReference, ...] = ()
    isolation: str = ""
    sysctls: dict[str, str] = {}
    capability_add: tuple[str, ...] = ()
    capability_drop: tuple[str, ...] = ()
    ulimits: tuple[Ulimit, ...] = ()
    oom_score_adj: int = 0
