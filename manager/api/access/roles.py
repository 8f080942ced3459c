"""Who calls, and whether they may: roles, and the one check before every handler. Pure.

The certificate that OpenSSL has verified says who is at the other end of a connection, or on a unix socket the kernel.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass, replace

from common.errors import PermissionDenied
from common.http.dashboard_token import is_token_id
from common.model.client import ROLES_BY_LABEL, Credential, Role
from common.tls import identity_of_der
from common.wire.manager_messages import CallerRecord
from manager.api.errors import EngineError, invalid
from manager.ca.clients import check_client, role_of, serial_of
from manager.config import bracket_host
from manager.store.view import View


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request: the owner of a certificate, or a process on this host.

    `name` is the certificate's common name, or a token's name; `origin` is `ADDRESS:PORT` or `unix`; `role` is None for
    callers that are not clients, such as nodes (`unit` then says what their certificate is for); `serial` is the
    certificate's, in hexadecimal, or the token's id, empty on a unix socket; `uid` and `pid` are those of the process
    at the other end of one. `environment` tells whether the values of environment variables are shown to it,
    `forbidden` has the words for what an operator may not do (`common.model.client.Forbidden`).
    """

    name: str
    origin: str
    role: Role | None = None
    unit: str = ""
    serial: str = ""
    uid: int | None = None
    pid: int | None = None
    environment: bool = True
    forbidden: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The same key for all connections of one client; without a credential, its address."""
        return self.serial or (self.address if self.uid is None else f"uid {self.uid}")

    @property
    def address(self) -> str:
        """The address without its port."""
        return self.origin.rpartition(":")[0]

    @property
    def described(self) -> str:
        """The caller, as logs and records of changes name it."""
        return f"{self.name} ({self.serial})" if self.serial else f"{self.name} at {self.origin}"

    @property
    def credential(self) -> str:
        """What it has shown, in words."""
        return "dashboard token" if is_token_id(self.serial) else "certificate"

    @property
    def is_admin(self) -> bool:
        return self.role is Role.ADMIN


def caller_record(caller: Caller) -> CallerRecord:
    """Return the record of a caller for the leader, to which its request is passed on."""
    role = caller.role.label if caller.role is not None else ""
    return CallerRecord(
        name=caller.name,
        origin=caller.origin,
        role=role,
        unit=caller.unit,
        serial=caller.serial,
        uid=caller.uid,
        pid=caller.pid,
    )


def caller_from_record(record: CallerRecord) -> Caller:
    """Read the caller that another manager names; an unknown role counts as none."""
    return Caller(
        record.name,
        record.origin,
        ROLES_BY_LABEL.get(record.role),
        unit=record.unit,
        serial=record.serial,
        uid=record.uid,
        pid=record.pid,
    )


# The `unit` of a caller at the shared dashboard whose token is unknown.
TOKENLESS = "dashboard"
# A call that nobody vouches for may do nothing.
NOBODY = Caller("nobody", "")


def look_up_caller(caller: Caller, view: View, now: float) -> Caller:
    """Return the caller as what the cluster knows of it; its certificate's record is looked up for every request.

    Raises:
        EngineError: 401, the dashboard token is unknown, revoked or expired; 403, the caller is not a client or was
            revoked.

    """
    if caller.unit == TOKENLESS:
        raise EngineError(401, "there is no such dashboard token: 'swarm-manager dashboard token create' makes one")
    if caller.role is None:
        raise access_denied(_not_a_client(caller))
    if not caller.serial:
        return caller
    if is_token_id(caller.serial):
        return _look_up_token(caller, view, now)
    try:
        record = check_client(view, caller.serial, caller.name, now)
    except PermissionDenied as error:
        raise access_denied(error.message) from None
    return _as_recorded(caller, record, environment=record.environment)


def _look_up_token(caller: Caller, view: View, now: float) -> Caller:
    record = view.dashboard_tokens.get(caller.serial)
    if record is None or not record.is_valid(now):
        why = "was revoked" if record is not None and record.revoked_at else "has ended"
        raise EngineError(
            401, f"the dashboard token of {caller.name} {why}: 'swarm-manager dashboard token create' makes another"
        )
    return _as_recorded(caller, record, environment=False)


def _as_recorded(caller: Caller, record: Credential, *, environment: bool) -> Caller:
    """Return the caller as its record says; `environment`: a viewer is shown the values of environment variables."""
    role = ROLES_BY_LABEL[record.role]
    return replace(caller, role=role, environment=environment or role is not Role.VIEWER, forbidden=record.forbidden)


def lower_role(caller: Caller, label: str) -> Caller:
    """Return the caller with the lesser role that it asks for (the header `Swarm-Role`); a role is never raised.

    Raises:
        EngineError: 400, there is no such role.

    """
    role = ROLES_BY_LABEL.get(label)
    if role is None:
        raise invalid(f"Swarm-Role: {label[:80]!r}: expected one of {', '.join(ROLES_BY_LABEL)}")
    if caller.role is None or role >= caller.role:
        return caller
    return replace(caller, role=role, environment=caller.environment and role is not Role.VIEWER)


def _not_a_client(caller: Caller) -> str:
    if caller.unit:
        text = f"the certificate of {caller.name} is that of a node ({caller.unit}), not of a client of the API"
        return f"{text}: 'swarm-manager client-cert NAME' on the manager's host makes one"
    return "the caller is unknown: connect with a client certificate, or over the unix socket"


def authorise(caller: Caller, needs: Role | None, what: str) -> None:
    """Check that a caller may do `what` (`POST /services/create`, or a part of it that needs more than the route).

    A route without a role is refused to everybody.

    Raises:
        EngineError: 403; the message says which role the caller has and which it needs.

    """
    if needs is None:
        raise access_denied(f"no role may do {what}: its route declares none, which is a bug in swarm-manager")
    if caller.role is None or caller.role < needs:
        role = caller.role.label if caller.role is not None else "none"
        raise access_denied(f"{caller.name} has the role {role}, and {what} needs the role {needs.label}")


def access_denied(why: str) -> EngineError:
    return EngineError(403, f"permission denied: {why}")


_CREDENTIALS = struct.Struct("iII")  # pid, uid, gid


def caller_of(transport: asyncio.BaseTransport) -> tuple[Caller, float]:
    """Return who it is, and when its certificate expires (Unix seconds, 0 for never).

    Everyone who can open the unix socket is an administrator: its file mode and group decide who can.
    """
    tls = transport.get_extra_info("ssl_object")
    if tls is not None:
        return _by_certificate(tls.getpeercert(binary_form=True), transport.get_extra_info("peername"))
    connection = transport.get_extra_info("socket")
    if connection is None or connection.family != socket.AF_UNIX:
        return NOBODY, 0.0
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(raw)
    return Caller(f"uid {uid}", "unix", Role.ADMIN, uid=uid, pid=pid), 0.0


def _by_certificate(der: bytes | None, peer: tuple[object, ...] | None) -> tuple[Caller, float]:
    address, port = (peer or ("", 0))[:2]
    origin = f"{bracket_host(str(address))}:{port}"
    if not der:
        return Caller("nobody", origin), 0.0
    identity = identity_of_der(der)
    serial = serial_of(identity.serial)
    return Caller(identity.node_id, origin, role_of(identity), unit=identity.role, serial=serial), identity.not_after
