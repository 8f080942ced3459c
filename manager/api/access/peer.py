"""Who is at the other end of a connection: told by the certificate that OpenSSL has verified, or by the kernel."""

from __future__ import annotations

import asyncio
import socket
import struct

from common.model.client import Role
from common.tls import identity_of_der
from manager.api.access.roles import NOBODY, Caller
from manager.ca.clients import role_of, serial_of
from manager.config import bracket_host

_CREDENTIALS = struct.Struct("iII")  # pid, uid, gid


def caller_of(transport: asyncio.BaseTransport) -> tuple[Caller, float]:
    """Return who it is, and when its certificate ends (Unix seconds, 0 for never).

    Whoever could open the unix socket is an administrator: the socket's group decides who can.
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
