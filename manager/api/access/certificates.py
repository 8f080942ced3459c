"""/swarm/client-certificates: making, listing and revoking the certificates of the API's clients. Not Docker's."""

from __future__ import annotations

from typing import Any

import msgspec

from common.clock import HOUR, rfc3339, seconds
from common.errors import InvalidArgument
from common.model.client import ROLES_BY_LABEL, ClientCertificate, Forbidden, Role
from common.model.naming import Model
from manager.api.call import Answer, Call, Reply
from manager.api.context import Context
from manager.api.router import Route
from manager.ca import clients
from manager.store.transaction import Transaction


class CertificateOrder(Model):
    """What is ordered; the key stays with whoever orders.

    `lifetime` is in nanoseconds, the request is PEM, `forbidden` has words of `common.model.client.Forbidden`.
    """

    name: str = ""
    role: str = Role.OPERATOR.label
    environment: bool = False
    forbidden: tuple[str, ...] = ()
    lifetime: int = 720 * HOUR
    certificate_request: str = ""


async def create_certificate(context: Context, call: Call) -> Reply:
    order = call.decode(CertificateOrder)
    clients.check_terms(order.name, order.lifetime)
    role = _role(order.role)
    _check_forbidden(order, role)
    now = context.clock.now()
    record = ClientCertificate(
        id=clients.new_client_serial(),
        name=order.name,
        role=role.label,
        environment=order.environment,
        forbidden=tuple(word for word in Forbidden if word in order.forbidden),
        not_after=now + seconds(order.lifetime),
        issued_by=call.caller.described,
    )
    request = order.certificate_request.encode(errors="replace")
    certificate = clients.issue(context.authority, request, record, role, order.lifetime, now)

    def store(tx: Transaction) -> None:
        for each in clients.expired_records(tx, now):
            tx.remove(each)
        tx.put(record)

    await context.store.update(store)
    answer = {
        "ID": record.id,
        "Certificate": certificate.decode(),
        "CA": context.authority.trusted.decode(),
        "NotAfter": rfc3339(record.not_after),
        "Hosts": list(context.identity.hosts),
    }
    return Answer(201, answer)


async def list_certificates(context: Context, _: Call) -> Reply:
    return Answer(value=[certificate_view(each) for each in context.store.view.client_certificates])


async def revoke_certificate(context: Context, call: Call) -> Reply:
    """Revoke what a name or serial number means; its connections end at once."""
    now = context.clock.now()

    def revoke(tx: Transaction) -> list[ClientCertificate]:
        found = clients.find(tx, call.params["id"], now)
        for each in found:
            tx.put(msgspec.structs.replace(each, revoked_at=now, revoked_by=call.caller.described))
        return found

    revoked = await context.store.update(revoke)
    return Answer(value=[{"ID": each.id, "Name": each.name} for each in revoked])


def certificate_view(record: ClientCertificate) -> dict[str, Any]:
    return {
        "ID": record.id,
        "Name": record.name,
        "Role": record.role,
        "Environment": record.environment,
        "Forbidden": list(record.forbidden),
        "CreatedAt": rfc3339(record.created_at),
        "NotAfter": rfc3339(record.not_after),
        "IssuedBy": record.issued_by,
        "RevokedAt": rfc3339(record.revoked_at),
        "RevokedBy": record.revoked_by,
    }


def _role(label: str) -> Role:
    if label not in ROLES_BY_LABEL:
        raise InvalidArgument(f"role {label[:80]!r}: expected one of {', '.join(ROLES_BY_LABEL)}")
    return ROLES_BY_LABEL[label]


def _check_forbidden(order: CertificateOrder, role: Role) -> None:
    unknown = [word for word in order.forbidden if word not in {*Forbidden}]
    if unknown:
        raise InvalidArgument(f"forbidden {unknown[0][:80]!r}: expected some of {', '.join(Forbidden)}")
    if order.forbidden and role is not Role.OPERATOR:
        raise InvalidArgument(f"forbidden: only an operator can be forbidden something, not the role {role.label}")


ROUTES = (
    Route("GET", "/swarm/client-certificates", list_certificates, needs=Role.ADMIN),
    Route("POST", "/swarm/client-certificates/create", create_certificate, needs=Role.ADMIN),
    Route("DELETE", "/swarm/client-certificates/{id}", revoke_certificate, needs=Role.ADMIN),
)
