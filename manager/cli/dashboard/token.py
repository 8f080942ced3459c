"""`swarm-manager dashboard token`: who may come in at the shared dashboard."""

from __future__ import annotations

import time
from typing import Any

import click

from common.clock import parse_rfc3339
from common.model.client import Role
from common.net.dashboard_token import ID_PREFIX, new_token
from common.text.terminal import echo
from manager.cli.client import Client
from manager.cli.cluster.client_cert import LifetimeType, status_of
from manager.cli.command import SwarmCommand, SwarmGroup, flag
from manager.cli.failures import ApiError
from manager.cli.format.inspection import finish
from manager.cli.format.tables import Row, Table, format_flag, quiet_flag
from manager.cli.format.wording import natural
from manager.cli.session import with_client

TABLE = Table(
    columns=("{{.ID}}", "{{.Name}}", "{{.Role}}", "{{.Status}}", "{{.IssuedBy}}"),
    headings={
        "ID": "ID",
        "Name": "NAME",
        "Role": "ROLE",
        "Status": "STATUS",
        "IssuedBy": "ISSUED BY",
        "RevokedBy": "REVOKED BY",
    },
)


@click.group(cls=SwarmGroup, context_settings={"help_option_names": ["-h", "--help"]})
def token() -> None:
    """Make, list and revoke tokens of the shared dashboard: see --dashboard-host of 'start'."""


@token.command(
    cls=SwarmCommand,
    examples="""
    swarm-manager dashboard token create alice
    swarm-manager dashboard token create oncall --role operator --ttl 168h
    """,
)
@click.argument("name")
@flag(
    "--role",
    type=click.Choice([role.label for role in Role]),
    default=Role.VIEWER.label,
    show_default=True,
    help="What its owner may do.",
)
@flag("--ttl", type=LifetimeType(), default="720h", show_default=True, help="How long it is valid.")
@with_client
async def create(client: Client, /, name: str, *, role: str, ttl: int) -> None:
    """Make a token and print it. It is made here: the manager gets a digest of it."""
    made = new_token()
    order = {"ID": made.id, "Digest": made.digest, "Name": name, "Role": role, "Lifetime": ttl}
    answer = await client.post("/swarm/dashboard-tokens/create", order)
    echo(f"The token of {name} ({role}), valid until {answer['NotAfter']}; it is shown only here:\n\n    {made}\n")
    for address in answer["Dashboards"]:
        echo(f"For a browser: {address}#{made}")
    if not answer["Dashboards"]:
        echo("No dashboard is shared at this manager yet: see --dashboard-host of 'swarm-manager start'.")


@token.command("ls", cls=SwarmCommand, aliases=("list",), examples="swarm-manager dashboard token ls")
@format_flag()
@quiet_flag("Only display ids.")
@with_client
async def ls(client: Client, /, *, layout: str, quiet: bool) -> None:
    """List the tokens that were made, and what became of them."""
    found = await client.get("/swarm/dashboard-tokens")
    found.sort(key=lambda each: (natural(each["Name"]), parse_rfc3339(each["CreatedAt"])))
    now = time.time()
    echo(TABLE.render([row(each, now) for each in found], layout, quiet=quiet), nl=False)


def row(each: Any, now: float) -> Row:
    return {
        "ID": _short(each["ID"]),
        "Name": each["Name"],
        "Role": each["Role"],
        "Status": status_of(each, now),
        "IssuedBy": each["IssuedBy"],
        "RevokedBy": each["RevokedBy"],
    }


def _short(token_id: str) -> str:
    return token_id.removeprefix(ID_PREFIX)


@token.command(
    "rm",
    cls=SwarmCommand,
    aliases=("revoke", "remove"),
    examples="""
    swarm-manager dashboard token rm alice
    swarm-manager dashboard token rm 3fa94c01beef
    """,
)
@click.argument("references", metavar="NAME|ID...", nargs=-1, required=True)
@with_client
async def remove(client: Client, /, references: tuple[str, ...]) -> None:
    """Make tokens worthless, at once: all of a name, or the one with an id."""
    problems = []
    for reference in references:
        try:
            for each in await client.delete(f"/swarm/dashboard-tokens/{reference}"):
                echo(f"{_short(each['ID'])} {each['Name']}")
        except ApiError as error:
            problems.append(error.message)
    finish(problems)
