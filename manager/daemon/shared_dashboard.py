"""The shared dashboard: a listener of its own over TLS, for browsers that have a token and no certificate."""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from common.clock import Clock
from common.errors import InvalidArgument
from common.tls import follow_context, public_context
from manager.api.access.token_auth import TokenAuthenticator
from manager.api.http.server import ServedApi, serve
from manager.config import DashboardConfig

_LOG = logging.getLogger(__name__)


class GivenCertificate:
    """A certificate that somebody else renews: a file with its chain and one with its key, both PEM.

    `context` shows the newest that could be loaded: the files are looked at whenever a browser connects.

    Raises:
        InvalidArgument: they cannot be used.

    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = (certificate, key)
        self._stamp = self._present_stamp()
        self._loaded = self._load()
        self.context = self._load()
        follow_context(self.context, self._present)

    def _present(self) -> ssl.SSLContext:
        stamp = self._present_stamp()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._loaded = self._load()
                _LOG.info("the dashboard now shows the certificate that is in %s", self._files[0])
            except InvalidArgument as error:
                _LOG.error("%s; the previous one is shown until these files change", error.message)
        return self._loaded

    def _present_stamp(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_stamp(file) for file in self._files)

    def _load(self) -> ssl.SSLContext:
        context = public_context()
        certificate, key = self._files
        try:
            context.load_cert_chain(certificate, key, password=_no_password)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise InvalidArgument(
                f"cannot use the dashboard's certificate {certificate} with the key {key}: {error}"
            ) from error
        return context


def _no_password() -> str:
    """Answer OpenSSL, which would else ask at a terminal."""
    raise ValueError("the key is encrypted")


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


@asynccontextmanager
async def serve_dashboard(
    config: DashboardConfig | None, api: ServedApi, own: ssl.SSLContext, clock: Clock
) -> AsyncIterator[tuple[str, ...]]:
    """Serve the dashboard where it is configured, with its own certificate or else the manager's (`own`).

    Yields the addresses as bound.

    Raises:
        InvalidArgument: its certificate cannot be used.
        Unavailable: an address is in use.

    """
    if config is None:
        yield ()
        return
    context = own
    if config.certificate:
        context = GivenCertificate(Path(config.certificate), Path(config.key)).context
    authenticator = TokenAuthenticator(api.context.store, clock, config.origins)
    async with serve(api, config.hosts, ssl_context=context, identify=authenticator.identify) as bound:
        yield bound
