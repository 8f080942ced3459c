"""Starting a manager and its daemon, of a new cluster or from a backup: `swarm-manager init`, `start`, `restore`."""

from __future__ import annotations

import asyncio
import random
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

import msgspec
import uvloop

from common.clock import SystemClock, rfc3339
from common.errors import SwarmError, Unavailable
from common.ids import new_id
from common.model import Node
from common.process import logs
from common.process.daemon import Daemon
from common.process.interrupt import attempt, interruptible
from common.process.memory import keep_memory_off_disk
from common.text.terminal import echo
from manager import app
from manager.address_flags import AddressFlags, foreign_address
from manager.bootstrap import choose_data_path_port, choose_pools, create_cluster, refuse_second
from manager.ca.keyring import KeyFile, Locked
from manager.cli.client import Client
from manager.cli.cluster.commands import join_help
from manager.cli.cluster.lock import read_unlock_key
from manager.cli.endpoint import Endpoint
from manager.config import (
    DEFAULT_DATA_DIR,
    UNIT,
    DashboardConfig,
    DataDir,
    EtcdConfig,
    ExternalEtcdConfig,
    ManagerConfig,
    bracket_host,
    split_address,
)
from manager.etcd import peer_url
from manager.forced import force_new_cluster
from manager.init_join import NewManager, join_cluster, not_told_warning, take_back
from manager.restore import Restored, restore_cluster

READY_SECONDS = 60.0
ETCD_PORT = 2380
NO_FLAGS = ExternalEtcdConfig()
_INTERRUPTED = "Interrupted: undoing what was done."


@interruptible(_INTERRUPTED)
def initialise(
    data_dir: Path,
    *,
    addresses: AddressFlags,
    pools: Sequence[str],
    data_path_port: int,
    store: str,
    foreground: bool,
    etcd: ExternalEtcdConfig = NO_FLAGS,
) -> None:
    """Make a cluster, start its daemon and say how others join; on failure nothing is left.

    `pools` are the ranges of networks' addresses (CIDR) and `data_path_port` the tunnels' UDP port, empty or 0: chosen
    here. `store` is `sqlite` or `etcd`; with `etcd.endpoints` the store is in an etcd that others run.

    Raises:
        SwarmError: what was wrong; with a daemon that does not start, its last words.

    """
    data = DataDir(data_dir)
    refuse_second(data)
    rng = random.SystemRandom()
    config = addresses.configure(new_id(rng))
    if etcd.endpoints:
        config = msgspec.structs.replace(config, etcd=etcd.config(etcd_address(config), new_id(rng)))
    elif store == "etcd":
        config = with_first_etcd(config, new_id(rng))
    if sentence := foreign_address(config.advertise_addr):
        echo(f"Warning: {sentence}", err=True)
    port = choose_data_path_port(data_path_port)
    founding = create_cluster(data, config, choose_pools(pools), SystemClock(), rng, data_path_port=port)
    cluster = asyncio.run(founding)
    _start(data, lambda: _tell(config, cluster.join_tokens.worker), foreground=foreground)


def start_alone(data_dir: Path, *, foreground: bool) -> None:
    """Go on with this one of several managers alone: stop its daemon, make the others none, and start it again.

    Raises:
        SwarmError: what was wrong.

    """
    data = DataDir(data_dir)
    data.load()
    daemon_of(data).stop()
    gone = asyncio.run(force_new_cluster(data, read_unlock_key, SystemClock()))
    _run(data, lambda: _tell_alone(gone), foreground=foreground)


def _tell_alone(gone: Sequence[Node]) -> None:
    echo("This node is the cluster's only manager now. The join tokens have changed.")
    for node in gone:
        echo(f"{node.name} ({node.id}) is no longer a manager. It must not run as one again: on its host, stop")
        echo("swarm-manager and remove its data directory before it joins again.")


@interruptible(_INTERRUPTED)
def join(
    data_dir: Path,
    address: str,
    *,
    token: str,
    addresses: AddressFlags,
    etcd: ExternalEtcdConfig = NO_FLAGS,
    foreground: bool = False,
) -> None:
    """Make this host one of a cluster's managers, and start its daemon.

    `address` is another manager's (`HOST[:PORT]`). `token` is the one for managers, or the ticket that a promoted
    worker was given. `etcd` has the PEM files that an etcd is asked with which others run; none: where the leader has
    them.

    Raises:
        SwarmError: what was wrong; nothing is left then.

    """
    data = DataDir(data_dir)
    refuse_second(data)
    clock = SystemClock()
    config = addresses.configure(node_id="")
    new = NewManager(data=data, config=config, peer_addr=etcd_address(config), clock=clock, etcd_files=etcd.files)
    config = asyncio.run(join_cluster(new, token, address))

    def undo() -> None:
        try:
            why_not_told = asyncio.run(take_back(data, config, address, clock))
        except (SwarmError, OSError) as error:
            why_not_told = str(error)
        if why_not_told:
            echo(f"Warning: {not_told_warning(config.node_id, why_not_told)}", err=True)

    _start(data, lambda: echo("This node joined a swarm as a manager."), foreground=foreground, before_undoing=undo)


def etcd_address(config: ManagerConfig) -> str:
    """Return where other managers reach this one's etcd: its address, and etcd's own port."""
    return f"{bracket_host(split_address(config.advertise_addr)[0])}:{ETCD_PORT}"


def with_first_etcd(config: ManagerConfig, cluster_id: str) -> ManagerConfig:
    """Return the configuration of a cluster's first manager whose store is in etcd."""
    peer_addr = etcd_address(config)
    etcd = EtcdConfig(peer_addr=peer_addr, cluster_id=cluster_id, peers=(f"{config.node_id}={peer_url(peer_addr)}",))
    return msgspec.structs.replace(config, etcd=etcd)


@interruptible(_INTERRUPTED)
def restore(
    data_dir: Path,
    file: Path,
    *,
    addresses: AddressFlags,
    foreground: bool,
) -> None:
    """Make this host the manager of a cluster from a backup (`-`: standard input), and start its daemon.

    Raises:
        SwarmError: what was wrong; nothing is left then.

    """
    data = DataDir(data_dir)
    try:
        with nullcontext(sys.stdin.buffer) if str(file) == "-" else file.open("rb") as source:
            restored = restore_cluster(
                data, source, str(file), addresses.configure_again, SystemClock(), read_unlock_key
            )
    except OSError as error:
        where = f" ({error.filename})" if error.filename not in (None, str(file)) else ""
        raise Unavailable(f"cannot restore {file}: {error.strerror}{where}") from error
    _start(data, lambda: _tell_restored(restored), foreground=foreground)


def _start(
    data: DataDir, tell: Callable[[], None], *, foreground: bool, before_undoing: Callable[[], None] = lambda: None
) -> None:
    """Start the daemon of a data directory that was just made; if it does not start, remove what was made.

    So it can be repeated once the cause is mended.
    """

    def undo() -> None:
        daemon_of(data).stop()
        before_undoing()
        data.clear()

    with attempt(undo) as settle:

        def ready() -> None:
            settle()
            tell()

        _run(data, ready, foreground=foreground)


def _run(data: DataDir, ready: Callable[[], None], *, foreground: bool) -> None:
    """Run the daemon here, or start it in the background; `ready` is called when it answers."""
    if foreground:
        logs.setup()
        keep_memory_off_disk()
        uvloop.run(app.run(data, ready))
    else:
        daemon_of(data).start(READY_SECONDS)
        ready()


def _tell(config: ManagerConfig, token: str) -> None:
    echo(f"Swarm initialized: current node ({config.node_id}) is now a manager.\n")
    echo(join_help("worker", token, config.advertise_addr))
    echo("To add this host too, run that command here.")


def _tell_restored(restored: Restored) -> None:
    manifest, address = restored.manifest, restored.config.advertise_addr
    echo(f"This host is the manager of cluster {manifest.cluster_id}, as of {rfc3339(manifest.made_at)}.\n")
    if restored.moved:
        echo(f"It was at {restored.before.advertise_addr}. On every worker, say where it is now:\n")
        echo(f"    swarm-worker start --manager {address}\n")
    else:
        echo("Workers reconnect by themselves.")
    was, now = restored.before.dashboard, restored.config.dashboard
    if was is not None and now is None:
        echo("The shared dashboard is not served here: see --dashboard-host of 'swarm-manager start'.")
    elif was is not None and now is not None and was.certificate != now.certificate:
        echo(f"The shared dashboard shows the manager's own certificate: {was.certificate} or its key is not here.")
    echo("What was changed since is lost: deploy it again. Hosts that joined since must leave, and join again.")
    echo("The previous manager must not run again: two managers would give conflicting orders.")


@interruptible(_INTERRUPTED)
def start(
    data_dir: Path,
    *,
    hosts: Sequence[str] = (),
    tls_names: Sequence[str] = (),
    dashboard: DashboardConfig | None = None,
) -> None:
    """Start the daemon of a data directory and return when it answers; one that runs already is left alone.

    With `hosts` or `tls_names` these replace, from now on, where the API listens and the names that its certificate is
    for beside its own, and so does `dashboard`, of which one without hosts means none; a daemon that runs is restarted.
    If it does not start with them, it goes on with the earlier ones.

    Raises:
        FailedPrecondition: there is no cluster in it.
        InvalidArgument: a name is neither an address nor a host name.
        Unavailable: the daemon does not start; its last words.

    """
    data = DataDir(data_dir)
    before = data.load()
    config = before.with_api(hosts, tls_names).with_dashboard(dashboard)
    daemon = daemon_of(data)
    if config == before:
        if daemon.pid() is None:
            daemon.start(READY_SECONDS)
        _tell_if_it_waits(data, config)
        return

    _restart_with(data, daemon, before, config)
    _tell_if_it_waits(data, config)
    for address in config.api_addresses():
        echo(f"The API is at {address}, for clients with a certificate: 'swarm-manager client-cert' makes one.")
    for address in config.dashboard_addresses():
        echo(f"The dashboard is at {address}: 'swarm-manager dashboard token create NAME' lets somebody in.")


def _restart_with(data: DataDir, daemon: Daemon, before: ManagerConfig, config: ManagerConfig) -> None:
    """Restart the daemon with another configuration; if it does not start, return to the one before.

    Raises:
        Unavailable: it does not start; its last words, and whether it runs again as before.

    """
    running = daemon.by_systemd or daemon.pid() is not None

    def undo() -> None:
        daemon.stop()
        data.save(before)
        if running:
            daemon.start(READY_SECONDS)

    try:
        with attempt(undo) as settle:
            daemon.stop()
            data.save(config)
            daemon.start(READY_SECONDS)
            settle()
    except Unavailable as error:
        if running and daemon.pid() is not None:
            raise Unavailable(f"{error.message}; it runs again as it did before") from error
        raise


def _tell_if_it_waits(data: DataDir, config: ManagerConfig) -> None:
    """Say so where the manager runs, and manages nothing yet: it is up all the same, so that the boot goes on."""
    try:
        KeyFile(data.key).load()
    except Locked as error:  # as it is on disk while an unlocked one runs, too
        if asyncio.run(_state(config)) != "active":
            echo(f"This manager waits to be unlocked: {error.message}")
            return
    if config.etcd is not None and not _answers(config):
        waits_for = (
            "the etcd at its --etcd-endpoints" if config.etcd.endpoints else "most of the managers' hosts to be up"
        )
        echo(f"This manager runs, and does not answer yet: it waits for {waits_for}. See {daemon_of(data).log_hint()}")


async def _state(config: ManagerConfig) -> str:
    """Return what the manager that runs here says that it is (`active`, `locked`), empty if it does not say."""
    for host in config.hosts:
        with suppress(SwarmError):  # then another may
            async with Client(Endpoint(host)) as client:
                return str((await client.get("/info"))["Swarm"]["LocalNodeState"])
    return ""


def _answers(config: ManagerConfig) -> bool:
    """Return whether the API takes connections at its unix sockets, which a manager opens when it has its store."""
    for path in (host.removeprefix("unix://") for host in config.hosts if host.startswith("unix://")):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asked:
            try:
                asked.connect(path)
            except OSError:
                return False
    return True


def daemon_of(data: DataDir) -> Daemon:
    """Return the background program of a data directory."""
    return Daemon(module="manager.main", unit=UNIT, home=DEFAULT_DATA_DIR, data_dir=data.path)
