"""`swarm-manager dashboard`."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from common.clock import HOUR, seconds
from common.text.help import as_epilog
from common.text.terminal import echo
from manager.cli.client import Client
from manager.cli.command import SwarmGroup, connection_flags, flag
from manager.cli.dashboard.gate import open_gate
from manager.cli.dashboard.keys import TOKEN_SECONDS
from manager.cli.dashboard.token import token
from manager.cli.session import with_client

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
@flag("--role", words=_ROLES, default="viewer", help="What the dashboard may do at most (viewer, operator, admin)")
@flag("--port", type=click.IntRange(0, 65535), metavar="PORT", default=0, help="Port on 127.0.0.1; 0 is a free one")
@flag("--no-browser", switch=True, help="Only print the address")
@click.pass_context
def dashboard(ctx: click.Context, /, **given: Any) -> None:
    """Open the dashboard in your browser, until Ctrl-C or for 8 hours."""
    if ctx.invoked_subcommand is None:
        _open(**given)


dashboard.params += connection_flags(taken=set())
dashboard.add_command(token)


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
