"""`swarm-manager image adopt`: what one node's engine alone knows by a name becomes the cluster's."""

from __future__ import annotations

from urllib.parse import quote

import click

from common.errors import InvalidArgument
from common.terminal import echo
from manager.cli.client import Client
from manager.cli.command import SwarmCommand, flag
from manager.cli.completion import complete_nodes
from manager.cli.inspection import finish
from manager.cli.node import resolve
from manager.cli.session import with_client


@click.command(
    "adopt",
    cls=SwarmCommand,
    examples="""
    swarm-manager image adopt host-2 web:1
    swarm-manager image adopt host-2 web:1 team/web:7
    swarm-manager image adopt --all host-2
    """,
)
@click.argument("node", metavar="NODE", shell_complete=complete_nodes)
@click.argument("name", metavar="[NAME[:TAG]]", default="")
@click.argument("new_name", metavar="[NEW_NAME[:TAG]]", default="")
@flag("-a", "--all", "everything", is_flag=True, default=False, help="Adopt all names that the node's engine has.")
@flag("-f", "--force", is_flag=True, default=False, help="Also a name that means another image in the cluster.")
@with_client
async def adopt(client: Client, /, node: str, name: str, new_name: str, *, everything: bool, force: bool) -> None:
    """Make a name that only one node's engine has for an image one of the cluster, and print the image's ID.

    It means what that node has by it now. NODE may be `self`, the manager's own host.
    """
    if everything == bool(name):
        raise InvalidArgument("name an image of the node, or use --all for all that it has")
    body = {"Name": name, "NewName": new_name, "All": everything, "Force": force}
    reference = quote(await resolve(client, node), safe="")
    answer = await client.post(f"/nodes/{reference}/images/adopt", body)
    for each in answer["Adopted"]:
        echo(f"{each['Name']} {each['ID']}")
    finish(
        [
            f"{each['Name']} is not adopted: {each['Message']}; here it is {each['ID']}"
            for each in answer["Refused"] or ()
        ]
    )
