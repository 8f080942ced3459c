"""A manager's own certificate: `certificates/` in its data directory, all 0600.

`node.pem` and `root.crt` are what this manager shows on port 2377, and what it believes. With autolock the private key
in `node.pem` is encrypted with the cluster's unlock key.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509

from common.clock import Clock
from common.errors import InvalidArgument, Unavailable
from common.model import RootKey
from common.process.private_files import erase_file
from common.tls import ROLE_MANAGER, CredentialFiles, Identity, certificate_request, new_key
from manager.ca.authority import Authority, new_serial


@dataclass(frozen=True, slots=True)
class ManagerFiles:
    """The files of a manager's certificate under its data directory. `password` encrypts the key, empty: not at all."""

    data_dir: Path
    password: str = field(default="", repr=False)

    @property
    def directory(self) -> Path:
        return self.data_dir / "certificates"

    @property
    def node(self) -> CredentialFiles:
        return CredentialFiles(self.directory, self.password)

    def covers(self, names: Sequence[str]) -> bool:
        """Whether this manager's own certificate can be used, and is valid for all of these names and addresses."""
        if not self.node.opens():
            return False
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
        self.node.write(chain, key, authority.trusted)
        return self.node.identity()


@dataclass(frozen=True, slots=True)
class RootFiles:
    """The authority's root as two files, `ca.crt` and `ca.key`: where releases before stores were sealed kept it."""

    directory: Path

    @property
    def _certificate(self) -> Path:
        return self.directory / "ca.crt"

    @property
    def _key(self) -> Path:
        return self.directory / "ca.key"

    def exist(self) -> bool:
        return self._key.exists()

    def load(self) -> RootKey:
        """Read the root.

        Raises:
            Unavailable: it cannot be read.

        """
        try:
            certificate, key = self._certificate.read_bytes(), self._key.read_bytes()
            root = RootKey(certificate=certificate, key=key)
            Authority(root)
        except (OSError, ValueError, InvalidArgument) as error:
            raise Unavailable(f"cannot read the certificate authority in {self.directory}: {error}") from error
        return root

    def erase(self) -> None:
        """Overwrite and remove them, the key last: while it is there they are not erased."""
        for file in (self._certificate, self._key):
            erase_file(file)


def _canonical(name: str) -> str:
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name
