"""Starting a cluster and its daemon: what `swarm-manager init` does."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import uvloop

from common import logs
from common.clock import SystemClock
from common.daemon import Daemon
from common.errors import InvalidArgument
from common.hostaddr import choose_advertised
from common.ids import new_id
from common.wire.messages import DEFAULT_PORT
from manager import app
from manager.bootstrap import choose_data_path_port, choose_pools, create_cluster, refuse_second
from manager.cli.membership import join_help
from manager.config import (
    DEFAULT_DATA_DIR,
    DEFAULT_HOST,
    UNIT,
    DataDir,
    ManagerConfig,
    bracketed,
    check_tls_names,
    split_address,
)

READY_SECONDS = 60.0


def initialise(
    data_dir: Path,
    *,
    advertise: str | None,
    listen: str | None,
    hosts: Sequence[str],
    tls_names: Sequence[str],
    pools: Sequence[str],
    data_path_port: int,
    foreground: bool,
) -> None:
    """Make a cluster, start its daemon and say how others join; on failure nothing is left.

    Raises:
        SwarmError: what was wrong; with a daemon that does not start, its last words.

    """
    data = DataDir(data_dir)
    refuse_second(data)
    rng = random.SystemRandom()
    config = configuration(new_id(rng), advertise, listen, hosts, tls_names)
    port = choose_data_path_port(data_path_port)
    founding = create_cluster(data, config, choose_pools(pools), SystemClock(), rng, data_path_port=port)
    cluster = asyncio.run(founding)
    started = False

    def ready() -> None:
        nonlocal started
        started = True
        _tell(config, cluster.join_tokens.worker)

    try:
        _start(data, ready, foreground=foreground)
    finally:
        if not started:  # an init that failed can be repeated once its cause is mended
            data.clear()


def _start(data: DataDir, ready: Callable[[], None], *, foreground: bool) -> None:
    if foreground:
        logs.setup()
        uvloop.run(app.run(data, ready))
    else:
        daemon_of(data).start(READY_SECONDS)
        ready()


def _tell(config: ManagerConfig, token: str) -> None:
    click.echo(f"Swarm initialized: current node ({config.node_id}) is now a manager.\n")
    click.echo(join_help("worker", token, config.advertise_addr))
    click.echo("To add this host too, run that command here.")


def start(data_dir: Path) -> None:
    """Start the daemon of a data directory and return when it answers; one that runs already is left alone.

    Raises:
        FailedPrecondition: there is no cluster in it.
        Unavailable: the daemon does not start; its last words.

    """
    data = DataDir(data_dir)
    data.load()
    daemon = daemon_of(data)
    if daemon.pid() is None:
        daemon.start(READY_SECONDS)


def daemon_of(data: DataDir) -> Daemon:
    """Return the background program of a data directory."""
    return Daemon(module="manager.main", unit=UNIT, home=DEFAULT_DATA_DIR, data_dir=data.path)


def configuration(
    node_id: str, advertise: str | None, listen: str | None, hosts: Sequence[str], tls_names: Sequence[str] = ()
) -> ManagerConfig:
    """Fill in what the flags left out.

    Raises:
        InvalidArgument: an address is malformed, or there are several to choose from.

    """
    host, port = split_address(advertise or choose_advertised(), DEFAULT_PORT)
    if host in ("", "0.0.0.0", "::"):  # noqa: S104 - it is refused
        raise InvalidArgument(
            f"--advertise-addr {advertise}: give the one address that the other hosts reach this one at"
        )
    listen_host, listen_port = split_address(listen, port) if listen else ("", port)
    return ManagerConfig(
        node_id=node_id,
        advertise_addr=f"{bracketed(host)}:{port}",
        listen_addr=f"{bracketed(listen_host)}:{listen_port}",
        hosts=tuple(hosts) or (DEFAULT_HOST,),
        tls_names=check_tls_names(tls_names),
    )
