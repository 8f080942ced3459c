"""What the manager's files say of its health."""

from __future__ import annotations

from cryptography import x509

from common.tls import Identity
from manager.ca.authority import Authority
from manager.config import DataDir
from manager.metrics.facts import Validity, Vitals, changed_at, sizes


def read_vitals(data: DataDir, own: Identity, authority: Authority) -> Vitals:
    """Read for how long certificates are valid, how large the store's files are, when a backup was last written."""
    root = x509.load_pem_x509_certificate(authority.root_certificate)
    return Vitals(
        certificates={
            "manager": Validity(own.not_before, own.not_after),
            "root": Validity(root.not_valid_before_utc.timestamp(), root.not_valid_after_utc.timestamp()),
        },
        store_bytes=sizes(data.store.parent.glob(f"{data.store.name}*")),
        backed_up_at=changed_at(data.last_backup),
    )
