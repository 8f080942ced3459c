"""`swarm-manager secret`."""

from __future__ import annotations

import time
from typing import Any

import click

from common.errors import InvalidArgument
from common.text.terminal import echo
from manager.cli.client import Client, filter_query
from manager.cli.command import SwarmCommand, SwarmGroup, flag
from manager.cli.completion import complete_secrets
from manager.cli.files import digest, stored_files
from manager.cli.files.stored_files import content, rows
from manager.cli.flags.types import LABEL
from manager.cli.format.inspection import inspect
from manager.cli.format.listing import group_filters, inspecting, listing
from manager.cli.format.tables import Table, capitalize, go_time
from manager.cli.node.rows import labels
from manager.cli.session import with_client
from manager.cli.several import each

SECRETS = Table(
    columns=("{{.ID}}", "{{.Name}}", "{{.Driver}}", "{{.CreatedAt}}", "{{.UpdatedAt}}"),
    headings={
        "ID": "ID",
        "Name": "NAME",
        "Driver": "DRIVER",
        "CreatedAt": "CREATED",
        "UpdatedAt": "UPDATED",
        "Labels": "LABELS",
    },
)


@click.group(cls=SwarmGroup)
def secret() -> None:
    """Manage secrets: small files that only the tasks which need them get."""


@secret.command(
    cls=SwarmCommand,
    examples="""
    swarm-manager secret create db-password ./password.txt
    openssl rand -base64 20 | swarm-manager secret create api-key -
    """,
)
@click.argument("name", metavar="SECRET")
@click.argument("source", metavar="[file|-]", required=False, type=click.Path())
@flag("--env", metavar="NAME", help="Take the content from an environment variable.")
@flag("-d", "--driver", metavar="STRING", help="Secret driver.")
@flag("-l", "--label", type=LABEL, multiple=True, help="Secret labels.")
@flag("--template-driver", metavar="STRING", help="Template driver.")
@with_client
async def create(
    client: Client,
    /,
    name: str,
    source: str | None,
    env: str | None,
    driver: str | None,
    label: tuple[tuple[str, str], ...],
    template_driver: str | None,
) -> None:
    """Create a secret from a file, standard input or an environment variable."""
    given = source is not None or env is not None
    if driver and given:
        raise InvalidArgument("When using secret driver secret data must be empty")
    if not driver and not given:
        raise InvalidArgument("use an external driver, or give the content: FILE, - for standard input, or --env NAME")
    spec: dict[str, Any] = {"Name": name, "Labels": dict(label)}
    if given:
        spec["Data"] = content(source, env)
        spec["Labels"] = digest.with_digest(dict(label), digest.decode_content(spec["Data"]))
    if driver:
        spec["Driver"] = {"Name": driver}
    if template_driver:
        spec["Templating"] = {"Name": template_driver}
    echo((await client.post("/secrets/create", spec))["ID"])


secret.add_command(stored_files.command("secret", complete_secrets))


@secret.command("ls", cls=SwarmCommand, aliases=("list",), examples="swarm-manager secret ls --filter name=db")
@listing
@with_client
async def list_secrets(client: Client, /, filters: tuple[tuple[str, str], ...], layout: str, *, quiet: bool) -> None:
    """List secrets."""
    found = rows(await client.get("/secrets", filter_query(group_filters(filters))), time.time())
    echo(SECRETS.render(found, layout, quiet=quiet), nl=False)


@secret.command("inspect", cls=SwarmCommand, examples="swarm-manager secret inspect --pretty db-password")
@click.argument("secrets", nargs=-1, required=True, metavar="SECRET...", shell_complete=complete_secrets)
@inspecting
@with_client
async def inspect_secrets(client: Client, /, secrets: tuple[str, ...], layout: str, *, pretty: bool) -> None:
    """Show what is known of one or more secrets; their content is never shown."""
    await inspect(secrets, lambda name: client.get_text(f"/secrets/{name}"), "secret", layout, _page, pretty=pretty)


async def _page(data: Any) -> str:
    spec = data["Spec"]
    return "\n".join(
        (
            f"ID:              {data['ID']}",
            f"Name:              {spec['Name']}",
            *labels("Labels:", spec.get("Labels")),
            f"Driver:            {(spec.get('Driver') or {}).get('Name', '')}",
            f"Created at:        {capitalize(go_time(data['CreatedAt']))}",
            f"Updated at:        {capitalize(go_time(data['UpdatedAt']))}",
        )
    )


@secret.command("rm", cls=SwarmCommand, aliases=("remove",), examples="swarm-manager secret rm db-password api-key")
@click.argument("secrets", nargs=-1, required=True, metavar="SECRET...", shell_complete=complete_secrets)
@with_client
async def remove(client: Client, /, secrets: tuple[str, ...]) -> None:
    """Remove one or more secrets that no service uses."""
    await each(secrets, lambda name: client.delete(f"/secrets/{name}"))
