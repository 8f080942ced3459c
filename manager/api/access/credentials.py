"""What clients of the API show: made, listed and revoked. Not Docker's.

/swarm/client-certificates are for `docker` and other programs, /swarm/dashboard-tokens for the shared dashboard.
"""

from __future__ import annotations

from typing import Any

import msgspec

from common.clock import HOUR, rfc3339, seconds
from common.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from common.http.dashboard_token import ID_PREFIX, is_digest, parse_token
from common.model.client import ROLES_BY_LABEL, ClientCertificate, Credential, DashboardToken, Forbidden, Role
from common.model.naming import Model
from manager.api.call import Answer, Call, Reply
from manager.api.context import Context
from manager.api.leader.quorum import SingleManager
from manager.api.router import Route
from manager.ca import clients
from manager.store.levels import DASHBOARD_TOKENS
from manager.store.transaction import Transaction
from manager.store.view import View


class Order(Model):
    """What any credential is ordered with: `lifetime` is in nanoseconds, `forbidden` has words of `Forbidden`."""

    name: str = ""
    role: str = Role.OPERATOR.label
    forbidden: tuple[str, ...] = ()
    lifetime: int = 720 * HOUR


class CertificateOrder(Order):
    """A certificate; the key stays with whoever orders. The request is PEM."""

    environment: bool = False
    certificate_request: str = ""


async def create_certificate(context: Context, call: Call) -> Reply:
    order, now = call.decode(CertificateOrder), context.clock.now()
    terms = _terms(order, call, now)
    record = ClientCertificate(id=clients.new_client_serial(), environment=order.environment, **terms)
    request = order.certificate_request.encode(errors="replace")
    role = ROLES_BY_LABEL[order.role]
    certificate = clients.issue(context.authority, request, record, role, order.lifetime, now)

    def store(tx: Transaction) -> None:
        for each in clients.outdated(tx.client_certificates, now):
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
    return {**_view(record), "Environment": record.environment}


# --- what both kinds have in common ---


def _terms(order: Order, call: Call, now: float) -> dict[str, Any]:
    """Return what an order has in its record.

    Raises:
        InvalidArgument: it cannot be as it is ordered.

    """
    clients.check_terms(order.name, order.lifetime)
    if order.role not in ROLES_BY_LABEL:
        raise InvalidArgument(f"role {order.role[:80]!r}: expected one of {', '.join(ROLES_BY_LABEL)}")
    unknown = [word for word in order.forbidden if word not in {*Forbidden}]
    if unknown:
        raise InvalidArgument(f"forbidden {unknown[0][:80]!r}: expected some of {', '.join(Forbidden)}")
    if order.forbidden and order.role != Role.OPERATOR.label:
        raise InvalidArgument(f"forbidden: only an operator can be forbidden something, not the role {order.role}")
    return {
        "name": order.name,
        "role": order.role,
        "forbidden": tuple(word for word in Forbidden if word in order.forbidden),
        "not_after": now + seconds(order.lifetime),
        "issued_by": call.caller.described,
    }


def _view(record: Credential) -> dict[str, Any]:
    return {
        "ID": record.id,
        "Name": record.name,
        "Role": record.role,
        "Forbidden": list(record.forbidden),
        "CreatedAt": rfc3339(record.created_at),
        "NotAfter": rfc3339(record.not_after),
        "IssuedBy": record.issued_by,
        "RevokedAt": rfc3339(record.revoked_at),
        "RevokedBy": record.revoked_by,
    }


# --- tokens ---


class TokenOrder(Order):
    """A token, which stays with whoever orders: only its id and the digest of its secret are sent."""

    id: str = ""
    digest: str = ""
    role: str = Role.VIEWER.label


async def create_token(context: Context, call: Call) -> Reply:
    order, now = call.decode(TokenOrder), context.clock.now()
    terms = _terms(order, call, now)
    # Judged as part of a token, whose form is in one place.
    if parse_token(f"dash_{order.id.removeprefix(ID_PREFIX)}_{'x' * 43}") is None or not is_digest(order.digest):
        raise InvalidArgument("id or digest: 'swarm-manager dashboard token create' makes a token that has both")
    is_shared = not isinstance(context.quorum, SingleManager)
    record = DashboardToken(id=order.id, digest=order.digest, **terms)

    def store(tx: Transaction) -> None:
        if is_shared and tx.cluster.store_level < DASHBOARD_TOKENS:
            raise FailedPrecondition("a manager of an older release cannot read dashboard tokens: upgrade all managers")
        if tx.dashboard_tokens.get(record.id) is not None:
            raise AlreadyExists(f"there is a dashboard token {record.id} already")
        for each in clients.outdated(tx.dashboard_tokens, now):
            tx.remove(each)
        tx.put(record)

    await context.store.update(store)
    dashboards = list(context.identity.dashboards)
    return Answer(201, {"ID": record.id, "NotAfter": rfc3339(record.not_after), "Dashboards": dashboards})


async def list_tokens(context: Context, _: Call) -> Reply:
    return Answer(value=[_view(each) for each in context.store.view.dashboard_tokens])


async def revoke_token(context: Context, call: Call) -> Reply:
    """Revoke what a name or an id means; its connections end at once."""
    now = context.clock.now()

    def revoke(tx: Transaction) -> list[DashboardToken]:
        found = find_tokens(tx, call.params["id"], now)
        for each in found:
            tx.put(msgspec.structs.replace(each, revoked_at=now, revoked_by=call.caller.described))
        return found

    revoked = await context.store.update(revoke)
    return Answer(value=[{"ID": each.id, "Name": each.name} for each in revoked])


def find_tokens(view: View, reference: str, now: float) -> list[DashboardToken]:
    """Return the tokens of a name, or the one with an id, that are still good.

    Raises:
        NotFound: there is none.

    """
    live = [each for each in view.dashboard_tokens if each.is_valid(now)]
    ids = (reference, f"{ID_PREFIX}{reference}")
    found = [each for each in live if each.name == reference] or [each for each in live if each.id in ids]
    if not found:
        raise NotFound(f"dashboard token {reference} not found: no valid token has that name or id")
    return found


ROUTES = (
    Route("GET", "/swarm/client-certificates", list_certificates, needs=Role.ADMIN),
    Route("POST", "/swarm/client-certificates/create", create_certificate, needs=Role.ADMIN),
    Route("DELETE", "/swarm/client-certificates/{id}", revoke_certificate, needs=Role.ADMIN),
    Route("GET", "/swarm/dashboard-tokens", list_tokens, needs=Role.ADMIN),
    Route("POST", "/swarm/dashboard-tokens/create", create_token, needs=Role.ADMIN),
    Route("DELETE", "/swarm/dashboard-tokens/{id}", revoke_token, needs=Role.ADMIN),
)
