"""Waiting for services to converge: look, judge, show, wait for an event, look again."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import replace

from common.text.terminal import echo
from manager.cli import codec
from manager.cli.client import Client
from manager.cli.failures import ApiError, CannotConnect, CommandFailed
from manager.cli.progress import judgement
from manager.cli.progress.event_feed import EventFeed, event_feed
from manager.cli.progress.judgement import Progress, Verdict, WaitOptions
from manager.cli.progress.view import NoView, PlainView, View
from manager.cli.service.task_rows import fetch

# Tasks give no events of their own, so a look is due after so long without any.
MAX_INTERVAL = 0.25
RESTART_SECONDS = 30.0
_STILL = ("", "dumb", "unknown")  # terminals that write below each other only
# How engines word that a registry refuses them.
_NO_CREDENTIALS = ("no basic auth credentials", "unauthorized", "authentication required")


async def converge(client: Client, services: Mapping[str, str], options: WaitOptions, *, quiet: bool = False) -> None:
    """Wait until every service (id → name to show) has converged.

    Raises:
        CommandFailed: one or more did not; the message has their tasks' reasons.

    """
    with make_view(quiet=quiet, several=len(services) > 1) as view:
        try:
            async with event_feed(client) as feed, asyncio.TaskGroup() as group:
                waits = {
                    name: group.create_task(_one(client, service_id, name, view, feed, options))
                    for service_id, name in services.items()
                }
        except (asyncio.CancelledError, BaseExceptionGroup) as error:
            if isinstance(error, asyncio.CancelledError) or error.subgroup(CannotConnect):
                _in_background(services)
            raise
    failed = {name: wait.result() for name, wait in waits.items() if wait.result().verdict is Verdict.FAILED}
    if failed:
        raise CommandFailed(explain(failed))


def make_view(*, quiet: bool, several: bool) -> View:
    """Choose how to show progress here."""
    if quiet:
        return NoView()
    if sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in _STILL:
        from manager.cli.progress.view import LiveView  # noqa: PLC0415  # rich is slow to import and seldom needed

        return LiveView()
    return PlainView(prefixed=several)


def _in_background(services: Mapping[str, str]) -> None:
    echo("\nOperation continuing in background.", err=True)
    for name in services.values():
        echo(f"Use `swarm-manager service ps {name}` to check progress.", err=True)


def explain(failed: Mapping[str, Progress]) -> str:
    """Say of each service by its name why it did not converge, and what to do where that is known."""
    lines = []
    for name, result in failed.items():
        lines += [f"service {name} did not converge:", *(f"  {reason}" for reason in result.reasons)]
    if any(word in line for word in _NO_CREDENTIALS for line in lines):
        lines.append(
            "The registry requires credentials: 'docker login' stores yours, and --with-registry-auth "
            "(of service create, "
            "service update, stack deploy) sends them to the nodes."
        )
    return "\n".join(lines)


async def _one(
    client: Client, service_id: str, name: str, view: View, feed: EventFeed, options: WaitOptions
) -> Progress:
    seen: Progress | None = None
    heard_at = time.time()
    while True:
        count = feed.count
        try:
            seen = await _look(client, service_id, seen, options)
            heard_at = time.time()
        except ApiError as error:
            if error.not_found:
                return Progress(Verdict.FAILED, 0, 0, reasons=("the service was removed",))
            raise
        except CannotConnect:
            if seen is None or time.time() - heard_at > RESTART_SECONDS:
                raise  # longer than a manager needs to start again
        if seen is not None:
            view.show(name, seen)
            if seen.verdict.final:
                return seen
        wake_at = seen.wake_at if seen is not None else None
        await feed.changed(
            count, MAX_INTERVAL if wake_at is None else min(MAX_INTERVAL, max(wake_at - time.time(), 0.01))
        )


async def _look(client: Client, service_id: str, seen: Progress | None, options: WaitOptions) -> Progress:
    service = codec.service(await client.get(f"/services/{service_id}"))
    tasks = await fetch(client, {"service": [service_id], "_up-to-date": ["true"]})
    nodes = await client.get("/nodes")
    down = frozenset(node["ID"] for node in nodes if node["Status"].get("State") == "down")
    others = await fetch(client, {"service": [service_id]}) if judgement.is_undone(service) else ()
    return judgement.judge(service, tasks, time.time(), seen, replace(options, down=down), others)
