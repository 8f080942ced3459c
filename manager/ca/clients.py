"""Certificates for clients of the API, as docker's command line wants them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeVar

from common.clock import HOUR, MINUTE, to_the_second
from common.errors import InvalidArgument, NotFound, PermissionDenied
from common.model.client import ROLES_BY_UNIT, ClientCertificate, Credential, Role
from common.tls import Identity
from manager.ca.authority import Authority, new_serial
from manager.store.view import View

C = TypeVar("C", bound=Credential)

MIN_LIFETIME = 1 * MINUTE
MAX_LIFETIME = 87_600 * HOUR
_CERTIFICATE_END = b"-----END CERTIFICATE-----\n"
# What X.509 allows a common name.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]{0,63}")
# How long an expired credential's record is kept: who had it is still to be found when its traces are looked at.
_KEPT_SECONDS = 90 * 86400.0


def check_terms(name: str, lifetime: int) -> None:
    """Check what a certificate is to say; `lifetime` is in nanoseconds.

    Raises:
        InvalidArgument: the name or the lifetime cannot be.

    """
    if not _NAME.fullmatch(name):
        raise InvalidArgument(
            f"name {name[:80]!r}: 1 to 64 letters, digits and any of '_.@+-', a letter or digit first"
        )
    if not MIN_LIFETIME <= lifetime <= MAX_LIFETIME:
        raise InvalidArgument("lifetime: expected between 1m and 87600h")


def issue(authority: Authority, csr: bytes, record: ClientCertificate, role: Role, lifetime: int, now: float) -> bytes:
    """Sign the certificate that `record` is of; return it alone (PEM).

    Raises:
        InvalidArgument: the request is not a valid one for an ECDSA P-256 key.

    """
    identity = Identity(record.name, role.unit, authority.cluster_id, str(int(record.id, 16)))
    chain = authority.issue(csr, identity, lifetime, now)
    end = chain.index(_CERTIFICATE_END) + len(_CERTIFICATE_END)
    return chain[:end]


def new_client_serial() -> str:
    return serial_of(new_serial())


def serial_of(decimal: str) -> str:
    """Write a serial number, in decimal as `Identity` has it, the way records of clients do."""
    return f"{int(decimal):x}"


def outdated(records: Iterable[C], now: float) -> list[C]:
    """Return the records of credentials that are no longer needed; `now` in Unix seconds."""
    return [each for each in records if each.not_after + _KEPT_SECONDS < now]


def role_of(identity: Identity) -> Role | None:
    """Return the role that a certificate is for; None when it is a node's."""
    return ROLES_BY_UNIT.get(identity.role)


def check_client(view: View, serial: str, name: str, now: float) -> ClientCertificate:
    """Return the record of a certificate that is (still) good; OpenSSL has checked its signature and its dates.

    Raises:
        PermissionDenied: it was revoked, has expired in the meantime, or there is no record of it.

    """
    record = view.client_certificates.get(serial)
    hint = "'swarm-manager client-cert' on the manager's host makes another"
    if record is None:
        raise PermissionDenied(
            f"the certificate {serial} of {name} does not belong to a client of this cluster: {hint}"
        )
    if record.revoked_at:
        raise PermissionDenied(
            f"the certificate {serial} of {name} was revoked at {to_the_second(record.revoked_at)}: {hint}"
        )
    if record.not_after < now:
        raise PermissionDenied(
            f"the certificate {serial} of {name} expired at {to_the_second(record.not_after)}: {hint}"
        )
    return record


def find(view: View, reference: str, now: float) -> list[ClientCertificate]:
    """Return what a name or a serial number (or its beginning, of 6 digits or more) means, as far as it is still good.

    Raises:
        NotFound: there is no such certificate, or all of that name have ended.
        InvalidArgument: a beginning fits several.

    """
    serial = reference.replace(":", "").lower().lstrip("0")
    live = [each for each in view.client_certificates if each.is_valid(now)]
    named = [each for each in live if each.name == reference]
    if named:
        return named
    found = [each for each in live if len(serial) >= 6 and each.id.startswith(serial)]
    if not found:
        raise NotFound(f"client certificate {reference} not found: no valid certificate has that name or serial number")
    if len(found) > 1:
        raise InvalidArgument(f"client certificate {reference} is ambiguous ({len(found)} matches found)")
    return found
