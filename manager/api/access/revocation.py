"""Ends the connections of clients whose certificates are revoked, in the moment that they are."""

from __future__ import annotations

import logging

from common.model import ClientCertificate
from manager.api.http.connection import Connection, LimitedServer
from manager.store.store import Records
from manager.store.watch import Lagged

_LOG = logging.getLogger(__name__)


async def end_revoked(store: Records, server: LimitedServer) -> None:
    """Watch the certificates until cancelled. A request on a new connection is refused by `access.admitted`."""
    with store.watch() as subscription:
        while True:
            try:
                batch = await subscription.next()
            except Lagged:
                _end(store, server)
                continue
            if any(isinstance(c.current, ClientCertificate) for changes in batch for c in changes.changes):
                _end(store, server)


def _end(store: Records, server: LimitedServer) -> None:
    certificates = store.view.client_certificates
    for connection in list(server.connections):
        if not isinstance(connection, Connection) or not connection.caller.serial:
            continue
        record = certificates.get(connection.caller.serial)
        if record is None or record.revoked_at:
            _LOG.info("a connection of %s ends: its certificate was revoked", connection.caller.name)
            connection.end()
