"""`swarm-manager dashboard`, and `dashboard token`: who may come in at the shared dashboard."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from common.clock import HOUR, parse_rfc3339, seconds, to_the_second
from common.http.dashboard_token import ID_PREFIX, new_token
from common.model.client import Role
from common.process.usage import as_epilog
from common.text.terminal import echo
from manager.cli.client import Client
from manager.cli.cluster.client_cert import LifetimeType, forbid_flag, status_of
from manager.cli.command import SwarmCommand, SwarmGroup, connection_flags, flag
from manager.cli.dashboard.gate import TOKEN_SECONDS, open_gate
from manager.cli.format.listing import format_flag, quiet_flag
from manager.cli.format.tables import Row, Table, natural
from manager.cli.session import with_client
from manager.cli.several import print_each

_HOURS = 8
_ROLES = ("viewer", "operator", "admin")
_OPENS = (
    '<!doctype html><meta charset="utf-8"><title>Dashboard</title><meta http-equiv="refresh" content="0; url={url}">\n'
)


@click.group(
    cls=SwarmGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=as_epilog("""
    swarm-manager dashboard                              # to look
    swarm-manager dashboard --role operator              # to change things, too
    swarm-manager -H ssh://root@192.0.2.10 dashboard     # of a manager elsewhere
    swarm-manager dashboard token create alice           # to the shared one
    """),
)
@flag("--role", type=click.Choice(_ROLES), default="viewer", help="What the dashboard may do at most (default viewer).")
@flag("--port", type=click.IntRange(0, 65535), metavar="PORT", default=0, help="Port on 127.0.0.1; 0 is a free one.")
@flag("--no-browser", switch=True, help="Only print the address.")
@click.pass_context
def dashboard(ctx: click.Context, /, **given: Any) -> None:
    """Open the dashboard in your browser, until Ctrl-C or for 8 hours."""
    if ctx.invoked_subcommand is None:
        _open(**given)


dashboard.params += connection_flags(taken=set())


@with_client
async def _open(client: Client, /, role: str, port: int, no_browser: bool | None) -> None:
    caller = await client.get("/swarm/caller", headers={"Swarm-Role": role})
    async with open_gate(client.endpoint, role, port) as (gate, own_port):

        def address() -> str:
            return f"http://127.0.0.1:{own_port}/#{gate.new_token()}"

        url = address()
        echo(f"The dashboard, as {caller['Role']}: {url}")
        echo(f"Valid once, for {TOKEN_SECONDS:.0f} s. From another machine, first run there: {_tunnel(own_port)}")
        with ExitStack() as stack:
            if not no_browser and _has_browser():
                stack.enter_context(_browser(url))
            if sys.stdin.isatty():
                echo("Enter prints another address, Ctrl-C ends it.")
                stack.enter_context(_at_each_line(lambda: echo(address())))
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds(_HOURS * HOUR)):
                    await asyncio.get_running_loop().create_future()
        echo(f"The dashboard has ended, after {_HOURS} hours. Run the command again to go on.")


def _tunnel(port: int) -> str:
    """Return what somebody types who sits elsewhere than where this runs."""
    return f"ssh -L {port}:127.0.0.1:{port} {os.environ.get('SUDO_USER') or 'USER'}@HOST"


def _has_browser() -> bool:
    return sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))


@contextmanager
def _browser(url: str) -> Iterator[None]:
    """Have the browser open an address that is in no list of processes: arguments are everybody's to read."""
    with tempfile.TemporaryDirectory(prefix="swarm-dashboard-") as folder:
        page = Path(folder) / "open.html"
        page.touch(mode=0o600)
        page.write_text(_OPENS.format(url=url))
        webbrowser.open(page.as_uri())
        yield


@contextmanager
def _at_each_line(act: Callable[[], None]) -> Iterator[None]:
    """Act whenever a line is typed."""
    loop = asyncio.get_running_loop()

    def hear() -> None:
        if sys.stdin.readline():
            act()
        else:
            loop.remove_reader(sys.stdin)

    loop.add_reader(sys.stdin, hear)
    try:
        yield
    finally:
        loop.remove_reader(sys.stdin)


TABLE = Table(
    columns=("{{.ID}}", "{{.Name}}", "{{.Role}}", "{{.Forbidden}}", "{{.Status}}", "{{.IssuedBy}}"),
    headings={
        "ID": "ID",
        "Name": "NAME",
        "Role": "ROLE",
        "Forbidden": "FORBIDDEN",
        "Status": "STATUS",
        "IssuedBy": "ISSUED BY",
        "RevokedBy": "REVOKED BY",
    },
)


@dashboard.group(cls=SwarmGroup, context_settings={"help_option_names": ["-h", "--help"]})
def token() -> None:
    """Make, list and revoke tokens of the shared dashboard: see --dashboard-host of 'start'."""


@token.command(
    cls=SwarmCommand,
    examples="""
    swarm-manager dashboard token create alice
    swarm-manager dashboard token create oncall --role operator --ttl 168h
    swarm-manager dashboard token create team --role operator --forbid all
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
@forbid_flag
@with_client
async def create(client: Client, /, name: str, *, role: str, ttl: int, forbid: list[str]) -> None:
    """Make a token and print it. It is made here: the manager gets a digest of it."""
    made = new_token()
    order = {"ID": made.id, "Digest": made.digest, "Name": name, "Role": role, "Lifetime": ttl, "Forbidden": forbid}
    answer = await client.post("/swarm/dashboard-tokens/create", order)
    valid_until = to_the_second(parse_rfc3339(answer["NotAfter"]))
    echo(f"The token of {name} ({role}), valid until {valid_until}; it is shown only here:\n\n    {made}\n")
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
        "Forbidden": ",".join(each["Forbidden"]),
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

    async def one(reference: str) -> list[str]:
        revoked = await client.delete(f"/swarm/dashboard-tokens/{reference}")
        return [f"{_short(each['ID'])} {each['Name']}" for each in revoked]

    await print_each(references, one)
