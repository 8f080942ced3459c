"""`swarm-manager status`."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import click

from common.text.terminal import echo
from manager.cli.client import Client
from manager.cli.command import SwarmCommand
from manager.cli.failures import ApiError, CannotConnect, CommandFailed
from manager.cli.session import with_client

ANSWER_SECONDS = 10.0


@click.command(
    cls=SwarmCommand,
    examples="""
    swarm-manager status
    swarm-manager -H tcp://192.0.2.10:2376 status
    """,
)
@with_client
async def status(client: Client, /) -> None:
    """Tell whether the manager runs and how its cluster is; exit code 1 when it does not."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            version = await client.get("/version")
            info = await client.get("/info")
            nodes = await client.get("/nodes")
    except TimeoutError as error:
        head = f"swarm-manager: running at {client.endpoint.url}, but it has not answered for {ANSWER_SECONDS:g} s"
        raise CommandFailed(f"{head}\nLook at its log. systemd restarts it by itself.") from error
    except CannotConnect as error:
        raise CommandFailed(f"swarm-manager: not running, or not reachable\n{error.message}") from error
    except ApiError as error:
        raise CommandFailed(f"swarm-manager: running at {client.endpoint.url}\n{error.reason}") from error
    for key, value in describe(client.endpoint.url, version, info.get("Swarm") or {}, nodes):
        echo(f"{key + ':':<12}{value}")


def describe(url: str, version: Any, swarm: Any, nodes: list[Any]) -> list[tuple[str, str]]:
    """Make the lines of the report from the API's answers."""
    states = Counter(node["Status"].get("State", "unknown") for node in nodes)
    managers = [node for node in nodes if node.get("ManagerStatus")]
    counted = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    return [
        ("Manager", f"running at {url}"),
        ("Version", f"{version.get('Version', '')} (API {version.get('ApiVersion', '')})"),
        ("Cluster", str((swarm.get("Cluster") or {}).get("ID", "none"))),
        ("Node", f"{swarm.get('NodeID', '')} at {swarm.get('NodeAddr', '')}"),
        ("Nodes", f"{len(nodes)} ({counted}; {len(managers)} manager{'' if len(managers) == 1 else 's'})"),
        *([("Managers", ", ".join(map(_standing, managers)))] if len(managers) > 1 else []),
        *([("Trouble", swarm["Error"])] if swarm.get("Error") else []),
    ]


def _standing(node: Any) -> str:
    """Say what one of several managers is at the moment."""
    status = node["ManagerStatus"]
    name = str(node.get("Description", {}).get("Hostname") or node.get("ID", ""))
    return f"{name} ({'leader' if status.get('Leader') else status.get('Reachability', 'unknown')})"
