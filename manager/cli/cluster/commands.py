"""`swarm-manager status` and `cluster`: the cluster as a whole, how hosts join and leave it, how tasks are spread."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any

import click

from common.errors import InvalidArgument
from common.model.service import EXTENSION_PREFIX
from common.process.deferred import Deferred
from common.text.terminal import echo, one_line
from manager.cli.client import Client
from manager.cli.cluster.lock import present_unlock_key, words_to_keep
from manager.cli.command import SwarmCommand, SwarmGroup, completing, flag
from manager.cli.completion import complete_services
from manager.cli.failures import ApiError, CannotConnect, CommandFailed
from manager.cli.flags.types import DURATION, UINT
from manager.cli.format.tables import align
from manager.cli.node.rows import manager_status
from manager.cli.progress.converge import MAX_INTERVAL
from manager.cli.progress.event_feed import event_feed
from manager.cli.session import with_client
from manager.cli.several import going_on

ROLES = ("worker", "manager")
ANSWER_SECONDS = 10.0
_DRY = flag("--dry-run", is_flag=True, default=False, help="Print which tasks would move, and move none.")
_DETACH = flag("-d", "--detach", is_flag=True, default=False, help="Return at once instead of waiting for the moves.")


@click.group(
    cls=SwarmGroup,
    deferred={
        "rebalance": Deferred(
            "manager.cli.cluster.commands:rebalance_cluster",
            "Move tasks until all services are spread evenly, a few at a time, each replaced before it stops.",
        )
    },
)
def cluster() -> None:
    """Manage the cluster as a whole."""


@cluster.command(
    "update",
    cls=SwarmCommand,
    examples="""
    swarm-manager cluster update --rebalance auto
    swarm-manager cluster update --autolock
    swarm-manager cluster update --transfer-limit 50MB/s
    swarm-manager cluster update --task-history-limit 2
    """,
)
@flag(
    "--autolock",
    switch=True,
    help="Whether a manager that starts has to be unlocked with a key that is on no disk (default off).",
)
@flag(
    "--rebalance",
    type=click.Choice(["off", "auto"]),
    help="Whether tasks move automatically when a node joins or returns (default off).",
)
@flag(
    "--strategy",
    type=click.Choice(["spread", "binpack"]),
    help="How tasks are placed unless their service says otherwise (default spread).",
)
@flag(
    "--transfer-limit",
    metavar="RATE",
    help="Bytes a second that each copying of a volume sends at most, such as 50MB/s (default none).",
)
@flag(
    "--dashboard-terminal",
    type=click.Choice(["on", "off"]),
    help="Whether the dashboard opens terminals in containers (default on).",
)
@flag(
    "--usage",
    type=click.Choice(["asked", "services"]),
    help="Measure what the tasks of services use that somebody looks at, or of all services (default asked).",
)
@flag("--task-history-limit", type=UINT, help="How many ended tasks of a slot are kept (default 5).")
@flag("--cert-expiry", type=DURATION, help="How long nodes' certificates are valid, from 1h on (default 2160h).")
@flag("--dispatcher-heartbeat", type=DURATION, help="How often workers show that they live (default 1s).")
@click.pass_context
def update_cluster(ctx: click.Context, /, **given: Any) -> None:
    """Change settings of the cluster."""
    if all(value is None for value in given.values()):
        echo(ctx.get_help())
        return
    _update(given)


@with_client
async def _update(client: Client, /, given: Mapping[str, Any]) -> None:
    found = await client.get("/swarm")
    spec = changed_settings(found["Spec"], given)
    await client.post("/swarm/update", spec, {"version": str(found["Version"]["Index"])})
    echo("Cluster updated.")
    if given["autolock"]:
        echo(words_to_keep(await present_unlock_key(client)))


# Where the cluster's specification has what a flag sets; what is not here is a label.
_SETTINGS = {
    "autolock": ("EncryptionConfig", "AutoLockManagers"),
    "task_history_limit": ("Orchestration", "TaskHistoryRetentionLimit"),
    "cert_expiry": ("CAConfig", "NodeCertExpiry"),
    "dispatcher_heartbeat": ("Dispatcher", "HeartbeatPeriod"),
}


def changed_settings(spec: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cluster's specification with the values of the flags that were given."""
    changed = {**spec, "Labels": dict(spec.get("Labels") or {})}
    for name, value in given.items():
        if value is None:
            continue
        if name in _SETTINGS:
            section, key = _SETTINGS[name]
            changed[section] = {**(changed.get(section) or {}), key: value}
        else:
            changed["Labels"][f"{EXTENSION_PREFIX}{name.replace('_', '-')}"] = value
    return changed


# --- join-token, leave ---


@click.command(
    "join-token",
    cls=SwarmCommand,
    examples="""
    swarm-manager join-token worker
    swarm-manager join-token -q worker
    swarm-manager join-token --rotate worker
    """,
)
@click.argument("role", metavar="(worker|manager)", shell_complete=completing(ROLES))
@flag("-q", "--quiet", is_flag=True, default=False, help="Only display the token.")
@flag("--rotate", is_flag=True, default=False, help="Replace the token; the old one is no longer valid.")
@with_client
async def join_token(client: Client, /, role: str, *, quiet: bool, rotate: bool) -> None:
    """Print how a host joins the cluster, or replace the token for it."""
    if role not in ROLES:
        raise InvalidArgument(f"unknown role {role}: it is worker or manager")
    if rotate:
        await _rotate(client, role)
        if not quiet:
            echo(f"Successfully rotated {role} join token.\n")
    token = (await client.get("/swarm"))["JoinTokens"][role.capitalize()]
    if not token:
        raise CommandFailed("join tokens are shown to clients with the role admin alone")
    if quiet:
        echo(token)
        return
    echo(join_help(role, token, await _address(client)))


async def _rotate(client: Client, role: str) -> None:
    swarm = await client.get("/swarm")
    query = {"version": str(swarm["Version"]["Index"]), f"rotate{role.capitalize()}Token": "true"}
    await client.post("/swarm/update", swarm["Spec"], query)


async def _address(client: Client) -> str:
    """Return HOST:PORT of the cluster's port of the manager that answers."""
    swarm: Any = (await client.get("/info")).get("Swarm") or {}
    managers: list[Any] = swarm.get("RemoteManagers") or []
    own = [each["Addr"] for each in managers if each.get("NodeID") == swarm.get("NodeID")]
    return str((own or [each["Addr"] for each in managers] or [""])[0])


def join_help(role: str, token: str, address: str) -> str:
    """Word what to run on a host that is to join."""
    program = "swarm-manager" if role == "manager" else "swarm-worker"
    command = f"{program} join --token {token} {address}"
    return (
        f"To add a {role} to this swarm, run the following command:\n\n    {command}\n\n"
        "Users who list that host's processes at that moment see the token. It can also come from --token-file FILE,\n"
        "--token - (standard input), or the variable SWARM_JOIN_TOKEN.\n"
    )


@click.command(cls=SwarmCommand, examples="swarm-manager leave --force")
@flag(
    "-f", "--force", is_flag=True, default=False, help="Leave although it is a manager; the last one ends the cluster."
)
@with_client
async def leave(client: Client, /, *, force: bool) -> None:
    """Take the manager that answers out of the cluster, which ends with the last one; needs --force."""
    query = {"force": "true", "cluster": (await client.get("/swarm"))["ID"]} if force else None
    await client.post("/swarm/leave", None, query)
    echo("Node left the swarm.")


@click.command(
    cls=SwarmCommand,
    examples="""
    swarm-manager status
    swarm-manager -H tcp://192.0.2.10:2376 status
    """,
)
@with_client
async def status(client: Client, /) -> None:
    """Tell whether the manager runs and how its cluster is; exit code 1 when it does not."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            version = await client.get("/version")
            info = await client.get("/info")
            nodes = await client.get("/nodes")
    except TimeoutError as error:
        head = f"swarm-manager: running at {client.endpoint.url}, but it has not answered for {ANSWER_SECONDS:g} s"
        raise CommandFailed(f"{head}\nLook at its log. systemd restarts it by itself.") from error
    except CannotConnect as error:
        raise CommandFailed(f"swarm-manager: not running, or not reachable\n{error.message}") from error
    except ApiError as error:
        raise CommandFailed(f"swarm-manager: running at {client.endpoint.url}\n{error.reason}") from error
    for key, value in describe(client.endpoint.url, version, info.get("Swarm") or {}, nodes):
        echo(f"{key + ':':<12}{value}")


def describe(url: str, version: Any, swarm: Any, nodes: list[Any]) -> list[tuple[str, str]]:
    """Make the lines of the report from the API's answers."""
    states = Counter(node["Status"].get("State", "unknown") for node in nodes)
    managers = [node for node in nodes if node.get("ManagerStatus")]
    counted = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    return [
        ("Manager", f"running at {url}"),
        ("Version", f"{version.get('Version', '')} (API {version.get('ApiVersion', '')})"),
        ("Cluster", str((swarm.get("Cluster") or {}).get("ID", "none"))),
        ("Node", f"{swarm.get('NodeID', '')} at {swarm.get('NodeAddr', '')}"),
        ("Nodes", f"{len(nodes)} ({counted}; {len(managers)} manager{'' if len(managers) == 1 else 's'})"),
        *([("Managers", ", ".join(map(_standing, managers)))] if len(managers) > 1 else []),
        *([("Trouble", swarm["Error"])] if swarm.get("Error") else []),
    ]


def _standing(node: Any) -> str:
    """Say what one of several managers is at the moment."""
    name = str(node.get("Description", {}).get("Hostname") or node.get("ID", ""))
    return f"{name} ({manager_status(node['ManagerStatus'])})"


@click.command(
    "rebalance",
    cls=SwarmCommand,
    examples="""
    swarm-manager cluster rebalance --dry-run
    swarm-manager cluster rebalance
    """,
)
@_DRY
@_DETACH
@with_client
async def rebalance_cluster(client: Client, /, *, dry_run: bool, detach: bool) -> None:
    """Move tasks until all services are spread evenly, a few at a time, each replaced before it stops."""
    await _rebalance(client, "/swarm/rebalance", dry_run=dry_run, detach=detach)


@click.command(
    "rebalance",
    cls=SwarmCommand,
    examples="""
    swarm-manager service rebalance --dry-run web
    swarm-manager service rebalance web
    """,
)
@click.argument("reference", metavar="SERVICE", shell_complete=complete_services)
@_DRY
@_DETACH
@with_client
async def rebalance_service(client: Client, /, reference: str, *, dry_run: bool, detach: bool) -> None:
    """Move a service's tasks until they are spread evenly, one at a time, each replaced before it stops."""
    await _rebalance(client, f"/services/{reference}/rebalance", dry_run=dry_run, detach=detach)


async def _rebalance(client: Client, path: str, *, dry_run: bool, detach: bool) -> None:
    if dry_run:
        _show((await client.post(path, None, {"dryRun": "1"}))["Moves"])
        return
    names = set((await client.post(path, None))["Services"])
    if not detach:
        with going_on("The moves go on: 'swarm-manager service ps' shows them."):
            await _until_even(client, names)


def _show(moves: list[dict[str, Any]]) -> None:
    if not moves:
        echo("Nothing to move: the load is as even as it can be.")
        return
    rows = [(f"{move['ServiceName']}.{move['Slot']}", move["From"], move["To"]) for move in moves]
    echo(align("\n".join("\t".join(map(one_line, row)) for row in (("TASK", "FROM", "TO"), *rows))))


async def _until_even(client: Client, names: set[str]) -> None:
    async with event_feed(client) as feed:
        while names & set((await client.get("/swarm/rebalance"))["Services"]):
            await feed.changed(feed.count, MAX_INTERVAL)
