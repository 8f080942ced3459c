"""The cluster itself as the engine's API shows it."""

from __future__ import annotations

import base64
from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from common.model import Cluster
from common.model.cluster import ClusterSpec, JoinTokens
from manager.api.views.render import head, render


@lru_cache(maxsize=4)
def _tls_fields(root_certificate: str) -> tuple[str, str]:
    certificate = x509.load_pem_x509_certificate(root_certificate.encode())
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    subject = certificate.subject.public_bytes()
    return base64.b64encode(subject).decode(), base64.b64encode(key).decode()


def tls_info(cluster: Cluster) -> dict[str, str]:
    """Return what clients need to know of the cluster's root certificate; nothing when there is none."""
    if not cluster.root_certificate:
        return {}
    subject, key = _tls_fields(cluster.root_certificate)
    return {"TrustRoot": cluster.root_certificate, "CertIssuerSubject": subject, "CertIssuerPublicKey": key}


def cluster_view(cluster: Cluster) -> dict[str, Any]:
    """Render the cluster without its join tokens, as it stands in `/info`."""
    result = head(cluster)
    result["Spec"] = cluster_spec_view(cluster.spec)
    result["TLSInfo"] = tls_info(cluster)
    result["RootRotationInProgress"] = False
    result["DefaultAddrPool"] = list(cluster.default_addr_pool)
    result["SubnetSize"] = cluster.subnet_size
    result["DataPathPort"] = cluster.data_path_port
    return result


def swarm_view(cluster: Cluster, *, tokens: bool) -> dict[str, Any]:
    """Render the cluster as `GET /swarm` does: with its join tokens, or with empty ones."""
    shown = cluster.join_tokens if tokens else JoinTokens()
    return cluster_view(cluster) | {"JoinTokens": {"Worker": shown.worker, "Manager": shown.manager}}


def cluster_spec_view(spec: ClusterSpec) -> dict[str, Any]:
    """Render the cluster's spec; the signing key of the authority is left out."""
    result = render(spec)
    result.setdefault("Labels", {})
    result.setdefault("TaskDefaults", {})
    result.get("CAConfig", {}).pop("SigningCAKey", None)
    return result
