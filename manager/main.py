"""`swarm-manager`: the daemon's own commands, and those of its command line."""

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
from manager.bootstrap import choose_pools, clear, create_cluster, refuse_second, split_address
from manager.cli import cli
from manager.cli.command import SwarmCommand
from manager.cli.membership import join_help
from manager.config import DEFAULT_DATA_DIR, DEFAULT_HOST, UNIT, DataDir, ManagerConfig

READY_SECONDS = 60.0

_data_dir = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    default=DEFAULT_DATA_DIR,
    show_default=True,
    help="Directory of all its state.",
)
_log_level = click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="What the daemon logs.",
)


def daemon_of(data: DataDir) -> Daemon:
    """Return the background program of a data directory."""
    return Daemon(module="manager.main", unit=UNIT, home=DEFAULT_DATA_DIR, data_dir=data.path)


@click.command(
    "init",
    cls=SwarmCommand,
    examples="""
    swarm-manager init --advertise-addr 192.0.2.10
    swarm-manager init --advertise-addr 192.0.2.10 --default-addr-pool 10.20.0.0/16
    """,
)
@click.option("--advertise-addr", metavar="IP[:PORT]", help="Address that the cluster's hosts reach this one at.")
@click.option("--listen-addr", metavar="ADDR[:PORT]", help="Address to listen on (default: all, port of the former).")
@_data_dir
@click.option("-H", "--host", "hosts", multiple=True, metavar="URL", help=f"Where the API listens ({DEFAULT_HOST}).")
@click.option("--default-addr-pool", "pools", multiple=True, metavar="CIDR", help="Ranges that networks are made from.")
@click.option("--foreground", is_flag=True, help="Stay in the foreground instead of starting a service.")
def init(
    *,
    advertise_addr: str | None,
    listen_addr: str | None,
    data_dir: Path,
    hosts: Sequence[str],
    pools: Sequence[str],
    foreground: bool,
) -> None:
    """Make this host the manager of a new cluster."""
    data = DataDir(data_dir)
    refuse_second(data)
    rng = random.SystemRandom()
    config = configuration(new_id(rng), advertise_addr, listen_addr, hosts)
    cluster = asyncio.run(create_cluster(data, config, choose_pools(pools), SystemClock(), rng))
    started = False

    def ready() -> None:
        nonlocal started
        started = True
        _tell(config, cluster.join_tokens.worker)

    try:
        _start(data, ready, foreground=foreground)
    finally:
        if not started:  # an init that failed can be repeated once its cause is mended
            clear(data)


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


@click.command("run", cls=SwarmCommand, examples="swarm-manager run --data-dir /var/lib/swarm-manager")
@_data_dir
@_log_level
def run(*, data_dir: Path, log_level: str) -> None:
    """Run the manager of a data directory in the foreground; systemd's unit does this."""
    logs.setup(log_level)
    uvloop.run(app.run(DataDir(data_dir)))


def configuration(node_id: str, advertise: str | None, listen: str | None, hosts: Sequence[str]) -> ManagerConfig:
    """Fill in what the flags left out.

    Raises:
        InvalidArgument: an address is malformed, or there are several to choose from.

    """
    host, port = split_address(advertise or choose_advertised(), DEFAULT_PORT)
    if host in ("", "0.0.0.0", "::"):  # noqa: S104 - it is refused
        raise InvalidArgument(f"--advertise-addr {advertise}: give the one address that the other hosts reach this one at")
    listen_host, listen_port = split_address(listen, port) if listen else ("", port)
    return ManagerConfig(
        node_id=node_id,
        advertise_addr=f"{_bracketed(host)}:{port}",
        listen_addr=f"{_bracketed(listen_host)}:{listen_port}",
        hosts=tuple(hosts) or (DEFAULT_HOST,),
    )


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


for command in (init, run):
    cli.add_command(command)


def main() -> None:
    """Run the program: `swarm-manager`, or `python -m manager.main`."""
    cli()


if __name__ == "__main__":
    main()
