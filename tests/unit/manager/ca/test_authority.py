import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from common.clock import HOUR
from common.errors import InvalidArgument
from common.model import RootKey
from common.tls import ROLE_MANAGER, ROLE_WORKER, Identity, certificate_request, new_key
from manager.ca.authority import Authority, create_root, key_of_request, new_serial

NOW = 1_700_000_000.0
DAY = 24 * HOUR


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority(create_root("cluster1", NOW))


def issue(authority: Authority, role: str, lifetime: int = 90 * DAY, now: float = NOW) -> x509.Certificate:
    identity = Identity("n1", role, "cluster1", "12345")
    chain = authority.issue(certificate_request(new_key()), identity, lifetime, now, ["10.0.0.5", "alpha"])
    return x509.load_pem_x509_certificate(chain)


def test_the_root_lasts_twenty_years_and_signs_no_authority(authority: Authority) -> None:
    root = x509.load_pem_x509_certificate(authority.root_certificate)
    assert root.not_valid_before_utc.timestamp() == NOW - 3600
    assert root.not_valid_after_utc.timestamp() == NOW + 20 * 365 * 86400
    assert isinstance(root.public_key(), ec.EllipticCurvePublicKey)
    constraints = root.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
    assert authority.cluster_id == "cluster1"


def test_a_leaf_says_who_it_is_for_and_for_how_long(authority: Authority) -> None:
    leaf = issue(authority, ROLE_WORKER)
    assert leaf.subject.rfc4514_string() == "O=cluster1,OU=swarm-worker,CN=n1"
    assert leaf.serial_number == 12345
    assert leaf.not_valid_before_utc.timestamp() == NOW - 3600
    assert leaf.not_valid_after_utc.timestamp() == NOW + 90 * 86400
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.root_certificate))


def test_a_workers_leaf_serves_under_its_own_name_alone(authority: Authority) -> None:
    worker = issue(authority, ROLE_WORKER).extensions
    assert ExtendedKeyUsageOID.SERVER_AUTH in worker.get_extension_for_class(x509.ExtendedKeyUsage).value
    names = worker.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names == x509.SubjectAlternativeName([x509.DNSName("n1.swarm-worker")])


def test_a_managers_leaf_may_be_a_server_and_has_names(authority: Authority) -> None:
    manager = issue(authority, ROLE_MANAGER).extensions
    assert ExtendedKeyUsageOID.SERVER_AUTH in manager.get_extension_for_class(x509.ExtendedKeyUsage).value
    names = manager.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["swarm-manager", "localhost", "alpha"]
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1", "10.0.0.5"]


def test_a_leaf_does_not_outlive_its_root(authority: Authority) -> None:
    late = NOW + 20 * 365 * 86400 - 86400
    leaf = issue(authority, ROLE_WORKER, now=late)
    assert leaf.not_valid_after_utc.timestamp() == NOW + 20 * 365 * 86400


def _csr(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def test_requests_for_other_keys_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="curve P-256"):
        key_of_request(_csr(rsa.generate_private_key(65537, 2048)))
    with pytest.raises(InvalidArgument, match="curve P-256"):
        key_of_request(_csr(ec.generate_private_key(ec.SECP384R1())))
    with pytest.raises(InvalidArgument, match="certificate request in PEM"):
        key_of_request(b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n")


def test_a_request_signed_by_another_key_is_refused() -> None:
    lines = _csr(ec.generate_private_key(ec.SECP256R1()))
    der = bytearray(x509.load_pem_x509_csr(lines).public_bytes(serialization.Encoding.DER))
    der[-3] ^= 1
    forged = b"-----BEGIN CERTIFICATE REQUEST-----\n" + base64.encodebytes(bytes(der))
    forged += b"-----END CERTIFICATE REQUEST-----\n"
    with pytest.raises(InvalidArgument):
        key_of_request(forged)


def test_a_key_of_another_root_is_refused() -> None:
    one, other = create_root("c", NOW), create_root("c", NOW)
    with pytest.raises(InvalidArgument, match="does not belong"):
        Authority(RootKey(certificate=one.certificate, key=other.key))


def test_serials_are_positive_and_do_not_repeat() -> None:
    serials = {int(new_serial()) for _ in range(100)}
    assert len(serials) == 100
    assert all(0 < serial < 2**159 for serial in serials)


def test_secrets_are_not_in_a_roots_repr() -> None:
    assert "PRIVATE" not in repr(create_root("c", NOW))


# --- files ------------------------------------------------------------------------------------------------------------
