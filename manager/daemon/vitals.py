"""What the manager's files say of its health."""

from __future__ import annotations

from cryptography import x509

from manager.ca.authority import Authority
from manager.config import DataDir
from manager.metrics.vitals import Vitals, changed_at, sizes


def read_vitals(data: DataDir, certificate_ends: float, authority: Authority) -> Vitals:
    """Read when certificates end, how large the store's files are, when a backup was last written."""
    root = x509.load_pem_x509_certificate(authority.root_certificate).not_valid_after_utc.timestamp()
    return Vitals(
        certificates={"manager": certificate_ends, "root": root},
        store_bytes=sizes(data.store.parent.glob(f"{data.store.name}*")),
        backed_up_at=changed_at(data.last_backup),
    )
