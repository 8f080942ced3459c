"""`swarm-manager volume move`, `volume cp` and `volume snapshot`: begun, and followed to their end.

`volume backup` and `volume restore` have a volume's data as a tar archive.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import click

from common.clock import seconds
from common.errors import InvalidArgument
from common.text.quantities import human_duration, human_size
from common.text.terminal import echo
from manager.cli.client import Client
from manager.cli.command import SwarmCommand, flag
from manager.cli.completion import complete_nodes, complete_volumes
from manager.cli.container.archive import pieces
from manager.cli.failures import CommandFailed
from manager.cli.flags.types import DURATION, RATE
from manager.cli.image.transfer import TAR, open_archive, write_to
from manager.cli.session import with_client
from manager.cli.several import going_on

LOOK_SECONDS = 0.5
# Less often the same pass is told of in lines of their own.
TELL_SECONDS = 2.0

_SOURCE = click.argument("name", metavar="[NODE/]VOLUME", shell_complete=complete_volumes)
_LIMIT = flag(
    "--limit", type=RATE, help="Bytes a second that are sent at most, such as 50MB/s (default the cluster's)."
)
_MAX_DOWNTIME = flag(
    "--max-downtime", type=DURATION, help="Give up if the last pass would take longer than this, as estimated."
)
_DETACH = flag("-d", "--detach", is_flag=True, default=False, help="Do not wait for its end: print its ID.")
_HOLD = flag(
    "--hold",
    type=click.Choice(["pause", "stop", "live"]),
    default="pause",
    show_default=True,
    help="What becomes of its containers for the last pass: a pause of 2 s at most, a stop of its tasks, or nothing.",
)
_DRY_RUN = flag("--dry-run", is_flag=True, default=False, help="Say what would be copied, and check that it can be.")


@click.command(
    "move",
    cls=SwarmCommand,
    examples="""
    swarm-manager volume move app_db host-3
    swarm-manager volume move --max-downtime 10s --limit 50MB/s host-2/app_db host-3
    swarm-manager volume move --dry-run app_db host-3
    """,
)
@_SOURCE
@click.argument("node", metavar="NODE", shell_complete=complete_nodes)
@_MAX_DOWNTIME
@_LIMIT
@flag(
    "--delete-source",
    is_flag=True,
    default=False,
    help="Remove the old copy, once the new one was read back from its disk.",
)
@flag("--dry-run", is_flag=True, default=False, help="Say what would be moved, and check that it can be.")
@_DETACH
@with_client
async def move(
    client: Client,
    /,
    name: str,
    node: str,
    max_downtime: int | None,
    limit: int | None,
    *,
    delete_source: bool,
    dry_run: bool,
    detach: bool,
) -> None:
    """Move a volume to another node, and its tasks with it.

    It is copied while the tasks run; for the last changes they stop, and start on the other node. The old copy is kept.
    """
    body = {"Node": node, "DeleteSource": delete_source, **_body(max_downtime, limit, dry_run=dry_run)}
    begun = await client.post(f"/swarm{path_of(name)}/move", body)
    await _follow_unless(client, begun, dry_run=dry_run, detach=detach)


@click.command(
    "cp",
    cls=SwarmCommand,
    examples="""
    swarm-manager volume cp app_db host-3
    swarm-manager volume cp host-2/app_db host-3/app_db_test
    swarm-manager volume cp --hold stop --limit 50MB/s app_db host-3
    """,
)
@_SOURCE
@click.argument("target", metavar="NODE[/NAME]", shell_complete=complete_nodes)
@_HOLD
@_MAX_DOWNTIME
@_LIMIT
@_DRY_RUN
@_DETACH
@with_client
async def copy(
    client: Client,
    /,
    name: str,
    target: str,
    hold: str,
    max_downtime: int | None,
    limit: int | None,
    *,
    dry_run: bool,
    detach: bool,
) -> None:
    """Copy a volume to a new one, on any node; its tasks keep the original.

    It is copied while they run. For the last changes whatever writes to it is paused, so the copy is of one instant.
    """
    node, _, called = target.partition("/")
    body = {"Node": node, "Name": called, "Hold": hold, **_body(max_downtime, limit, dry_run=dry_run)}
    begun = await client.post(f"/swarm{path_of(name)}/copy", body)
    await _follow_unless(client, begun, dry_run=dry_run, detach=detach)


@click.command(
    "snapshot",
    cls=SwarmCommand,
    examples="""
    swarm-manager volume snapshot app_db
    swarm-manager volume snapshot --hold stop app_db app_db_before_upgrade
    """,
)
@_SOURCE
@click.argument("called", metavar="[NAME]", required=False, default="")
@_HOLD
@_LIMIT
@_DRY_RUN
@_DETACH
@with_client
async def snapshot(
    client: Client, /, name: str, called: str, hold: str, limit: int | None, *, dry_run: bool, detach: bool
) -> None:
    """Copy a volume on its own node, as it is at one instant; without a name it is called after the time."""
    body = {"Name": called, "Hold": hold, **_body(None, limit, dry_run=dry_run)}
    begun = await client.post(f"/swarm{path_of(name)}/snapshot", body)
    await _follow_unless(client, begun, dry_run=dry_run, detach=detach)


def _body(max_downtime: int | None, limit: int | None, *, dry_run: bool) -> dict[str, Any]:
    return {"MaxDowntime": seconds(max_downtime or 0), "Limit": limit or 0, "DryRun": dry_run}


async def _follow_unless(client: Client, begun: Any, *, dry_run: bool, detach: bool) -> None:
    if dry_run:
        size = f", {human_size(begun['Size'])}" if "Size" in begun else ""
        echo(f"would {begun['Kind']} {what(begun)}{size}")
        return
    echo(begun["ID"] if detach else f"{_DOING[begun['Kind']]} {what(begun)}")
    if not detach:
        goes_on = (
            f"It goes on: 'swarm-manager volume transfers' shows how far it is, 'volume cancel {begun['ID']}' ends it."
        )
        with going_on(goes_on):
            await follow(client, begun["ID"])


# What a move or a copy is while it is under way, and when it has ended well.
_DOING = {"move": "moving", "copy": "copying"}
DONE = {"move": "moved", "copy": "copied"}


def what(transfer: Any) -> str:
    """Name the volumes, and their way."""
    named = f"/{transfer['Name']}" if transfer["Kind"] == "copy" else ""
    return f"{', '.join(transfer['Volumes'])} from {transfer['From']} to {transfer['To']}{named}"


async def follow(client: Client, transfer_id: str) -> None:
    """Tell how far a move or a copy is until it has ended.

    Raises:
        CommandFailed: it has failed; tasks run at the source.

    """
    told, at = "", 0.0
    loop = asyncio.get_running_loop()
    while True:
        transfer = next((each for each in await client.get("/swarm/transfers") if each["ID"] == transfer_id), None)
        if transfer is None:
            echo(
                "it has ended, and newer ones have taken its record's place: `swarm-manager volume ls` has the outcome"
            )
            return
        done = DONE[transfer["Kind"]]
        if transfer["Phase"] == "failed":
            raise CommandFailed(f"not {done}: {transfer['Error']}; its tasks go on running on {transfer['From']}")
        if transfer["Phase"] == "done":
            echo(f"{done}; {_downtime(transfer)}")
            if transfer["Kind"] == "copy" and transfer["Name"] in transfer["Volumes"]:
                one, other = (f"{transfer[where]}/{transfer['Name']}" for where in ("From", "To"))
                echo(f"from now on write {one} for the original, {other} for the copy")
            if transfer["Note"]:
                echo(transfer["Note"], err=True)
            return
        words = progress(transfer)
        if words != told and (loop.time() >= at or transfer["Phase"] == "last"):
            echo(told := words)
            at = loop.time() + TELL_SECONDS
        await asyncio.sleep(LOOK_SECONDS)


def _downtime(transfer: Any) -> str:
    if transfer["Hold"] == "live":
        return "its tasks ran on: of what changed meanwhile it may have some from before and some after"
    if not transfer["Downtime"]:
        return "no task used it"
    return f"its tasks were {_held(transfer)} for {transfer['Downtime']:.1f} s"


def _held(transfer: Any) -> str:
    return "paused" if transfer["Hold"] == "pause" else "stopped"


def progress(transfer: Any) -> str:
    """Say how far a move or a copy that is under way is."""
    if transfer["Phase"] == "last":
        return "the last pass" + ("" if transfer["Hold"] == "live" else f": its tasks are {_held(transfer)}")
    done, left = transfer.get("Done", 0), transfer.get("Left", 0)
    if not left:
        return "copying"
    share = f"{100 * done // (done + left)} % of {human_size(done + left)}"
    return f"copying: {share}, {human_duration(transfer['Seconds']).lower()} left"


STREAM = "-"


def path_of(reference: str) -> str:
    return f"/volumes/{quote(reference, safe='/')}"


@click.command(
    "backup",
    cls=SwarmCommand,
    examples="""
    swarm-manager volume backup app_db app_db.tar
    swarm-manager volume backup host-2/app_db - | zstd > app_db.tar.zst
    """,
)
@click.argument("name", metavar="[NODE/]VOLUME", shell_complete=complete_volumes)
@click.argument("file", metavar="FILE|-")
@with_client
async def backup(client: Client, /, name: str, file: str) -> None:
    """Write the content of a volume to a tar archive; `-` is standard output.

    Tasks are not paused: of files that change meanwhile, the archive may have some from before and some from after.
    """
    await write_to("" if file == STREAM else file, client, f"/swarm{path_of(name)}/archive", [])


@click.command(
    "restore",
    cls=SwarmCommand,
    examples="""
    swarm-manager volume restore app_db.tar host-2/app_db
    zstd -dc app_db.tar.zst | swarm-manager volume restore - host-2/app_db
    """,
)
@click.argument("file", metavar="FILE|-")
@click.argument("name", metavar="NODE/VOLUME")
@with_client
async def restore(client: Client, /, file: str, name: str) -> None:
    """Create a volume on a node from a tar archive; `-` is standard input.

    A volume that exists is not touched: remove it first, or restore under another name.
    """
    if "/" not in name:
        raise InvalidArgument(f"{name} does not name the node for the volume: write NODE/{name}")
    path = f"/swarm{path_of(name)}/archive"
    with await open_archive("" if file == STREAM else file) as archive:
        async with client.upload(path, pieces(archive.fileno()), [], headers=TAR, method="PUT") as answer:
            made = client.decoded(await answer.read())
    echo(f"restored volume {made['Name']} on {made['Node']}: an archive of {human_size(made['Bytes'])}")
