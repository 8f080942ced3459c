"""Certificates of the API's clients: what they say, and how their records are found."""

from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from common.clock import HOUR
from common.errors import InvalidArgument, NotFound
from common.model import ClientCertificate
from common.model.client import Role
from common.tls import ROLE_MANAGER, ROLE_WORKER, Identity, certificate_request, identity_of, new_key
from manager.ca import clients
from manager.ca.authority import Authority, create_root
from manager.store.tables import Tables

NOW = 1_700_000_000.0


def record(serial: str, name: str = "alice", **more: Any) -> ClientCertificate:
    fields: dict[str, Any] = {"not_after": NOW + 100, **more}
    return ClientCertificate(id=serial, name=name, role="viewer", **fields)


def view(*records: ClientCertificate) -> Tables:
    result = Tables()
    for each in records:
        result.of(ClientCertificate).put(each)
    return result


@pytest.mark.parametrize("role", list(Role))
def test_a_certificate_says_whose_it_is_and_is_no_servers(role: Role) -> None:
    authority = Authority(create_root("cluster1", NOW))
    serial = clients.new_client_serial()
    pem = clients.issue(authority, certificate_request(new_key()), record(serial), role, 2 * HOUR, NOW)
    assert pem.count(b"BEGIN CERTIFICATE") == 1
    leaf = x509.load_pem_x509_certificate(pem)
    assert leaf.subject.rfc4514_string() == f"O=cluster1,OU={role.unit},CN=alice"
    assert f"{leaf.serial_number:x}" == serial == clients.serial_of(identity_of(leaf).serial)
    assert leaf.not_valid_after_utc.timestamp() == NOW + 7200
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    with pytest.raises(x509.ExtensionNotFound):  # no name that a server could be asked for
        leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert clients.role_of(identity_of(leaf)) is role


@pytest.mark.parametrize("unit", [ROLE_WORKER, ROLE_MANAGER, "", "admin", "swarm-ADMIN"])
def test_other_units_are_no_roles(unit: str) -> None:
    assert clients.role_of(Identity("x", unit, "cluster1")) is None


def test_a_name_means_all_its_certificates_that_are_good() -> None:
    records = [record("aaaa11"), record("aaaa22"), record("bbbb33", "bob")]
    ended = [record("aaaa44", revoked_at=NOW - 1), record("aaaa55", not_after=NOW - 1)]
    assert clients.find(view(*records, *ended), "alice", NOW) == records[:2]


@pytest.mark.parametrize("reference", ["abcdef0123", "ABCDEF0123", "ab:cd:ef:01:23", "0abcdef", "abcdef"])
def test_a_serial_number_as_other_tools_write_it(reference: str) -> None:
    (found,) = clients.find(view(record("abcdef0123"), record("abcdee")), reference, NOW)
    assert found.id == "abcdef0123"


def test_beginnings_that_are_too_short_or_of_several() -> None:
    both = view(record("abcdef01"), record("abcdef02"))
    with pytest.raises(NotFound):
        clients.find(both, "abcde", NOW)
    with pytest.raises(InvalidArgument, match="ambiguous"):
        clients.find(both, "abcdef", NOW)


@pytest.mark.parametrize("name", ["alice", "ci+deploy@example.org", "9", "a" * 64])
def test_names_that_are_taken(name: str) -> None:
    clients.check_terms(name, HOUR)


@pytest.mark.parametrize("name", ["", " ", "-a", ".", "a/b", "a\nb", "é", "a" * 65])
def test_names_that_are_not(name: str) -> None:
    with pytest.raises(InvalidArgument, match="1 to 64 letters"):
        clients.check_terms(name, HOUR)
