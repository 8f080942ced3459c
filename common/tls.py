"""Keys, certificates and TLS contexts: ECDSA P-256, TLS 1.3 only, both ends authenticated.

A certificate's subject says who its owner is: common name = node id, organisational unit = role, organisation = cluster
id (as in swarmkit `ca/certificates.go`). A manager's also has the alternative name `swarm-manager`, which every client
asks for: so OpenSSL itself refuses a worker that poses as a manager. A worker's has `NODE-ID.swarm-worker`, which other
workers ask for when they fetch images from that node, and from no other.
"""

from __future__ import annotations

import hashlib
import random
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from common.errors import InvalidArgument, Unavailable
from common.ids import to_base36
from common.process.private_files import replace_secret, write_private

MANAGER_NAME = "swarm-manager"
ROLE_MANAGER = "swarm-manager"
ROLE_WORKER = "swarm-worker"
# What the etcd of a manager shows to the others' and nothing else: the name that each of them asks for is the same.
ROLE_ETCD = "swarm-etcd"
# What workers' names among themselves end in.
PEER_DOMAIN = "swarm-worker"
# Certificates are dated back this far, so clocks that differ by less understand each other.
BACKDATE_SECONDS = 3600.0
DIGEST_DIGITS = 50
_ALERT = "alert_for_the_peer"
_CERTIFICATE_END = b"-----END CERTIFICATE-----\n"


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose certificate it is. `serial` is its number in decimal, `not_before` and `not_after` Unix seconds."""

    node_id: str
    role: str
    cluster_id: str
    serial: str = ""
    not_before: float = 0.0
    not_after: float = 0.0


@dataclass(frozen=True, slots=True)
class CredentialFiles:
    """A node's certificate, its key and the root, as PEM files in one directory.

    Chain (leaf first) and key are one file, so that a crash never leaves one without the other. `password` encrypts
    the key in it; an empty one leaves it as it is.
    """

    directory: Path
    password: str = field(default="", repr=False)

    @property
    def node(self) -> Path:
        return self.directory / "node.pem"

    @property
    def root(self) -> Path:
        return self.directory / "root.crt"

    def write(self, certificate: bytes, key: bytes, root: bytes) -> None:
        """Store all three (PEM), readable by the owner only and on disk when this returns."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self.root, root)
        write_private(self.node, certificate + _with_password(key, self.password))

    def show_in(self, context: ssl.SSLContext) -> None:
        """Show this certificate to whoever connects from now on.

        Raises:
            OSError, ssl.SSLError: it cannot be read, or the password is another.

        """
        context.load_cert_chain(self.node, password=self.password)

    def change_password(self, password: str) -> None:
        """Encrypt the key that is stored with another password; how it was stored before is overwritten.

        Raises:
            OSError: it cannot be read or written.
            InvalidArgument: the key is not encrypted with this object's password.

        """
        certificate, key = self._split()
        unlocked = key_pem(load_key(key, self.password))
        replace_secret(self.node, certificate + _with_password(unlocked, password))

    def opens(self) -> bool:
        """Whether the key that is stored is encrypted with this password, or with none if that is empty."""
        try:
            load_key(self._split()[1], self.password)
        except (OSError, ValueError, InvalidArgument):
            return False
        return True

    def _split(self) -> tuple[bytes, bytes]:
        """Return the certificates and the private key that are stored."""
        content = self.node.read_bytes()
        end = content.rindex(_CERTIFICATE_END) + len(_CERTIFICATE_END)
        return content[:end], content[end:]

    def identity(self) -> Identity:
        """Read whose certificate is stored here.

        Raises:
            Unavailable: there is none, or it cannot be read.

        """
        return identity_in(self.node)


def new_key() -> bytes:
    """Make a private key (PEM, PKCS #8, not encrypted)."""
    return key_pem(ec.generate_private_key(ec.SECP256R1()))


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _with_password(key: bytes, password: str) -> bytes:
    """Encrypt a private key (PEM) with a password; with an empty one leave it as it is."""
    if not password:
        return key
    encryption = serialization.BestAvailableEncryption(password.encode())
    return load_key(key).private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def load_key(pem: bytes, password: str = "") -> ec.EllipticCurvePrivateKey:
    """Read a private key, which is encrypted with the password, or not at all if that is empty.

    Raises:
        InvalidArgument: it is not such a key, or not ECDSA P-256.

    """
    try:
        key = serialization.load_pem_private_key(pem, password=password.encode() or None)
    except (ValueError, TypeError) as error:
        raise InvalidArgument(f"not a private key in PEM: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidArgument("the private key must be ECDSA on the curve P-256")
    return key


def certificate_request(key: bytes, common_name: str = "swarm-node") -> bytes:
    """Make a certificate request (PEM) for a key (PEM). The authority ignores its subject."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(load_key(key), hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def browsers_file(name: str, key: bytes, certificate: bytes, root: bytes, password: str) -> bytes:
    """Return a key and its certificates (PEM) as PKCS #12, encrypted: what browsers import."""
    own, authority = x509.load_pem_x509_certificate(certificate), x509.load_pem_x509_certificate(root)
    encryption = serialization.BestAvailableEncryption(password.encode())
    return pkcs12.serialize_key_and_certificates(name.encode(), load_key(key), own, [authority], encryption)


def identity_of(certificate: x509.Certificate) -> Identity:
    """Read who a certificate was made for; parts of the subject that are absent are empty."""

    def first(oid: x509.ObjectIdentifier) -> str:
        values = certificate.subject.get_attributes_for_oid(oid)
        return str(values[0].value) if values else ""

    return Identity(
        node_id=first(NameOID.COMMON_NAME),
        role=first(NameOID.ORGANIZATIONAL_UNIT_NAME),
        cluster_id=first(NameOID.ORGANIZATION_NAME),
        serial=str(certificate.serial_number),
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
    )


def identity_in(file: Path) -> Identity:
    """Read whose certificate is the first in a PEM file.

    Raises:
        Unavailable: there is none, or it cannot be read.

    """
    try:
        return identity_of(x509.load_pem_x509_certificate(file.read_bytes()))
    except (OSError, ValueError) as error:
        raise Unavailable(f"no usable certificate in {file}: {error}") from error


def identity_of_der(der: bytes) -> Identity:
    return identity_of(x509.load_der_x509_certificate(der))


def root_digest(root_certificate: bytes) -> str:
    """Digest a root certificate (PEM) as tokens carry it: SHA-256 of its DER form, 50 digits of base 36.

    Of the DER form, not of the PEM text as in swarmkit: a changed line end does not make it another certificate.

    Raises:
        InvalidArgument: it is not a certificate.

    """
    try:
        certificate = x509.load_pem_x509_certificate(root_certificate)
    except ValueError as error:
        raise InvalidArgument(f"not a certificate in PEM: {error}") from error
    der = certificate.public_bytes(serialization.Encoding.DER)
    return to_base36(int.from_bytes(hashlib.sha256(der).digest()), DIGEST_DIGITS)


def renewal_time(identity: Identity, rng: random.Random) -> float:
    """Choose when to renew: at a random 50-80 % of the certificate's life (swarmkit `ca/renewer.go`), Unix seconds."""
    life = identity.not_after - identity.not_before
    return identity.not_before + life * rng.uniform(0.5, 0.8)


def server_context(files: CredentialFiles) -> ssl.SSLContext:
    """Make a manager's context. A client may come without a certificate (to join); one of another authority may not."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.num_tickets = 0  # a resumed session would not show a certificate again
    return _strict(context, files)


def api_context(files: CredentialFiles) -> ssl.SSLContext:
    """Make the context of a manager's API: a client must show a certificate of this cluster, of any role."""
    context = TellingContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslobject_class = _TellingObject
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0
    return _strict(context, files)


class TellingContext(ssl.SSLContext):
    """A context whose handshakes, when they fail, leave the alert that tells the peer why in their error: `alert_in`.

    Event loops drop it with the connection, and the peer would read nothing but an end of file.
    """

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        wrapped = super().wrap_bio(incoming, outgoing, *args, **kwargs)
        if isinstance(wrapped, _TellingObject):
            wrapped.outgoing = outgoing
        return wrapped


class _TellingObject(ssl.SSLObject):
    outgoing: ssl.MemoryBIO

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            setattr(error, _ALERT, self.outgoing.read())
            raise


def alert_in(error: BaseException) -> bytes:
    """Return the bytes that tell the peer of a failed handshake why; empty when there are none."""
    return bytes(getattr(error, _ALERT, b""))


def public_context(files: CredentialFiles | None = None) -> ssl.SSLContext:
    """Make the context of a manager's shared dashboard: browsers come without a certificate, and show a token.

    Without `files` it has no certificate yet.
    """
    context = TellingContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslobject_class = _TellingObject
    context.num_tickets = 0
    return _strict(context, files)


def follow_context(front: ssl.SSLContext, present: Callable[[], ssl.SSLContext]) -> None:
    """Let each handshake that begins in `front`, a server's context, go on in the context that is present by then.

    So what a server shows and whom it believes changes, and a root that was believed is believed no more, while it
    listens. OpenSSL calls back whether the client names a server or not.
    """

    def change(connection: ssl.SSLObject, _name: str | None, _front: ssl.SSLContext) -> None:
        connection.context = present()

    front.sni_callback = change


def peer_name(node_id: str) -> str:
    """Return the name in a worker's certificate that other workers ask for."""
    return f"{node_id}.{PEER_DOMAIN}"


def peer_context(files: CredentialFiles) -> ssl.SSLContext:
    """Make the context with which a worker serves other workers: each must show a certificate of this cluster."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0
    return _strict(context, files)


def client_context(files: CredentialFiles) -> ssl.SSLContext:
    """Make a node's context: it shows its certificate and accepts managers of its own cluster only."""
    return _strict(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), files)


def pinned_context(root_certificate: bytes) -> ssl.SSLContext:
    """Make a joining client's context: no certificate of its own, and this root (PEM) as the only authority."""
    context = _strict(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    context.load_verify_locations(cadata=root_certificate.decode("ascii"))
    return context


def unverified_context() -> ssl.SSLContext:
    """Make the context to fetch a root certificate with; nothing secret may be said over it."""
    context = _strict(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _strict(context: ssl.SSLContext, files: CredentialFiles | None = None) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    if files is None:
        return context
    try:
        context.load_verify_locations(files.root)
        files.show_in(context)
    except (OSError, ssl.SSLError) as error:
        raise Unavailable(f"cannot load the certificate in {files.directory}: {error}") from error
    return context
