"""The API's TCP port: connections are the API's only when their certificate is verified, and strangers are few."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable

from common.clock import Clock
from common.ratelimit import Rate, RateLimit
from common.tls import alert_in
from manager.api.connection import Limits
from manager.api.tls_transport import TlsTransport

_LOG = logging.getLogger(__name__)

_SHUTDOWN_SECONDS = 1.0
# After an accept that failed for want of descriptors or memory; as asyncio's own servers wait.
_PAUSE_SECONDS = 1.0
# Failed handshakes of one address that are logged.
_LOGGED = Rate(burst=5, per_second=1 / 30)


class TlsListener:
    """Accepts connections from a bound socket and makes of those that pass their handshake what `protocol` returns.

    How many may be without a certificate at a time, and for how long, `limits` say: in all and of one address.
    """

    def __init__(
        self,
        listener: socket.socket,
        context: ssl.SSLContext,
        protocol: Callable[[], asyncio.BaseProtocol],
        limits: Limits,
        clock: Clock,
    ) -> None:
        self._listener = listener
        self._context = context
        self._protocol = protocol
        self._limits = limits
        self._strangers: Counter[str] = Counter()
        self._clock = clock
        self._complaints = RateLimit(_LOGGED)

    async def run(self) -> None:
        """Accept until cancelled. The listener is the caller's to close."""
        self._listener.setblocking(False)
        async with asyncio.TaskGroup() as handshakes:
            while True:
                try:
                    connection, peer = await asyncio.get_running_loop().sock_accept(self._listener)
                except OSError as error:
                    _LOG.error("cannot accept a client of the API: %s", error)
                    await asyncio.sleep(_PAUSE_SECONDS)
                    continue
                address = str(peer[0])
                if self._may_try(address):
                    self._strangers[address] += 1
                    handshakes.create_task(self._welcome(connection, address))
                else:
                    connection.close()

    def _may_try(self, address: str) -> bool:
        limits = self._limits
        return self._strangers.total() < limits.handshakes and self._strangers[address] < limits.handshakes_per_address

    async def _welcome(self, connection: socket.socket, address: str) -> None:
        """Do the handshake. Whoever is refused is told why, and only then is the connection closed."""
        transport = TlsTransport(self._context, self._protocol)
        try:
            async with asyncio.timeout(self._limits.head_seconds):
                await asyncio.get_running_loop().connect_accepted_socket(lambda: transport, connection)
                await transport.ready
        except OSError as error:  # ssl.SSLError and TimeoutError are
            if self._complaints.allow(address, self._clock.now()):
                _LOG.info("a client of the API at %s was refused: %s", address, error or type(error).__name__)
            await transport.refuse(alert_in(error), _SHUTDOWN_SECONDS)
        finally:
            if not transport.let_in:
                transport.abort()
            self._strangers[address] -= 1
            if not self._strangers[address]:
                del self._strangers[address]
