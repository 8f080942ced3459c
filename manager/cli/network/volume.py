"""`swarm-manager volume`: the volumes of all nodes. `NODE/NAME` means the one on that node."""

from __future__ import annotations

from typing import Any

import click

from common.text.terminal import echo
from manager.cli.client import Client, filter_query
from manager.cli.command import SwarmCommand, SwarmGroup, flag
from manager.cli.completion import complete_volumes
from manager.cli.files.pruning import filters_flag, force_flag, run_prune
from manager.cli.flags.types import KEY_VALUE, LABEL
from manager.cli.format.inspection import inspect
from manager.cli.format.listing import group_filters, inspect_format_flag, listing
from manager.cli.network.volume_copies import backup, copy, move, path_of, restore, snapshot
from manager.cli.network.volume_rows import VOLUMES, rows
from manager.cli.network.volume_transfers import cancel, list_transfers
from manager.cli.session import with_client
from manager.cli.several import each

_VOLUMES: dict[str, Any] = {
    "nargs": -1,
    "required": True,
    "metavar": "[NODE/]VOLUME...",
    "shell_complete": complete_volumes,
}


@click.group(cls=SwarmGroup)
def volume() -> None:
    """Manage volumes, each on the node that has it."""


@volume.command(
    "create",
    cls=SwarmCommand,
    examples="""
    swarm-manager volume create data
    swarm-manager volume create --label team=shop host-2/data
    """,
)
@click.argument("name", required=False, default="", metavar="[[NODE/]VOLUME]")
@flag("-d", "--driver", default="local", show_default=True, metavar="STRING", help="Volume driver.")
@flag("--label", "labels", type=LABEL, multiple=True, metavar="NAME=VALUE", help="Set metadata for a volume.")
@flag(
    "-o", "--opt", "options", type=KEY_VALUE, multiple=True, metavar="NAME=VALUE", help="Set an option of the driver."
)
@with_client
async def create(client: Client, /, name: str, driver: str, labels: Any, options: Any) -> None:
    """Create a volume: on the node that is named, else on the one with the least to do."""
    body = {"Name": name, "Driver": driver, "Labels": dict(labels), "DriverOpts": dict(options)}
    echo((await client.post("/volumes/create", body))["Name"])


@volume.command("ls", cls=SwarmCommand, aliases=("list",), examples="swarm-manager volume ls --filter dangling=true")
@listing
@with_client
async def list_volumes(client: Client, /, filters: tuple[tuple[str, str], ...], layout: str, *, quiet: bool) -> None:
    """List the volumes of all nodes."""
    found = await client.get("/volumes", filter_query(group_filters(filters)))
    echo(VOLUMES.render(rows(found["Volumes"] or ()), layout, quiet=quiet), nl=False)
    for warning in found.get("EngineWarnings") or ():  # which nodes are missing has been said
        echo(f"WARNING: {warning}", err=True)


@volume.command("inspect", cls=SwarmCommand, examples="swarm-manager volume inspect -f '{{.Mountpoint}}' host-2/data")
@click.argument("volumes", **_VOLUMES)
@inspect_format_flag()
@with_client
async def inspect_volumes(client: Client, /, volumes: tuple[str, ...], layout: str) -> None:
    """Show all that is known of one or more volumes."""
    await inspect(volumes, lambda reference: client.get_text(path_of(reference)), "volume", layout)


@volume.command("rm", cls=SwarmCommand, aliases=("remove",), examples="swarm-manager volume rm host-2/data")
@click.argument("volumes", **_VOLUMES)
@flag("-f", "--force", is_flag=True, default=False, help="Do not fail if the volume does not exist.")
@with_client
async def remove(client: Client, /, volumes: tuple[str, ...], *, force: bool) -> None:
    """Remove one or more volumes that no container uses."""
    await each(volumes, lambda name: client.delete(path_of(name), {"force": "1"} if force else None))


@volume.command(
    "release",
    cls=SwarmCommand,
    examples="""
    swarm-manager volume release app_db
    swarm-manager volume release host-2/app_db
    """,
)
@click.argument("volumes", **_VOLUMES)
@with_client
async def release(client: Client, /, volumes: tuple[str, ...]) -> None:
    """Let services do without the data in a volume: their next tasks may start empty elsewhere. The data stays."""

    async def one(name: str) -> None:
        for slot in (await client.post(f"/swarm{path_of(name)}/release"))["Released"]:
            echo(f"{slot} no longer waits for volume {name}")

    await each(volumes, one)


@volume.command("claim", cls=SwarmCommand, examples="swarm-manager volume claim host-2/app_db app_db.1")
@click.argument("name", metavar="[NODE/]VOLUME", shell_complete=complete_volumes)
@click.argument("slot", metavar="SERVICE.SLOT")
@with_client
async def claim(client: Client, /, name: str, slot: str) -> None:
    """Say that a slot's data is in a volume of a node: its next task goes there.

    Service and slot need not exist yet: restore and claim first, then deploy or scale up. A warning says so.
    """
    found = await client.post(f"/swarm{path_of(name)}/claim", {"Slot": slot})
    echo(f"the data of {found['Slot']} in {name.rpartition('/')[2]} is on {found['Node']}")
    for warning in found.get("Warnings") or ():
        echo(f"Warning: {warning}", err=True)


@volume.command("prune", cls=SwarmCommand, examples="swarm-manager volume prune --force --filter label=stage=test")
@flag("-a", "--all", "everything", is_flag=True, default=False, help="Remove named volumes, too.")
@filters_flag
@force_flag
@with_client
async def prune(client: Client, /, filters: tuple[tuple[str, str], ...], *, everything: bool, force: bool) -> None:
    """Remove volumes that no container uses: those without a name of a user's."""
    what = ("all" if everything else "anonymous") + " local volumes not used by at least one container"
    more = {"all": ["true"]} if everything else {}
    await run_prune(client, "volume", what, group_filters(filters, **more), force=force)


for each_command in (move, copy, snapshot, list_transfers, cancel, backup, restore):
    volume.add_command(each_command)
