"""Which networks this host can have: the data plane, or plain bridges where it lacks something for that."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable

from common.clock import Clock
from worker.config import DataDir, WorkerConfig
from worker.localnetworks import LocalNetworks
from worker.net.abilities import encryption, lacking
from worker.net.dataplane import DataPlane
from worker.net.dns import ClusterDns
from worker.ports import Engine, Networks

_NOT_ALONE = (
    "another worker of this host programs its network: networks do not span hosts, no port is published in the mesh"
)

_log = logging.getLogger(__name__)


async def choose_networks(
    data: DataDir,
    config: WorkerConfig,
    engine: Engine,
    clock: Clock,
    elsewhere: Callable[[], Awaitable[None]] | None = None,
    *,
    alone: bool,
) -> Networks:
    """Return the best that can be had; what is missing for more is logged, and shown by `node inspect`.

    `elsewhere`: as for `DataPlane`. `alone`: whether no other worker programs this host's network.
    """
    missing = await lacking(config.docker_host) if alone else (_NOT_ALONE,)
    if missing:
        for sentence in missing:
            _log.warning("%s", sentence)
        return LocalNetworks(engine, config.node_id, missing)
    dns = ClusterDns(data.path / "resolv", random.SystemRandom())
    encrypting = await encryption()
    for sentence in encrypting.lacks:
        _log.info("%s", sentence)
    return DataPlane(
        engine,
        config.node_id,
        clock,
        data.path / "network.json",
        dns,
        elsewhere=elsewhere,
        advertised=config.advertise_addr,
        encryption=encrypting,
    )
