"""`swarm-manager config`."""

from __future__ import annotations

import base64
import time
from typing import Any

import click

from common.text.terminal import echo
from manager.cli.client import Client, filter_query
from manager.cli.command import SwarmCommand, SwarmGroup, flag
from manager.cli.completion import complete_configs
from manager.cli.files import stored_files
from manager.cli.files.stored_files import content, rows
from manager.cli.flags.types import LABEL
from manager.cli.format.inspection import inspect
from manager.cli.format.listing import group_filters, inspecting, listing
from manager.cli.format.tables import Table, capitalize, go_time
from manager.cli.node.rows import labels
from manager.cli.session import with_client
from manager.cli.several import each

CONFIGS = Table(
    columns=("{{.ID}}", "{{.Name}}", "{{.CreatedAt}}", "{{.UpdatedAt}}"),
    headings={"ID": "ID", "Name": "NAME", "CreatedAt": "CREATED", "UpdatedAt": "UPDATED", "Labels": "LABELS"},
)


@click.group(cls=SwarmGroup)
def config() -> None:
    """Manage configs: small files that services get mounted."""


@config.command(
    cls=SwarmCommand,
    examples="""
    swarm-manager config create nginx.conf ./nginx.conf
    generate | swarm-manager config create --label env=test app.ini -
    """,
)
@click.argument("name", metavar="CONFIG")
@click.argument("source", metavar="[file|-]", required=False, type=click.Path())
@flag("--env", metavar="NAME", help="Take the content from an environment variable.")
@flag("-l", "--label", type=LABEL, multiple=True, help="Config labels.")
@flag("--template-driver", metavar="STRING", help="Template driver.")
@with_client
async def create(
    client: Client,
    /,
    name: str,
    source: str | None,
    env: str | None,
    label: tuple[tuple[str, str], ...],
    template_driver: str | None,
) -> None:
    """Create a config from a file, standard input or an environment variable."""
    spec: dict[str, Any] = {"Name": name, "Labels": dict(label), "Data": content(source, env)}
    if template_driver:
        spec["Templating"] = {"Name": template_driver}
    echo((await client.post("/configs/create", spec))["ID"])


config.add_command(stored_files.command("config", complete_configs))


@config.command("ls", cls=SwarmCommand, aliases=("list",), examples="swarm-manager config ls --filter label=env=test")
@listing
@with_client
async def list_configs(client: Client, /, filters: tuple[tuple[str, str], ...], layout: str, *, quiet: bool) -> None:
    """List configs."""
    found = rows(await client.get("/configs", filter_query(group_filters(filters))), time.time())
    without_driver = [{key: value for key, value in row.items() if key != "Driver"} for row in found]
    echo(CONFIGS.render(without_driver, layout, quiet=quiet), nl=False)


@config.command("inspect", cls=SwarmCommand, examples="swarm-manager config inspect --pretty nginx.conf")
@click.argument("configs", nargs=-1, required=True, metavar="CONFIG...", shell_complete=complete_configs)
@inspecting
@with_client
async def inspect_configs(client: Client, /, configs: tuple[str, ...], layout: str, *, pretty: bool) -> None:
    """Show one or more configs; --pretty shows the content too."""
    await inspect(configs, lambda name: client.get_text(f"/configs/{name}"), "config", layout, _page, pretty=pretty)


async def _page(data: Any) -> str:
    spec = data["Spec"]
    shown = base64.b64decode(spec.get("Data") or "").decode(errors="replace")
    return "\n".join(
        (
            f"ID:\t\t\t{data['ID']}",
            f"Name:\t\t\t{spec['Name']}",
            *labels("Labels:", spec.get("Labels")),
            f"Created at:            \t{capitalize(go_time(data['CreatedAt']))}",
            f"Updated at:            \t{capitalize(go_time(data['UpdatedAt']))}",
            f"Data:\n{shown}",
        )
    )


@config.command("rm", cls=SwarmCommand, aliases=("remove",), examples="swarm-manager config rm nginx.conf")
@click.argument("configs", nargs=-1, required=True, metavar="CONFIG...", shell_complete=complete_configs)
@with_client
async def remove(client: Client, /, configs: tuple[str, ...]) -> None:
    """Remove one or more configs that no service uses."""
    await each(configs, lambda name: client.delete(f"/configs/{name}"))
