"""`swarm-manager volume backup` and `volume restore`: a volume's data as a tar archive."""

from __future__ import annotations

import json
from urllib.parse import quote

import click

from common.errors import InvalidArgument
from common.text.quantities import human_size
from common.text.terminal import echo
from manager.cli.client import Client
from manager.cli.command import SwarmCommand
from manager.cli.completion import complete_volumes
from manager.cli.container.archive import pieces
from manager.cli.image.transfer import TAR, open_archive, write_to
from manager.cli.session import with_client

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
    """Write what is in a volume as a tar archive; `-` is standard output.

    Tasks run meanwhile, and are not held: of files that change, an archive may have some from before and some after.
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
    """Make a new volume on a node of a tar archive; `-` is standard input.

    A volume that is there already is not touched: remove it first, or restore under another name.
    """
    if "/" not in name:
        raise InvalidArgument(f"{name} does not say on which node the volume is to be: write NODE/VOLUME")
    path = f"/swarm{path_of(name)}/archive"
    with await open_archive("" if file == STREAM else file) as archive:
        async with client.upload(path, pieces(archive.fileno()), [], headers=TAR, method="PUT") as answer:
            made = json.loads(await answer.read())
    echo(f"restored volume {made['Name']} on {made['Node']}: an archive of {human_size(made['Bytes'])}")
