"""The certificate authority: one root, ECDSA P-256, and the leaves that it signs.

Terms as in swarmkit `ca/certificates.go`: a root for 20 years, node certificates for 90 days, all dated back one hour.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from common.clock import seconds
from common.errors import InvalidArgument, Unavailable
from common.model import RootKey
from common.model.authority import RotationPhase
from common.tls import (
    BACKDATE_SECONDS,
    MANAGER_NAME,
    ROLE_ETCD,
    ROLE_MANAGER,
    ROLE_WORKER,
    Identity,
    key_pem,
    load_key,
    peer_name,
    root_digest,
)
from manager.store.view import View

ROOT_LIFE = timedelta(days=20 * 365)
_BACKDATE = timedelta(seconds=BACKDATE_SECONDS)
_SIGNING = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)
_AUTHENTICATING = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def create_root(cluster_id: str, now: float) -> RootKey:
    """Make a new root for a cluster; `now` in Unix seconds."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, "swarm-ca"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, cluster_id),
        ]
    )
    start = _moment(now)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - _BACKDATE)
        .not_valid_after(start + ROOT_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_SIGNING, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return RootKey(certificate=certificate.public_bytes(serialization.Encoding.PEM), key=key_pem(key))


class Authority:
    """Signs certificates with the cluster's root, as it is when it is asked.

    Raises:
        InvalidArgument: the certificate and the key of the root do not belong together.

    """

    def __init__(self, root: RootKey | Callable[[], RootKey]) -> None:
        self._root = root if callable(root) else lambda: root
        self._signer = None if callable(root) else _Signer(root)

    @classmethod
    def stored(cls, view: View) -> Authority:
        """Sign with the root that the store has.

        Raises:
            Unavailable: it has none that can be used.

        """

        def root() -> RootKey:
            found = next(iter(view.root_keys), None)
            if found is None:
                raise Unavailable("the store does not have the key of the cluster's authority: restore a backup")
            return found

        authority = cls(root)
        try:
            _ = authority.digest
        except (ValueError, InvalidArgument) as error:
            raise Unavailable(f"the store's certificate authority cannot be used: {error}") from error
        return authority

    @property
    def _current(self) -> _Signer:
        root = self._root()
        if self._signer is None or root is not self._signer.root:
            self._signer = _Signer(root)
        return self._signer

    @property
    def cluster_id(self) -> str:
        return self._current.cluster_id

    @property
    def root_certificate(self) -> bytes:
        """The root (PEM) that join tokens name, and that managers prove themselves with."""
        return self._current.root.certificate

    @property
    def trusted(self) -> bytes:
        """The roots (PEM) that members are to trust: two while one is replaced."""
        return self._current.root.trusted

    @property
    def step(self) -> int:
        """How often that, or which of them signs, has changed."""
        return self._current.root.step

    @property
    def digest(self) -> str:
        """Digest the root as join tokens carry it."""
        return self._current.digest

    def issue(self, csr: bytes, identity: Identity, lifetime: int, now: float, names: Sequence[str] = ()) -> bytes:
        """Sign a leaf for the key of `csr` (PEM); everything else that the request says is ignored.

        `identity` gives node id, role and serial (decimal text, as `new_serial` makes it); `lifetime` is in
        nanoseconds, `now` in Unix seconds. A manager's certificate is also valid for `names` (addresses or host names),
        `localhost` and the name that clients ask managers for. Returns the chain (PEM): the leaf, then the root.

        Raises:
            InvalidArgument: the request is not a valid one for an ECDSA P-256 key.

        """
        return self._current.issue(csr, identity, lifetime, now, names)


class _Signer:
    """The root of one moment, read. While it is replaced, workers and clients get certificates of the `next` one.

    Managers do not: who joins believes only the root that the token names.
    """

    def __init__(self, root: RootKey) -> None:
        self.root = root
        self._next: _Signer | None = None
        if root.phase is RotationPhase.ISSUE:
            self._next = _Signer(RootKey(certificate=root.next_certificate, key=root.next_key))
        self._certificate = x509.load_pem_x509_certificate(root.certificate)
        self._key = load_key(root.key)
        if self._certificate.public_key() != self._key.public_key():
            raise InvalidArgument("the key of the certificate authority does not belong to its certificate")
        organisation = self._certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        self.cluster_id = str(organisation[0].value) if organisation else ""
        self.digest = root_digest(root.certificate)

    def issue(self, csr: bytes, identity: Identity, lifetime: int, now: float, names: Sequence[str]) -> bytes:
        if self._next is not None and identity.role != ROLE_MANAGER:
            return self._next.issue(csr, identity, lifetime, now, names)
        public_key = key_of_request(csr)
        start = _moment(now)
        end = min(start + timedelta(seconds=seconds(lifetime)), self._certificate.not_valid_after_utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_subject(identity, self.cluster_id))
            .issuer_name(self._certificate.subject)
            .public_key(public_key)
            .serial_number(int(identity.serial))
            .not_valid_before(start - _BACKDATE)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_AUTHENTICATING, critical=True)
            .add_extension(x509.ExtendedKeyUsage(_usages(identity.role)), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        alternatives = _alternatives(identity, names)
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        leaf = builder.sign(self._key, hashes.SHA256())
        return leaf.public_bytes(serialization.Encoding.PEM) + self.root.certificate


def new_serial() -> str:
    """Draw a certificate's serial number: 159 random bits, in decimal."""
    return str(x509.random_serial_number())


def key_of_request(csr: bytes) -> ec.EllipticCurvePublicKey:
    """Take the public key out of a certificate request (PEM).

    Raises:
        InvalidArgument: it is not one, not signed with its own key, or not for ECDSA P-256.

    """
    try:
        request = x509.load_pem_x509_csr(csr)
        valid = request.is_signature_valid
        key = request.public_key()
    except (ValueError, InvalidSignature) as error:
        raise InvalidArgument(f"not a certificate request in PEM: {error}") from error
    if not valid:
        raise InvalidArgument("the certificate request is not signed with its own key")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidArgument("the certificate request must be for an ECDSA key on the curve P-256")
    return key


def _subject(identity: Identity, cluster_id: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, identity.node_id),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, identity.role),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, cluster_id),
        ]
    )


def _usages(role: str) -> list[x509.ObjectIdentifier]:
    """Nodes are clients and servers: whose server each may be, its alternative name says."""
    if role in (ROLE_MANAGER, ROLE_WORKER, ROLE_ETCD):
        return [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return [ExtendedKeyUsageOID.CLIENT_AUTH]


def _alternatives(identity: Identity, names: Sequence[str]) -> list[x509.GeneralName]:
    """Name what a certificate may serve as: a manager, its etcd, or one worker to other workers, never two of these."""
    if identity.role == ROLE_WORKER:
        return [x509.DNSName(peer_name(identity.node_id))]
    own = {ROLE_MANAGER: (MANAGER_NAME, "localhost", "127.0.0.1", "::1"), ROLE_ETCD: (ROLE_ETCD,)}.get(identity.role)
    if own is None:
        return []
    wanted = dict.fromkeys([*own, *names])
    result: list[x509.GeneralName] = []
    for name in wanted:
        try:
            result.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            result.append(x509.DNSName(name))
    return result


def _moment(instant: float) -> datetime:
    return datetime.fromtimestamp(int(instant), UTC)
