"""This manager's own certificate: valid for the names that clients use by now, renewed in time, shown at both ports."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import ssl
from collections.abc import Callable

from common.clock import Clock, sleep_until
from common.tls import api_context, renewal_time, server_context
from manager.ca.authority import Authority
from manager.ca.files import ManagerFiles
from manager.config import ManagerConfig
from manager.store.store import Store

# When a renewed certificate could not be stored: a fifth of its life is left, at least.
RENEW_AGAIN_SECONDS = 600.0

_log = logging.getLogger(__name__)


class OwnCertificate:
    """The certificate in use. `files` returns where it is, as it is locked now.

    `cluster` and `api` are the TLS contexts of the two ports, which have other clients.
    """

    def __init__(
        self,
        files: Callable[[], ManagerFiles],
        authority: Authority,
        config: ManagerConfig,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._present_files = files
        self._authority = authority
        self._config = config
        self._clock = clock
        self._rng = rng
        self.cluster: ssl.SSLContext
        self.api: ssl.SSLContext

    @property
    def _files(self) -> ManagerFiles:
        return self._present_files()

    def open(self, store: Store) -> None:
        """Make the contexts; before that the certificate anew, when it is not for all names that clients may use."""
        if not self._files.covers(self._names()):
            self._issue(store)
            _log.info("the certificate of manager %s now has its present names", self._config.node_id)
        self.cluster, self.api = server_context(self._files.node), api_context(self._files.node)

    async def keep_valid(self, store: Store) -> None:
        """Renew the certificate before it expires, until cancelled; whoever connects from then on is shown the new."""
        while True:
            due = renewal_time(self._files.node.identity(), self._rng)
            await sleep_until(due, self._clock)
            try:
                self._issue(store)
            except OSError as error:
                _log.error(
                    "the renewed certificate cannot be stored in %s: %s: check its disk; trying again in %.0f s",
                    *(self._files.directory, error.strerror, RENEW_AGAIN_SECONDS),
                )
                await asyncio.sleep(RENEW_AGAIN_SECONDS)
                continue
            for context in (self.cluster, self.api):
                self._files.node.show_in(context)
            _log.info("renewed the certificate of manager %s", self._config.node_id)

    def ends(self) -> float:
        """Return when the certificate ends, in Unix seconds."""
        return self._files.node.identity().not_after

    def _names(self) -> tuple[str, ...]:
        return self._config.certificate_names(socket.gethostname())

    def _issue(self, store: Store) -> None:
        lifetime = store.view.cluster.spec.ca_config.node_cert_expiry
        self._files.issue_own(self._authority, self._config.node_id, self._names(), lifetime, self._clock)
