"""A certificate authority for tests: real keys, real contexts, in a temporary directory."""

import ssl
from pathlib import Path

from common.clock import HOUR, SystemClock
from common.tls import (
    ROLE_MANAGER,
    ROLE_WORKER,
    CredentialFiles,
    Identity,
    certificate_request,
    client_context,
    new_key,
    server_context,
)
from manager.ca.authority import Authority, create_root, new_serial

DAY = 24 * HOUR


class Pki:
    """One cluster's authority and the files that it made."""

    def __init__(self, directory: Path, cluster_id: str = "cluster1", authority: Authority | None = None) -> None:
        self.directory = directory
        self.authority = authority or Authority(create_root(cluster_id, SystemClock().now()))

    def files(
        self,
        node_id: str,
        role: str = ROLE_WORKER,
        *,
        now: float | None = None,
        lifetime: int = 90 * DAY,
        serial: str = "",
    ) -> CredentialFiles:
        key = new_key()
        identity = Identity(node_id, role, self.authority.cluster_id, serial or new_serial())
        instant = SystemClock().now() if now is None else now
        chain = self.authority.issue(certificate_request(key), identity, lifetime, instant, ["127.0.0.1"])
        files = CredentialFiles(self.directory / f"{self.authority.cluster_id}-{role}-{node_id}")
        files.write(chain, key, self.authority.root_certificate)
        return files

    def server(self, node_id: str = "manager1") -> ssl.SSLContext:
        return server_context(self.files(node_id, ROLE_MANAGER))

    def worker(self, node_id: str = "worker1", *, serial: str = "") -> ssl.SSLContext:
        return client_context(self.files(node_id, serial=serial))
