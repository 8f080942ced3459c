"""A real worker on a fake engine that joins, and dials managers, over real TLS."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from common.clock import SystemClock
from common.tls import CredentialFiles
from common.wire.channel import Channel
from common.wire.client import JoinTerms, join
from tests.fakes.engine import FakeEngine
from tests.fakes.real_worker import RealWorker
from worker.images.serve import ImageServer
from worker.link.dialler import Credentials, TlsDialler

_CLOCK = SystemClock()


async def join_host(address: str, token: str, folder: Path) -> CredentialFiles:
    """Let a host, which has the folder's name, join at a manager; return its files."""
    host, _, port = address.rpartition(":")
    joined = await join(host, int(port), token, JoinTerms(hostname=folder.name), _CLOCK)
    files = CredentialFiles(folder)
    files.write(joined.certificate, joined.key, joined.root_certificate)
    return files


@asynccontextmanager
async def tls_worker(files: CredentialFiles, managers: Sequence[str], rng: random.Random) -> AsyncIterator[None]:
    """Run the worker whose certificate is in these files."""
    node_id = files.identity().node_id
    engine = FakeEngine(name=node_id)
    worker = RealWorker(node_id, engine, _unused, clock=_CLOCK, rng=rng, managers=tuple(managers))
    credentials = Credentials(files, _CLOCK, rng)
    worker.dialler = TlsDialler(credentials, "unix:///nowhere", ImageServer(engine, _CLOCK))
    worker.renewal = credentials
    async with worker.running():
        yield


def _unused(_: str) -> Channel:
    raise AssertionError("it dials over TLS")
