"""`swarm-manager container stats`: what containers use, once or as it changes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import click

from common.errors import SwarmError
from common.text.terminal import echo
from manager.cli.client import Client
from manager.cli.command import SwarmCommand, flag
from manager.cli.completion import complete_running
from manager.cli.container.stats import STATS, row, unknown
from manager.cli.failures import ApiError, CommandFailed
from manager.cli.format.listing import format_flag
from manager.cli.format.tables import Row, repaint
from manager.cli.progress.event_feed import event_feed
from manager.cli.session import with_client
from manager.cli.several import finish

# Seconds between refreshes of a live table, and between looks at the list of containers without an event.
_SHOW_SECONDS = 0.5
_LOOK_SECONDS = 10.0


@click.command(
    "stats",
    cls=SwarmCommand,
    examples="""
    swarm-manager container stats web db
    swarm-manager container stats --no-stream --format '{{.Name}}: {{.CPUPerc}}'
    """,
)
@click.argument("containers", nargs=-1, metavar="[CONTAINER...]", shell_complete=complete_running)
@flag("-a", "--all", "everything", is_flag=True, default=False, help="Show containers that do not run, too.")
@format_flag()
@flag("--no-stream", is_flag=True, default=False, help="Show the usage once, and exit.")
@flag("--no-trunc", is_flag=True, default=False, help="Do not truncate output.")
@with_client
async def stats(
    client: Client, /, containers: tuple[str, ...], layout: str, *, everything: bool, no_stream: bool, no_trunc: bool
) -> None:
    """Show what containers use, by default all that run, until it is interrupted."""
    names = list(containers) or await _list_names(client, everything=everything)
    if no_stream:
        await _show_once(client, names, layout, no_trunc=no_trunc)
        return
    usage = _Usage(client, no_trunc=no_trunc)
    async with asyncio.TaskGroup() as group:
        jobs = [group.create_task(_show(usage, layout))]
        if containers:
            await usage.follow_named(names)
        else:
            await usage.follow_all(group, everything=everything)
        for job in jobs:
            job.cancel()


async def _list_names(client: Client, *, everything: bool) -> list[str]:
    return [each["Id"] for each in await client.get("/containers/json", {"all": "true"} if everything else None)]


async def _show_once(client: Client, names: list[str], layout: str, *, no_trunc: bool) -> None:
    async def one(name: str) -> Row | str:
        try:
            return row(await client.get(f"/containers/{name}/stats", {"stream": "false"}), name, no_trunc=no_trunc)
        except ApiError as error:
            return error.message

    found = await asyncio.gather(*map(one, names))
    echo(STATS.render([each for each in found if not isinstance(each, str)], layout), nl=False)
    finish([each for each in found if isinstance(each, str)])


async def _show(usage: _Usage, layout: str) -> None:
    """Print the table whenever it has changed: on a terminal in its place."""
    shown = ""
    while True:
        await asyncio.sleep(_SHOW_SECONDS)
        text = STATS.render(list(usage.rows.values()), layout)
        if text != shown:
            repaint(text)
            shown = text


class _Usage:
    """What is known of the containers that are followed: `rows` by what each was asked for by."""

    def __init__(self, client: Client, *, no_trunc: bool) -> None:
        self.rows: dict[str, Row] = {}
        self._client = client
        self._no_trunc = no_trunc

    async def follow_named(self, names: list[str]) -> None:
        """Follow these until all of them have stopped.

        Raises:
            CommandFailed: one of them is not there.

        """
        for name in names:
            self.rows[name] = unknown(name, no_trunc=self._no_trunc)
        problems = await asyncio.gather(*map(self._follow, names))
        if any(problems):
            raise CommandFailed("\n".join(filter(None, problems)))

    async def follow_all(self, group: asyncio.TaskGroup, *, everything: bool) -> None:
        """Follow all that run, those too that start meanwhile, for ever; with `everything`, show the others as well."""
        following: dict[str, asyncio.Task[str]] = {}
        async with event_feed(self._client) as feed:
            while True:
                count = feed.count
                running = await _list_names(self._client, everything=False)
                listed = await _list_names(self._client, everything=True) if everything else running
                for name in [name for name in self.rows if name not in listed]:
                    del self.rows[name]
                for name in listed:
                    self.rows.setdefault(name, unknown(name, no_trunc=self._no_trunc))
                for name in running:
                    if name not in following or following[name].done():
                        following[name] = group.create_task(self._follow(name))
                await feed.changed(count, _LOOK_SECONDS)
                await asyncio.sleep(_SHOW_SECONDS)  # what happens together is one look

    async def _follow(self, name: str) -> str:
        """Take each sample of one container until it ends; return why there were none."""
        try:
            async with self._client.stream(f"/containers/{name}/stats") as samples:
                async for line in samples:
                    sample: Any = json.loads(line)
                    if name in self.rows:
                        self.rows[name] = row(sample, name, no_trunc=self._no_trunc)
        except ApiError as error:
            return error.message
        except SwarmError:
            return ""  # its node is lost, or the manager: what is left is looked for again
        finally:
            if name in self.rows:
                self.rows[name] = unknown(name, no_trunc=self._no_trunc)
        return ""
