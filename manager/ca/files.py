"""Where a manager keeps its authority and its own certificate: `certificates/` in the data directory, all 0600.

`ca.key` and `ca.crt` are the root; `node.pem` and `root.crt` what this manager shows on port 2377.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from common.clock import Clock
from common.errors import AlreadyExists, InvalidArgument, Unavailable
from common.process.private_files import write_private
from common.tls import ROLE_MANAGER, CredentialFiles, Identity, certificate_request, new_key
from manager.ca.authority import Authority, Root, create_root, new_serial


@dataclass(frozen=True, slots=True)
class AuthorityFiles:
    """The files of a manager's certificates under its data directory."""

    data_dir: Path

    @property
    def directory(self) -> Path:
        return self.data_dir / "certificates"

    @property
    def node(self) -> CredentialFiles:
        return CredentialFiles(self.directory)

    def create(self, cluster_id: str, clock: Clock) -> Authority:
        """Make a new root and store it.

        Raises:
            AlreadyExists: there is one already; it is left as it is.

        """
        if (self.directory / "ca.key").exists():
            raise AlreadyExists(f"{self.directory} already holds a certificate authority: this manager has a cluster")
        root = create_root(cluster_id, clock.now())
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self.directory / "ca.crt", root.certificate)
        write_private(self.directory / "ca.key", root.key)
        return Authority(root)

    def load(self) -> Authority:
        """Read the root.

        Raises:
            Unavailable: it is not there or cannot be read.

        """
        try:
            certificate = (self.directory / "ca.crt").read_bytes()
            return Authority(Root(certificate, (self.directory / "ca.key").read_bytes()))
        except (OSError, ValueError, InvalidArgument) as error:
            raise Unavailable(f"cannot read the certificate authority in {self.directory}: {error}") from error

    def covers(self, names: Sequence[str]) -> bool:
        """Whether this manager's own certificate can be read, and is valid for all of these names and addresses."""
        try:
            leaf = x509.load_pem_x509_certificate(self.node.node.read_bytes())
        except (OSError, ValueError):
            return False
        alternatives = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        addresses = map(str, alternatives.get_values_for_type(x509.IPAddress))
        known = {*alternatives.get_values_for_type(x509.DNSName), *addresses}
        return all(_canonical(name) in known for name in names)

    def issue_own(
        self, authority: Authority, node_id: str, addresses: Sequence[str], lifetime: int, clock: Clock
    ) -> Identity:
        """Make this manager's own certificate with a fresh key and store it; also to renew it.

        `addresses` are what it is reached at, names or IP addresses, `lifetime` is in nanoseconds.
        """
        key = new_key()
        identity = Identity(node_id, ROLE_MANAGER, authority.cluster_id, new_serial())
        chain = authority.issue(certificate_request(key), identity, lifetime, clock.now(), addresses)
        self.node.write(chain, key, authority.root_certificate)
        return self.node.identity()


def _canonical(name: str) -> str:
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name
