"""Where a manager is reached, as its flags say it, and what this host's own addresses make of that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from common.errors import InvalidArgument
from common.net import host_addresses
from common.net.addressing import ANY_ADDRESS, is_one_host
from common.process.launch import MANAGER_HOST
from common.wire.messages import DEFAULT_PORT
from manager.config import (
    DashboardConfig,
    ManagerConfig,
    bracket_host,
    check_hosts,
    check_tls_names,
    split_address,
)


@dataclass(frozen=True, slots=True)
class AddressFlags:
    """What `init`, `join` and `restore` are told of a manager's addresses; what is None or empty was not given.

    advertise: `--advertise-addr`, where the cluster's hosts reach it, `IP[:PORT]`.
    listen: `--listen-addr`, where it listens for them, `ADDRESS[:PORT]`.
    hosts: `--host`, where the API listens, `unix:///PATH` or `tcp://ADDRESS:PORT`.
    tls_names: `--tls-san`, more names and addresses at which clients reach the API.
    """

    advertise: str | None = None
    listen: str | None = None
    hosts: Sequence[str] = ()
    tls_names: Sequence[str] = ()

    def configure(self, node_id: str) -> ManagerConfig:
        """Return a manager's configuration: one address of this host, and the usual ports, where none was given.

        Raises:
            InvalidArgument: an address is malformed, or there are several to choose from.

        """
        advertised = self.advertise or host_addresses.choose_advertised_address()
        host, port = split_address(advertised, self._listening_port(DEFAULT_PORT))
        if host in ANY_ADDRESS:
            raise InvalidArgument(
                f"--advertise-addr {self.advertise}: give one address at which the other hosts reach this one"
            )
        if not is_one_host(host):
            raise InvalidArgument(
                f"--advertise-addr {self.advertise}: expected an IP address of this host, such as 192.0.2.10"
            )
        listen_host, listen_port = split_address(self.listen, port) if self.listen else ("", port)
        return ManagerConfig(
            node_id=node_id,
            advertise_addr=f"{bracket_host(host)}:{port}",
            listen_addr=f"{bracket_host(listen_host)}:{listen_port}",
            hosts=check_hosts(self.hosts) or (MANAGER_HOST,),
            tls_names=check_tls_names(self.tls_names),
        )

    def configure_again(self, before: ManagerConfig) -> ManagerConfig:
        """Return the configuration of a manager that is restored: what was not given is as `before`, if it fits here.

        Raises:
            InvalidArgument: an address is malformed, or there are several to choose from.

        """
        address, port = split_address(before.advertise_addr)
        advertise = self.advertise
        if advertise is None:
            own = host_addresses.addresses()
            advertise = address if address in own or not own else host_addresses.choose_advertised_address()
        host, port = split_address(advertise, self._listening_port(port))
        completed = AddressFlags(
            advertise=f"{bracket_host(host)}:{port}",
            listen=self.listen,
            hosts=self.hosts or before.hosts,
            tls_names=self.tls_names or before.tls_names,
        )
        config = completed.configure(before.node_id)
        if config.advertise_addr == before.advertise_addr and not self.listen:
            config = msgspec.structs.replace(config, listen_addr=before.listen_addr)
        # Who says where the API listens may try a backup beside the manager that serves the dashboard.
        return config if self.hosts else config.with_dashboard(dashboard_on_this_host(before.dashboard))

    def _listening_port(self, otherwise: int) -> int:
        """Return the port that is listened on, which is advertised where `--advertise-addr` names none."""
        return split_address(self.listen, otherwise)[1] if self.listen else otherwise


def dashboard_on_this_host(before: DashboardConfig | None) -> DashboardConfig | None:
    """Return what this host can have of a shared dashboard: its addresses here, and a certificate whose files are."""
    if before is None:
        return None
    own = {*host_addresses.addresses(), *ANY_ADDRESS}
    hosts = tuple(each for each in before.hosts if split_address(each.removeprefix("tcp://"))[0] in own)
    files = (before.certificate, before.key)
    certificate, key = files if all(Path(file).is_file() for file in files) else ("", "")
    return msgspec.structs.replace(before, hosts=hosts, certificate=certificate, key=key)


def foreign_address(advertised: str) -> str:
    """Return a warning when an address to advertise, `IP:PORT`, is not one of this host's; else nothing."""
    host, port = split_address(advertised)
    if host_addresses.is_own(host):
        return ""
    return (
        f"--advertise-addr {host} is not an address of this host: other hosts find the manager only where something "
        f"(NAT, a load balancer) takes TCP {port} there to this one"
    )
