"""Ends the connections of clients whose certificates or tokens are revoked, in the moment that they are."""

from __future__ import annotations

import logging

from common.model import ClientCertificate, DashboardToken
from manager.api.http.connection import Connection, LimitedServer
from manager.store.store import Records
from manager.store.watch import Lagged

_LOG = logging.getLogger(__name__)


async def end_revoked(store: Records, server: LimitedServer) -> None:
    """Watch certificates and tokens until cancelled. A request on a new connection is refused before it is answered."""
    with store.watch() as subscription:
        while True:
            try:
                batch = await subscription.next()
            except Lagged:
                _end(store, server)
                continue
            if any(
                isinstance(c.current, ClientCertificate | DashboardToken) for changes in batch for c in changes.changes
            ):
                _end(store, server)


def _end(store: Records, server: LimitedServer) -> None:
    certificates, tokens = store.view.client_certificates, store.view.dashboard_tokens
    for connection in list(server.connections):
        if not isinstance(connection, Connection) or not connection.asking.serial:
            continue
        serial = connection.asking.serial
        record = certificates.get(serial) or tokens.get(serial)
        if record is None or record.revoked_at:
            _LOG.info("a connection of %s ends: its certificate or token was revoked", connection.asking.name)
            connection.end()
