"""The commands of `swarm-manager` that are about the daemon of this host, and no client of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from common.errors import leaves
from common.process import join_token, logs
from common.process.launch import MANAGER_HOST, refuse_others_writing
from common.process.memory import keep_memory_off_disk
from common.process.private_files import usable_folder
from common.process.usage import DATA_FOLDER, log_level_option
from common.text.terminal import echo
from manager.cli.command import HOST_PARAM, SwarmCommand
from manager.config import DEFAULT_DATA_DIR, NO_DASHBOARD, DataDir, ExternalEtcdConfig, dashboard_config

FC = TypeVar("FC", bound=Callable[..., Any])

# How `run` ends when its cluster was left, and when its store is damaged: its systemd unit is not started again then.
LEFT_STATUS = 3
DAMAGED_STATUS = 4


class OwnCommand(SwarmCommand):
    """A command that is about the manager's own files, and no client of it: `-H`, if it has one, is its own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params = [param for param in self.params if param.name != HOST_PARAM]

    def invoke(self, ctx: click.Context) -> Any:
        if ctx.find_root().get_parameter_source(HOST_PARAM) is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"'{ctx.info_name}' is about the manager of this host and asks none: run it there, without -H", ctx
            )
        refuse_others_writing()
        return super().invoke(ctx)


class RunCommand(OwnCommand):
    """`run`, which is not docker's: whoever asks for a container is told how to get one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and not args[0].startswith("-"):
            raise click.UsageError(
                "'swarm-manager run' runs this host's manager and takes no image: for a container of the cluster use "
                "'docker run' with DOCKER_HOST set to where the manager listens",
                ctx,
            )
        return super().parse_args(ctx, args)


_foreground = click.option("--foreground", is_flag=True, help="Stay in the foreground instead of starting a service.")
_advertise_addr = click.option(
    "--advertise-addr", metavar="IP[:PORT]", help="Address at which the cluster's hosts reach this one."
)
_listen_addr = click.option(
    "--listen-addr", metavar="ADDR[:PORT]", help="Address to listen on (default: all, port of the former)."
)
_data_dir = click.option(
    "--data-dir",
    type=DATA_FOLDER,
    callback=lambda ctx, _, path: path if ctx.resilient_parsing else usable_folder(path),
    default=DEFAULT_DATA_DIR,
    show_default=True,
    help="Directory of the manager's state.",
)
_hosts = click.option(
    "-H",
    "--host",
    "hosts",
    multiple=True,
    metavar="URL",
    help=f"Where the API listens ({MANAGER_HOST}); tcp://ADDR:2376 too, for clients with a certificate.",
)
_tls_names = click.option(
    "--tls-san",
    "tls_names",
    multiple=True,
    metavar="NAME",
    help="Another host name or address at which clients reach the API over TCP.",
)
_log_level = log_level_option("daemon")


def _etcd_files(function: FC) -> FC:
    """Add the flags of what an etcd that others run is asked with."""
    for name, what in (("key", "key"), ("cert", "certificate"), ("ca", "authority's root")):
        flag = click.option(
            f"--etcd-{name}-file",
            type=click.Path(exists=True, dir_okay=False, resolve_path=True),
            callback=lambda _context, _parameter, value: value or "",
            help=f"PEM file with the {what} for --etcd-endpoints.",
        )
        function = flag(function)
    return function


@click.command(
    "init",
    cls=OwnCommand,
    examples="""
    swarm-manager init --advertise-addr 192.0.2.10
    swarm-manager init --advertise-addr 192.0.2.10 --default-addr-pool 10.20.0.0/16
    """,
)
@_advertise_addr
@_listen_addr
@_data_dir
@_hosts
@_tls_names
@click.option("--default-addr-pool", "pools", multiple=True, metavar="CIDR", help="Address ranges for networks.")
@click.option(
    "--data-path-port",
    type=int,
    default=0,
    metavar="PORT",
    help="UDP port of the tunnels between the hosts, 1024 to 49151 (default: 4789). It cannot be changed later.",
)
@click.option(
    "--store",
    type=click.Choice(["sqlite", "etcd"]),
    default="sqlite",
    show_default=True,
    help="Where the cluster's state is: in a file of this manager, or in an etcd that more managers can share.",
)
@click.option(
    "--etcd-endpoints",
    default="",
    metavar="URL,…",
    help="An etcd that others run, such as https://etcd-1:2379: the cluster's state is there.",
)
@_etcd_files
@click.option(
    "--force-new-cluster",
    is_flag=True,
    help="Go on with this one of several managers alone, when most of them are lost for good.",
)
@_foreground
def init(
    *,
    advertise_addr: str | None,
    listen_addr: str | None,
    data_dir: Path,
    hosts: Sequence[str],
    tls_names: Sequence[str],
    pools: Sequence[str],
    data_path_port: int,
    store: str,
    etcd_endpoints: str,
    etcd_ca_file: str,
    etcd_cert_file: str,
    etcd_key_file: str,
    force_new_cluster: bool,
    foreground: bool,
) -> None:
    """Make this host the manager of a new cluster."""
    from manager.address_flags import AddressFlags  # noqa: PLC0415 - a client's command starts without the daemon's
    from manager.init import initialise, start_alone  # noqa: PLC0415 - as above

    if force_new_cluster:
        start_alone(data_dir, foreground=foreground)
        return
    initialise(
        data_dir,
        addresses=AddressFlags(advertise_addr, listen_addr, hosts, tls_names),
        pools=pools,
        data_path_port=data_path_port,
        store=store,
        etcd=ExternalEtcdConfig(
            tuple(filter(None, etcd_endpoints.split(","))), etcd_ca_file, etcd_cert_file, etcd_key_file
        ),
        foreground=foreground,
    )


@click.command(
    "join",
    cls=OwnCommand,
    examples="""
    swarm-manager join --token SWMTKN-1-… 192.0.2.10:2377
    swarm-manager join --token-file /root/token 192.0.2.10:2377
    """,
)
@click.argument("address", metavar="HOST[:PORT]")
@click.option("--token", default="", help="What 'join-token manager' prints; -: read it from standard input.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=f"Read the token from a file. The default is the variable {join_token.VARIABLE}.",
)
@_advertise_addr
@_listen_addr
@_data_dir
@_hosts
@_tls_names
@_etcd_files
@_foreground
def join(
    *,
    address: str,
    token: str,
    token_file: Path | None,
    advertise_addr: str | None,
    listen_addr: str | None,
    data_dir: Path,
    hosts: Sequence[str],
    tls_names: Sequence[str],
    etcd_ca_file: str,
    etcd_cert_file: str,
    etcd_key_file: str,
    foreground: bool,
) -> None:
    """Make this host one of a cluster's managers; its store must be in etcd.

    Where others run that etcd, its files are looked for where the leader has them, unless they are given here.
    """
    from manager import init as founding  # noqa: PLC0415 - as above
    from manager.address_flags import AddressFlags  # noqa: PLC0415 - as above

    founding.join(
        data_dir,
        address,
        token=join_token.read_token(token, token_file, role="manager"),
        addresses=AddressFlags(advertise_addr, listen_addr, hosts, tls_names),
        etcd=ExternalEtcdConfig((), etcd_ca_file, etcd_cert_file, etcd_key_file),
        foreground=foreground,
    )


@click.command(
    "start",
    cls=OwnCommand,
    examples="""
    swarm-manager start
    swarm-manager start -H unix:///run/swarm-manager/docker.sock -H tcp://0.0.0.0:2376
    swarm-manager start --dashboard-host tcp://0.0.0.0:8443
    """,
)
@_data_dir
@_hosts
@_tls_names
@click.option(
    "--dashboard-host",
    "dashboard_hosts",
    multiple=True,
    metavar="URL",
    help=f"Where browsers reach a dashboard for several people, tcp://ADDR:PORT over TLS; {NO_DASHBOARD}: nowhere.",
)
@click.option(
    "--dashboard-origin",
    "dashboard_origins",
    multiple=True,
    metavar="URL",
    help="The https:// address under which a proxy serves it.",
)
@click.option(
    "--dashboard-cert",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Its certificate and chain (PEM) instead of the manager's own; renewed files are noticed.",
)
@click.option("--dashboard-key", type=click.Path(path_type=Path), metavar="FILE", help="That certificate's key (PEM).")
def start(
    *,
    data_dir: Path,
    hosts: Sequence[str],
    tls_names: Sequence[str],
    dashboard_hosts: Sequence[str],
    dashboard_origins: Sequence[str],
    dashboard_cert: Path | None,
    dashboard_key: Path | None,
) -> None:
    """Start this host's manager again, where no systemd does so at boot.

    With -H, --tls-san or --dashboard-host, what is given replaces what was there, for good; a manager that runs is
    restarted.
    """
    from manager import init as founding  # noqa: PLC0415 - as above

    given = [] if list(dashboard_hosts) == [NO_DASHBOARD] else dashboard_hosts
    dashboard = dashboard_config(given, dashboard_origins, dashboard_cert, dashboard_key)
    founding.start(data_dir, hosts=hosts, tls_names=tls_names, dashboard=dashboard if dashboard_hosts else None)


@click.command("run", cls=RunCommand, examples="swarm-manager run --data-dir /var/lib/swarm-manager")
@_data_dir
@_hosts
@_tls_names
@_log_level
def run(*, data_dir: Path, hosts: Sequence[str], tls_names: Sequence[str], log_level: str) -> int:
    """Run the manager of a data directory in the foreground; systemd's unit does this.

    Where the API listens is what `init` was told, unless it is given here.
    """
    import uvloop  # noqa: PLC0415 - as above

    from manager import app  # noqa: PLC0415 - as above
    from manager.store.backends.failures import Damaged  # noqa: PLC0415 - as above

    logs.setup(log_level)
    keep_memory_off_disk()
    try:
        left = uvloop.run(app.run(DataDir(data_dir), hosts=hosts, tls_names=tls_names))
    except (Damaged, ExceptionGroup) as error:  # of a manager that was locked: with what answered until then
        damaged = next((each for each in leaves(error) if isinstance(each, Damaged)), None)
        if damaged is None:
            raise
        echo(damaged.message, err=True)
        return DAMAGED_STATUS
    return LEFT_STATUS if left else 0


@click.command(
    "backup",
    cls=OwnCommand,
    examples="""
    swarm-manager backup /var/backups/swarm.backup
    swarm-manager backup - | age -r age1… > swarm.backup.age
    """,
)
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@_data_dir
def backup(*, file: Path, data_dir: Path) -> None:
    """Write a backup of this host's manager to FILE (-: standard output), while it runs or not.

    It holds all secrets and the key of the certificate authority: whoever has it has the cluster.
    """
    from manager.backup import save  # noqa: PLC0415 - as above

    save(DataDir(data_dir), file)


@click.command(
    "restore",
    cls=OwnCommand,
    examples="""
    swarm-manager restore /var/backups/swarm.backup
    swarm-manager restore --advertise-addr 192.0.2.20 swarm.backup     # on another host
    """,
)
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--advertise-addr", metavar="IP[:PORT]", help="Address of this host, if it has changed.")
@click.option("--listen-addr", metavar="ADDR[:PORT]", help="Address to listen on.")
@_data_dir
@_hosts
@_tls_names
@_foreground
def restore(
    *,
    file: Path,
    advertise_addr: str | None,
    listen_addr: str | None,
    data_dir: Path,
    hosts: Sequence[str],
    tls_names: Sequence[str],
    foreground: bool,
) -> None:
    """Make this host the manager of the cluster in a backup, FILE (-: standard input).

    What is not given is as it was before.
    """
    from manager import init as founding  # noqa: PLC0415 - as above
    from manager.address_flags import AddressFlags  # noqa: PLC0415 - as above

    founding.restore(
        data_dir,
        file,
        addresses=AddressFlags(advertise_addr, listen_addr, hosts, tls_names),
        foreground=foreground,
    )


@click.command(
    "convert",
    cls=OwnCommand,
    examples="""
    swarm-manager convert --to etcd
    swarm-manager convert --to sqlite
    """,
)
@_data_dir
@click.option(
    "--to",
    type=click.Choice(["sqlite", "etcd"]),
    required=True,
    help="Where the cluster's state is to be: in an etcd that more managers can share, or in a file.",
)
def convert(*, data_dir: Path, to: Literal["sqlite", "etcd"]) -> None:
    """Move the store of this host's manager, which must not run, into etcd or back; the old one is kept.

    Into etcd, so that other managers can join; into a file only as the last manager.
    """
    from common.clock import SystemClock  # noqa: PLC0415 - as above
    from manager import convert as converting  # noqa: PLC0415 - as above
    from manager.cli.cluster.lock import read_unlock_key  # noqa: PLC0415 - as above

    loaded = converting.convert(DataDir(data_dir), to, SystemClock(), read_unlock_key)
    echo(f"The store is {'in etcd' if to == 'etcd' else 'in a file'} now: {len(loaded.objects)} objects, all verified.")
    echo("Start the manager: swarm-manager start. The old store is kept beside the new one, as '.before'.")


@click.command(
    "repair",
    cls=OwnCommand,
    examples="""
    swarm-manager repair
    swarm-manager repair --accept-loss
    """,
)
@_data_dir
@click.option("--accept-loss", is_flag=True, help="Continue with what is left of a damaged store.")
def repair(*, data_dir: Path, accept_loss: bool) -> int:
    """Say whether this host's manager, which must not run, has all of its store, and what is left of a damaged one.

    With --accept-loss that becomes the store; the damaged files are kept in a folder of the data directory.
    """
    from manager import repair as repairing  # noqa: PLC0415 - as above

    return repairing.repair(DataDir(data_dir), accept=accept_loss)
