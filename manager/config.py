"""What a manager was told at `init`: kept in its data directory, read by every later command and by the daemon."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from common.errors import FailedPrecondition, InvalidArgument, Unavailable
from common.http.cross_site import is_origin
from common.net.addressing import ANY_ADDRESS, is_address
from common.process.launch import MANAGER_HOST
from common.process.private_files import write_private

DEFAULT_DATA_DIR = Path("/var/lib/swarm-manager")
UNIT = "swarm-manager"
_HOST_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_-]{1,63})*")


class ExternalEtcdConfig(msgspec.Struct, frozen=True):
    """An etcd that others run: its endpoints (`https://HOST:PORT`), and PEM files, empty where not given."""

    endpoints: tuple[str, ...] = ()
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        """Its authority's root, and the certificate and key to ask it with."""
        return self.ca_file, self.cert_file, self.key_file

    def config(self, peer_addr: str, cluster_id: str) -> EtcdConfig:
        """Return a cluster's configuration of it.

        Raises:
            InvalidArgument: an endpoint is malformed, or a certificate has no key.

        """
        for each in self.endpoints:
            scheme, _, address = each.partition("://")
            if scheme not in ("https", "http") or not address or not address.rpartition(":")[2].isdecimal():
                raise InvalidArgument(f"--etcd-endpoints {each!r}: expected https://HOST:PORT")
        if bool(self.cert_file) != bool(self.key_file):
            raise InvalidArgument("--etcd-cert-file and --etcd-key-file belong together")
        return EtcdConfig(self.endpoints, *self.files, peer_addr=peer_addr, cluster_id=cluster_id)


class EtcdConfig(ExternalEtcdConfig, frozen=True, kw_only=True):
    """This manager's own etcd. `peer_addr` (`HOST:PORT`) is where the others reach it, `cluster_id` the cluster's.

    `peers` are its members as of the first start (`NAME=URL`), which it `joins` if they run already. `forced`: at its
    next start it is the only member, of what it has. With `endpoints` it is an etcd that others run: the manager starts
    none, and changes no members.
    """

    peer_addr: str
    cluster_id: str
    peers: tuple[str, ...] = ()
    joins: bool = False
    forced: bool = False


class DashboardConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where the shared dashboard listens (`tcp://ADDRESS:PORT`), and the origins that a proxy serves it under.

    `certificate` and `key` are paths of PEM files; empty, it shows the manager's own certificate.
    """

    hosts: tuple[str, ...]
    origins: tuple[str, ...] = ()
    certificate: str = ""
    key: str = ""


class ManagerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`advertise_addr` and `listen_addr` are `HOST:PORT` of the cluster's port; `hosts` are where the API listens.

    `tls_names` are more names and addresses that clients of the API reach this host at. `etcd` is there where the store
    is one of several managers'; without it, it is a file. `dashboard` is there where one is shared.
    """

    node_id: str
    advertise_addr: str
    listen_addr: str
    hosts: tuple[str, ...] = (MANAGER_HOST,)
    tls_names: tuple[str, ...] = ()
    etcd: EtcdConfig | None = None
    dashboard: DashboardConfig | None = None

    def api_listen_addrs(self) -> tuple[str, ...]:
        """Return where the API listens over TCP, `HOST:PORT`."""
        return tuple(f"{bracket_host(host)}:{port}" for host, port in _tcp_parts(self.hosts))

    def api_addresses(self) -> tuple[str, ...]:
        """Return where others reach the API, `tcp://HOST:PORT`; a wildcard stands for the advertised address."""
        advertised, _ = split_address(self.advertise_addr)
        return tuple(
            f"tcp://{bracket_host(advertised if host in ANY_ADDRESS else host)}:{port}"
            for host, port in _tcp_parts(self.hosts)
        )

    def certificate_names(self, hostname: str) -> tuple[str, ...]:
        """Return what this manager's certificate is to be valid for: all names that clients may know this host by."""
        advertised, _ = split_address(self.advertise_addr)
        hosts = (*self.hosts, *(self.dashboard.hosts if self.dashboard is not None else ()))
        served = [host for host, _ in _tcp_parts(hosts) if host not in ANY_ADDRESS]
        known = [hostname] if _HOST_NAME.fullmatch(hostname) else []
        return tuple(dict.fromkeys([advertised, *served, *known, *self.tls_names]))

    def with_api(self, hosts: Sequence[str], tls_names: Sequence[str]) -> ManagerConfig:
        """Return this with other addresses of the API, and other names, where any are given.

        Raises:
            InvalidArgument: an address is not one, or a name is neither an address nor a host name.

        """
        return msgspec.structs.replace(
            self, hosts=check_hosts(hosts) or self.hosts, tls_names=check_tls_names(tls_names) or self.tls_names
        )

    def with_dashboard(self, given: DashboardConfig | None) -> ManagerConfig:
        """Return this with another shared dashboard, where one is given; one without hosts means none."""
        if given is None:
            return self
        return msgspec.structs.replace(self, dashboard=given if given.hosts else None)

    def dashboard_addresses(self) -> tuple[str, ...]:
        """Return where browsers find the shared dashboard: the names under which a proxy serves it, else its own."""
        if self.dashboard is None:
            return ()
        advertised, _ = split_address(self.advertise_addr)
        own = (
            f"https://{bracket_host(advertised if host in ANY_ADDRESS else host)}:{port}"
            for host, port in _tcp_parts(self.dashboard.hosts)
        )
        return tuple(f"{origin}/dashboard/" for origin in self.dashboard.origins or own)


def _tcp_parts(hosts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield host and port of the addresses that are of TCP."""
    for host in hosts:
        scheme, _, address = host.partition("://")
        if scheme == "tcp":
            name, _, port = address.rpartition(":")
            yield name.strip("[]"), port


class DataDir:
    """The files of a manager, all below one directory that is for its owner only."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.config = self.path / "config.json"
        self.store = self.path / "store.db"
        self.certificates = self.path / "certificates"
        self.key = self.path / "store.key"
        self.last_backup = self.path / "last-backup"
        self.etcd = self.path / "etcd"

    def initialised(self) -> bool:
        return self.config.exists()

    def clear(self) -> None:
        """Remove a cluster's files: the configuration first, so that a half-removed cluster counts as none."""
        self.forget()
        for file in self.path.glob(f"{self.store.name}*"):
            file.unlink(missing_ok=True)
        for file in (self.key, self.last_backup):
            file.unlink(missing_ok=True)
        for folder in (self.certificates, self.etcd, self.etcd.with_name(f"{self.etcd.name}.before")):
            shutil.rmtree(folder, ignore_errors=True)

    def forget(self) -> None:
        """Have this directory count as one without a cluster, of which no manager is started."""
        self.config.unlink(missing_ok=True)

    def save(self, config: ManagerConfig) -> None:
        """Write the configuration, whole or not at all. Its presence is what says that `init` was completed."""
        write_private(self.config, msgspec.json.format(msgspec.json.encode(config)))

    def load(self) -> ManagerConfig:
        """Read the configuration.

        Raises:
            FailedPrecondition: there is no manager in this directory.
            Unavailable: the file cannot be read or is damaged.

        """
        try:
            return msgspec.json.decode(self.config.read_bytes(), type=ManagerConfig)
        except FileNotFoundError:
            raise FailedPrecondition(
                f"no manager in {self.path}: check --data-dir, or make a new cluster with 'swarm-manager init'"
            ) from None
        except OSError as error:
            raise Unavailable(f"cannot read {self.config}: {error.strerror}: run this as root") from error
        except msgspec.DecodeError as error:
            raise Unavailable(f"{self.config} is damaged: {error}: restore it from a backup") from error


NO_DASHBOARD = "none"


def dashboard_config(
    hosts: Sequence[str], origins: Sequence[str], certificate: Path | None, key: Path | None
) -> DashboardConfig:
    """Make the configuration of a shared dashboard of what somebody has typed.

    Raises:
        InvalidArgument: an address or an origin is not one, or of certificate and key one is missing.

    """
    for host in hosts:
        if not host.startswith("tcp://"):
            raise InvalidArgument(f"--dashboard-host {host!r}: expected tcp://ADDRESS:PORT, such as tcp://0.0.0.0:8443")
        split_address(host.removeprefix("tcp://"))
    for origin in origins:
        if not origin.startswith("https://") or not is_origin(origin):
            raise InvalidArgument(f"--dashboard-origin {origin!r}: expected https://HOST[:PORT], in lower case")
    if (certificate is None) is not (key is None):
        raise InvalidArgument("--dashboard-cert and --dashboard-key belong together: give both or none")
    if (origins or certificate) and not hosts:
        raise InvalidArgument("say where the dashboard listens, too: --dashboard-host tcp://ADDRESS:PORT")
    return DashboardConfig(
        hosts=tuple(hosts),
        origins=tuple(origins),
        certificate=str(certificate.absolute()) if certificate is not None else "",
        key=str(key.absolute()) if key is not None else "",
    )


def check_hosts(hosts: Sequence[str]) -> tuple[str, ...]:
    """Return the addresses when the API can listen at all of them.

    Raises:
        InvalidArgument: one is not `unix:///PATH` or `tcp://ADDRESS:PORT`.

    """
    for host in hosts:
        scheme, _, address = host.partition("://")
        name, _, port = address.rpartition(":")
        if not (address.startswith("/") if scheme == "unix" else scheme == "tcp" and name and _is_port(port)):
            raise InvalidArgument(
                f"--host {host!r}: expected unix:///PATH, or tcp://ADDRESS:PORT as tcp://0.0.0.0:2376"
            )
    return tuple(hosts)


def _is_port(text: str) -> bool:
    return text.isdecimal() and int(text) <= 65535


def check_tls_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names when a certificate can be for all of them.

    Raises:
        InvalidArgument: one is neither an address nor a host name.

    """
    for name in names:
        if not _HOST_NAME.fullmatch(name) and not is_address(name):
            raise InvalidArgument(f"--tls-san {name!r}: expected a host name or an IP address")
    return tuple(names)


def bracket_host(host: str) -> str:
    """Write a host as it stands before a port."""
    return f"[{host}]" if ":" in host else host


def split_address(text: str, default_port: int = 2377) -> tuple[str, int]:
    """Split `HOST[:PORT]`, IPv6 hosts in brackets when they have a port; no host means every address.

    Raises:
        InvalidArgument: it is neither.

    """
    host, colon, port = text.rpartition(":")
    if not colon or (text.count(":") > 1 and not text.startswith("[")):
        return text.strip("[]"), default_port
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise InvalidArgument(f"address {text!r} is not HOST or HOST:PORT, such as 192.0.2.10:2377")
    return host.strip("[]"), int(port)
